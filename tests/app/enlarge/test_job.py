"""Enlarged photos as files: requests, archive, the square that cards show."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

import vflow
from apps.ui.enlarge import html
from apps.ui.enlarge.job import FACE, Result, expected_seconds
from apps.ui.enlarge.tab import TAB
from apps.ui.shared.context import AppContext
from apps.ui.shared.examples import FOLDER
from apps.ui.shared.faces import Job, checked
from apps.ui.shared.jobs import Jobs
from apps.ui.shared.models import ModelStore
from apps.ui.shared.storage import RunStore
from tests.app.conftest import save_untrained, tiny_super_resolution
from tests.app.support import run_async
from tests.pipelines.colorizers import picture
from vflow.data import media
from vflow.errors import InputError


@pytest.fixture
def app(tmp_path: Path) -> AppContext:
    """The app with one untrained model."""
    save_untrained(tmp_path / "models" / "tiny", tiny_super_resolution())
    (tmp_path / "runs").mkdir()
    return AppContext(ModelStore([tmp_path / "models"]), RunStore(tmp_path / "runs"), Jobs(), tmp_path)


def begin(app: AppContext, path: Path, **changes: object) -> Job:
    settings = {"scale": 2, "reduction": "area", "num_samples": 2, "temperature": 0.5, "seed": 1, **changes}
    return FACE.begin(app, "tiny", checked(FACE.kind, settings), [str(path)])


def enlarge(app: AppContext, path: Path, **changes: object) -> Result:
    job = begin(app, path, **changes)
    assert list(job.advance(lambda: False)) == [None] * job.total
    assert job.summary().endswith(f" s · tiny, temperature 0.5, seed {job.settings.seed}")
    result: Result = job.save(app, app.runs.new_folder())
    return result


def test_a_single_variant_differs_from_none(app: AppContext, tmp_path: Path) -> None:
    Image.fromarray(picture(30, 40)).save(tmp_path / "bay.png")
    one, two = (enlarge(app, tmp_path / "bay.png", num_samples=count) for count in (1, 2))
    assert "variants differ" in html.results(two, 0) and "variants differ" not in html.results(one, 0)


def test_a_model_with_intervals_shows_how_far_off_a_pixel_may_be(app: AppContext, tmp_path: Path) -> None:
    config = tiny_super_resolution().model_copy(update={"interval": 2.0, "temperature": 0.5})
    shutil.rmtree(tmp_path / "models" / "tiny")
    save_untrained(tmp_path / "models" / "tiny", config)
    Image.fromarray(picture(30, 40)).save(tmp_path / "bay.png")
    one, two = (enlarge(app, tmp_path / "bay.png", num_samples=count) for count in (1, 2))
    warmer = begin(app, tmp_path / "bay.png", temperature=0.7)
    assert list(warmer.advance(lambda: False)) and not warmer.save(app, app.runs.new_folder()).interval
    assert two.interval and not one.interval
    assert "nine times in ten" in html.results(two, 2) and "nine times in ten" not in html.results(two, 0)


def test_files_are_what_python_draws(app: AppContext, tmp_path: Path) -> None:
    photo = picture(30, 40)
    Image.fromarray(photo).save(tmp_path / "bay.png")
    result = enlarge(app, tmp_path / "bay.png")
    model = vflow.load(tmp_path / "models" / "tiny")
    drawn = vflow.upscale(model, photo, scale=2, num_samples=2, temperature=0.5, seed=1)
    for index in range(2):
        assert np.array_equal(media.read_image(result.variant(index)).frames[0], drawn[index])
    assert list(FACE.archive(result.folder, [result, result])) == [1, 2, 3, 4]
    with zipfile.ZipFile(FACE.files(result)[0]) as saved:
        assert saved.namelist() == [f"{name}/s00{i}.png" for name in ("bay", "bay-2") for i in (0, 1)]
    assert len(result.cards()) == 3 and result.size == (80, 60)
    page = html.results(result, 2)
    assert "bay-x2-differences.png" in page and page.count("vf-pick") == 3
    result.variant(1).unlink()
    with pytest.raises(InputError, match="cleared from the server"):
        result.cards()


def test_opacity_is_enlarged_with_the_photo(app: AppContext, tmp_path: Path) -> None:
    Image.fromarray(picture(6, 8, channels=4)).save(tmp_path / "glass.png")
    result = enlarge(app, tmp_path / "glass.png")
    with Image.open(result.variant(0)) as image:
        assert image.mode == "RGBA" and image.size == (16, 12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": 3}, "^scale: give 2 or 4"),
        ({"num_samples": 9}, "^num_samples: give a number from 1 to 8"),
        ({"temperature": None}, "temperature: give a number"),
    ],
)
def test_values_out_of_range_are_refused(
    app: AppContext, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        begin(app, tmp_path / "bay.png", **changes)


@pytest.mark.parametrize(
    ("size", "remedy"),
    [((1200, 1000), "choose 2× or reduce it to 1,000,000 pixels"),
     ((2500, 2000), "reduce it to 1,000,000 pixels")],
)  # fmt: skip
def test_a_photo_that_would_become_too_large_is_refused(
    app: AppContext, tmp_path: Path, size: tuple[int, int], remedy: str
) -> None:
    Image.new("RGB", size).save(tmp_path / "large.png")
    with pytest.raises(InputError, match=f"4× enlarged is too large; {remedy}$"):
        begin(app, tmp_path / "large.png", scale=4)


def test_an_upload_is_judged_by_the_scale_that_is_chosen(tmp_path: Path) -> None:
    Image.new("RGB", (1200, 1000)).save(path := tmp_path / "large.png")
    assert FACE.refusal(str(path), 2) == ""
    told = FACE.refusal(str(path), 4)
    assert "for 4× the page takes at most 1,000,000." in told
    assert "Choose 2×" in told and "Choose 4×" not in told and "Reduce to 1,095×912" in told
    Image.new("RGB", (2500, 2000)).save(path)
    told = FACE.refusal(str(path), 2)
    assert "for 2× the page takes at most 4,000,000." in told and "Reduce to 2,236×1,788" in told
    assert "Choose" not in told and "--scale 2" in told and "2,000×2,000 pixels" in told
    path.write_bytes(b"no photo")
    with pytest.raises(InputError, match=r"large\.png"):
        FACE.refusal(str(path), 4)


def test_longer_work_says_how_long_before_it_begins(
    app: AppContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = [str(FOLDER / "walk-astronaut.png")]  # 160×160
    assert expected_seconds(app, "tiny", photo, 4, 8) is None, "nothing is known yet"
    monkeypatch.setattr(app.jobs, "_seconds", {"tiny": 0.1})
    assert expected_seconds(app, "tiny", photo, 4, 8) == pytest.approx(80)
    assert expected_seconds(app, "tiny", photo, 2, 1) == pytest.approx(2.5)
    for paths in (None, [], [str(tmp_path / "gone.png")]):
        assert expected_seconds(app, "tiny", paths, 4, 8) is None


def test_an_upload_ends_the_job_of_the_photo_before(app: AppContext) -> None:
    with gr.Blocks() as blocks:
        TAB.build(app)
    upload: Any = next(f.fn for f in blocks.fns.values() if f.targets and f.targets[0][1] == "upload")
    app.jobs.request("session/enlarge/", lambda should_stop: iter(()))  # type: ignore[arg-type,return-value]
    with app.jobs.running("session/enlarge/") as job:
        updates = run_async(upload([str(FOLDER / "walk-astronaut.png")], gr.Request(session_hash="session")))
        assert job is not None and job.superseded
    assert any("160×160 pixels" in str(value) for value in updates.values())
