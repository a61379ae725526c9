"""Parts of the app that need no browser."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from apps.app import build
from apps.ui import gallery, jobs, maps, runs, uploads
from apps.ui.colourise_desk import Desk
from apps.ui.common import Shared, first_levels, first_temperature
from apps.ui.digits_flow import sheet
from apps.ui.examples import DIGITS, FOLDER, PHOTOS, examples, offered
from apps.ui.models import RECIPES, ModelStore
from apps.ui.theme import head, theme
from tests.app.conftest import save_untrained, tiny, tiny_colorizer, tiny_digits
from vflow import checkpoint
from vflow.config import ModelConfig, preset_names
from vflow.data import media
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.pipelines.video.export import heat, heat_ramp


def test_files_in_natural_order() -> None:
    assert uploads.by_name(["/b/f10.png", "/a/f2.png", "/c/F1.png"]) == [
        "/c/F1.png",
        "/a/f2.png",
        "/b/f10.png",
    ]
    assert uploads.by_name(None) == []


@pytest.mark.parametrize(
    ("action", "index", "expected"),
    [
        ("earlier", 1, "bac"),
        ("later", 1, "acb"),
        ("remove", 1, "ac"),
        ("earlier", 0, "abc"),
        ("later", 9, "abc"),
    ],
)
def test_moving_files(action: str, index: int, expected: str) -> None:
    assert uploads.changed(list("abc"), action, index) == list(expected)


def test_mean_and_diversity() -> None:
    futures = np.zeros((2, 1, 2, 2, 3), np.uint8)
    futures[1, 0, 0, 0] = 100
    assert maps.mean_frames(futures)[0, 0, 0].tolist() == [50, 50, 50]
    assert maps.diversity(futures)[0].tolist() == [[50, 0], [0, 0]]
    ramp = heat_ramp(256).sum(1)
    assert (np.diff(ramp.astype(int)) >= -2).all(), "lighter is more"
    assert heat(np.array([0.0, 50.0]), 50).tolist() == [[6, 4, 28], [252, 246, 180]]


def test_stop_reaches_only_its_own_session() -> None:
    board = jobs.Jobs()
    with board.running("a") as first, board.running("b") as second:
        assert board.stop("a")
        assert first.is_set() and not second.is_set()
    assert not board.stop("a")


def test_time_left_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 2.0, 100.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    board = jobs.Jobs()
    clock = board.clock("shapes", 8)
    assert clock.left(10) is None
    clock.frame_done()
    assert clock.left(10) == 20
    assert board.clock("shapes", 16).left(10) == 40


def make_run(root: Path) -> runs.Run:
    rng = np.random.default_rng(0)
    context, futures = (
        rng.integers(0, 256, (1, 8, 8, 3), np.uint8),
        rng.integers(0, 256, (2, 3, 8, 8, 3), np.uint8),
    )
    return runs.RunStore(root).save("shapes", context, futures, "{}", 5)


def test_a_run_can_be_continued_until_it_is_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path)
    assert run.future(1).shape == (4, 8, 8, 3)
    with pytest.raises(InputError, match="future 3: there are 2 futures to continue from"):
        run.future(2)
    assert (run.folder.stat().st_mode & 0o077) == 0, "private"
    long_ago = time.time() - runs.KEEP_SECONDS - 1
    os.utime(run.folder, (long_ago, long_ago))
    newer = make_run(tmp_path)
    assert newer.folder.is_dir() and not run.folder.exists()
    with pytest.raises(
        InputError, match="these futures have been cleared from the server; run Predict again"
    ):
        run.future(0)


def test_html_is_escaped() -> None:
    nasty = '<img src=x onerror="alert(1)">'
    for text in (
        gallery.message(nasty, notes=[nasty]),
        gallery.progress(0, 1, nasty),
        uploads.strip([f"/tmp/{nasty}"]),
    ):
        assert "<img src=x" not in text


def test_examples_are_there_and_named_in_sources() -> None:
    shown = examples()
    sources = (shown[0].files[0].parent / "SOURCES.md").read_text()
    for example in shown:
        assert media.read_frames(example.files).frames.shape[1:] == (64, 64, 3)
        assert example.files[0].name.split("-")[0] in sources
    assert len([p for e in shown for p in e.files if p.name.startswith("push")]) <= 8


def test_examples_fit_the_checkpoints_on_offer() -> None:
    assert {example.checkpoint for example in offered(["mine", "shapes"])} == {"shapes"}
    assert offered(["mine"]) == examples()


def test_nothing_in_the_look_is_fetched() -> None:
    assert theme()._stylesheets == []
    assert "http" not in head()


def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> ModelStore:
    """A store that offers untrained checkpoints of these names, and nothing that ships."""
    configs: dict[str, ModelConfig] = {"mine": tiny(), "digits": tiny_digits(), "colorizer": tiny_colorizer()}
    for name in names:
        save_untrained(tmp_path / name, configs[name])
    monkeypatch.setattr(
        checkpoint, "find_checkpoints", lambda folders=(): {name: tmp_path / name for name in names}
    )
    return ModelStore()


def test_checkpoints_are_offered_by_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = store(tmp_path, monkeypatch, "mine", "digits", "colorizer")
    assert models.names() == ["digits", "colorizer", "mine"]
    assert [models.names(kind) for kind in RECIPES] == [["mine"], ["digits"], ["colorizer"]]
    assert models.default("colorizer") == "colorizer"
    with pytest.raises(CheckpointError, match=r"mine: a model of another kind; choose one of: digits$"):
        models.load("mine", "digits")
    (tmp_path / "digits" / "config.json").write_text("{")
    assert models.names("videoflow") == ["digits", "mine"], "where it can be learnt why it cannot be read"


def test_a_checkpoint_suggests_one_temperature_or_several(tmp_path: Path) -> None:
    class Models:
        def config(self, name: str | None) -> ModelConfig | None:
            several = tiny(temperature=(0.5, 0.5, 1.0))
            return {"one": tiny(temperature=0.7), "several": several}.get(str(name))

    shared = Shared(Models(), None, None, tmp_path)  # type: ignore[arg-type]
    assert [first_temperature(shared, name) for name in ("one", "several", None)] == [0.7, 0.5, 1.0]
    assert [first_levels(shared, name) for name in ("one", "several", None)] == ["", "0.5, 0.5, 1", ""]


def test_a_tab_without_a_model_says_how_to_train_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = store(tmp_path, monkeypatch, "mine")
    assert models.default("digits") is None
    with pytest.raises(CheckpointError, match=r"train one: vflow train --config digits$"):
        models.load(None, "digits")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    page = str(build().config)
    for preset in ("digits", "colorizer"):
        assert f"vflow train --config {preset} --output runs/{preset}" in page
        assert preset in preset_names()
    assert "vflow train --config shapes-small" not in page


def test_pictures_among_the_examples_are_named_in_sources() -> None:
    sources = (FOLDER / "SOURCES.md").read_text()
    for name in PHOTOS.values():
        assert name in sources
        frames = media.read_image(FOLDER / name).frames
        assert (frames == frames[..., :1]).all(), "grey"
    assert "digit-*.png" in sources and all((FOLDER / name).is_file() for name in DIGITS.values())


def test_desk_keeps_what_is_known_of_a_photo() -> None:
    desk = Desk()
    desk.hold(["/a.png", "/b.png"])
    desk.change("/b.png", lambda photo: photo.with_point(0.5, 0.25, "#C03020"))
    desk.hold(["/b.png", "/c.png"])
    assert [photo.path for photo in desk.photos] == ["/b.png", "/c.png"]
    assert desk.photo is not None and desk.photo.path == "/c.png", "the new one is shown"
    desk.show(0)
    desk.hold(["/b.png"])
    assert desk.photo.points[0].colour == (192, 48, 32)
    with pytest.raises(ConfigError, match="hint"):
        desk.photo.with_point(2, 0, "#000000")


def test_digits_of_several_classes_make_one_sheet() -> None:
    images = np.full((11, 28, 28), 7, np.uint8)
    page = sheet(images, [3] * 9 + [4] * 2)
    assert page.shape == ((3 * 30 + 2) * 4, (8 * 30 + 2) * 4)
    assert page[8, 8] == 7 and page[0, 0] == 255 and (page[240:360, 8 * 4 + 60 * 4 :] == 255).all()
