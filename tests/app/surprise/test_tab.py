"""The Surprise tab in a real browser: figures, maps, what is flagged, and frames out of order."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

import vflow
from apps.ui.surprise.examples import EXAMPLES, examples_for, moving_square
from tests.app.conftest import Opener
from tests.app.support import DESKTOP, DONE, PHONE, App
from tests.app.test_access import check, press_tab_until
from tests.app.test_bad_input import KINDS, endless, text
from vflow.data import media
from vflow.pipelines.video.export import overlay, top_of
from vflow.pipelines.video.stats import ClipStatistics, save_clip_statistics
from vflow.pipelines.video.surprisal import Surprisal, surprisal

pytestmark = pytest.mark.browser
STATUS = "#vf-surprise-status"


@pytest.fixture(scope="module")
def expected(checkpoints: Path, square: np.ndarray) -> Surprisal:
    """What Python says of the square; two of its five scored frames lie beyond what is made typical here."""
    model = vflow.load(checkpoints / "lively")
    ranked = np.sort(surprisal(model, square).per_frame[1:])
    frames = np.linspace(0, float(ranked[2:4].mean()) / 0.99, 101, dtype=np.float32)
    statistics = ClipStatistics(np.full((32, 32), 1, np.float32), frames, np.float32([1e6]), "made up")
    save_clip_statistics(checkpoints / "lively", statistics)
    return surprisal(model, square, statistics=statistics)


@pytest.fixture
def tab(opened: Opener) -> App:
    """The page with the tab open."""
    app = opened()
    app.tab("Surprise")
    return app


def upload(app: App, *paths: Path) -> None:
    """Put files into the tab's upload box in place of those there; waits for their thumbnails."""
    remove = app.page.locator("#vf-surprise-list button[data-action=remove]")
    while count := remove.count():
        remove.first.click()
        expect(remove).to_have_count(count - 1)
    app.page.locator("#vf-surprise-files input[type=file]").set_input_files(list(paths))
    app.page.locator("#vf-surprise-list .vf-name", has_text=paths[-1].name).wait_for()


def look(app: App) -> str:
    """Press Find surprises and wait for the result; returns the line of status."""
    app.page.locator("#vf-surprise-run").click()
    return looked(app)


def looked(app: App) -> str:
    app.page.locator(f"{STATUS} .vf-done").wait_for(timeout=DONE)
    app.page.locator(".vf-surprise.vf-ready").wait_for()
    app.page.locator("#vf-surprise-run:not([disabled])").wait_for()
    return app.page.locator(f"{STATUS} p").inner_text()


def test_shows_what_python_finds(tab: App, clip: Path, expected: Surprisal, tmp_path: Path) -> None:
    tab.choose("lively")
    upload(tab, clip)
    assert look(tab).startswith("5 frames scored in ")
    frames = tab.images(".vf-frames .vf-frame")
    assert np.array_equal(frames, expected.frames)
    drawn = overlay(expected.excess, top_of(expected))
    assert tab.page.locator(".vf-frames .vf-overlay").count() == 6
    assert (
        np.abs(tab.images(".vf-frames .vf-overlay")[-1].astype(int) - drawn[-1, ..., :3])[
            drawn[-1, ..., 3] == 255
        ].max(initial=0)
        <= 1
    )
    assert len(expected.flagged) == 2
    marked = tab.page.eval_on_selector_all(".vf-marked", "all => all.map((shot) => shot.ariaLabel)")
    figures = [
        f"Frame {t + 1}: {expected.per_frame[t]:.3f} bits/dim, more bits than usual" for t in expected.flagged
    ]
    assert marked == figures
    assert tab.page.locator("svg.vf-curve .vf-flag").count() == 2
    assert tab.page.locator("svg.vf-curve .vf-dot").count() == 3
    assert tab.page.locator("svg.vf-curve text").all_text_contents()[-2:] == ["bits/dim", "frame"]
    described = tab.page.locator("#vf-curve-desc").text_content()
    assert described is not None and f"limit {expected.threshold:.3f}" in described
    tab.page.get_by_text("Figures of each frame").click()
    rows = tab.page.locator(".vf-figures tbody tr").all_inner_texts()
    for t, (row, bits) in enumerate(zip(rows, expected.per_frame, strict=True)):
        cells = row.split("\t")
        assert cells[1] == (f"{bits:.4f}" if math.isfinite(bits) else "given")
        assert cells[2] == ("more bits than usual" if t in expected.flagged else "")
    downloads(tab, expected, tmp_path)


def downloads(tab: App, expected: Surprisal, folder: Path) -> None:
    """Arrays, a sheet, a film and settings hold the same figures."""
    with np.load(tab.download("Maps (npz)", folder)) as saved:
        assert np.array_equal(saved["maps"], expected.maps, equal_nan=True)
        assert saved["flagged"].tolist() == list(expected.flagged)
    assert len(media.read_clip(tab.download("Video (mp4)", folder)).frames) == 6
    assert media.read_image(tab.download("Sheet (png)", folder)).frames.shape[-1] == 3
    settings = json.loads(tab.download("Settings (json)", folder).read_text())
    assert settings["per_frame"] == expected.to_json()["per_frame"]
    assert settings["command"].startswith("vflow score --checkpoint ") and "--maps-dir" in settings["command"]


def test_frames_in_turn(tab: App, clip: Path, expected: Surprisal) -> None:
    tab.choose("lively")
    upload(tab, clip)
    look(tab)
    most = int(np.nanargmax(expected.per_frame))
    now = tab.page.locator(".vf-surprise .vf-now")
    expect(now).to_have_text(f"{most + 1}/6 · {expected.per_frame[most]:.3f} bits/dim")
    tab.page.locator(".vf-shot").nth(1).click()
    expect(now).to_have_text(f"2/6 · {expected.per_frame[1]:.3f} bits/dim")
    assert np.array_equal(tab.images(".vf-pair .vf-frame")[0], expected.frames[1])
    slider = tab.page.get_by_role("slider", name="Frame shown")
    slider.press("Home")
    expect(now).to_have_text("1/6 · given, not scored")
    strength = tab.page.get_by_label("Opacity of the map")
    strength.fill("0")
    assert (
        tab.page.locator(".vf-pair .vf-overlay").evaluate("(image) => getComputedStyle(image).opacity") == "0"
    )
    tab.page.get_by_role("button", name="Play the clip").click()
    tab.page.wait_for_function("document.querySelector('.vf-surprise .vf-now').textContent.startsWith('3/6')")
    tab.page.get_by_role("button", name="Pause the clip").click()


def test_an_example_whose_frames_were_swapped(tab: App) -> None:
    tab.page.get_by_role("button", name="Try example: a robot arm, two frames swapped").click()
    looked(tab)
    first, second = next(e.swap for e in EXAMPLES if e.checkpoint == "push")
    said = tab.page.locator(".vf-findings").inner_text()
    assert said.startswith(f"Frames {first + 1} and {second + 1} look swapped: putting them back")
    legend = tab.page.locator(".vf-keys-of span", has=tab.page.locator(".vf-k-flag")).inner_text()
    assert legend.endswith("out of order")
    tab.page.get_by_text("Figures of each frame").click()
    for frame in (first, second):
        row = tab.page.locator(".vf-figures tbody tr").nth(frame)
        assert "out of order" in row.inner_text()


def test_a_checkpoint_without_figures(tab: App, clip: Path) -> None:
    tab.choose("grey")
    upload(tab, clip)
    look(tab)
    said = tab.page.locator(".vf-findings").inner_text()
    assert said == "Nothing can be flagged: this checkpoint comes without figures of validation clips."
    assert tab.page.locator(".vf-band, .vf-mean, .vf-marked").count() == 0


def test_stop_keeps_the_frames_so_far(tab: App, tmp_path: Path) -> None:
    path = tmp_path / "long.npz"
    media.write_npz(
        path, frames=np.random.default_rng(0).integers(0, 256, (80, 32, 32, 3), np.uint8), fps=10.0
    )
    tab.choose("slower")
    upload(tab, path)
    tab.page.locator("#vf-surprise-run").click()
    tab.page.locator(f"{STATUS} [aria-valuemax='59']").wait_for(timeout=DONE)
    tab.page.locator("#vf-surprise-stop").click()
    status = looked(tab)
    assert status.startswith("Stopped after ") and " of 59 frames" in status
    assert "Looked at the first 60 of 80 frames" in tab.page.locator(STATUS).inner_text()
    assert tab.page.locator(".vf-shot").count() == int(status.split()[2]) + 1


def test_bad_input(tab: App, stills: list[Path], tmp_path: Path) -> None:
    tab.choose("shapes")
    tab.refused("surprise", "no frames given; add images or a video, or choose an example")
    for path, message in (
        (text(tmp_path), f"notes.png: not an image or video (its content does not match); give {KINDS}"),
        (endless(tmp_path), "long.npz: more than 3,000 frames, the limit; trim it"),
        (stills[0], "frame0.png: 1 frame; give 2 or more; scores start after 1 frame"),
    ):
        upload(tab, path)
        tab.refused("surprise", message)
    tab.choose("torn")
    missing = "a checkpoint is a folder with config.json and model.safetensors"
    tab.refused("surprise", f"torn: no model.safetensors in it; {missing}")
    tab.choose("shapes")
    upload(tab, *stills)
    assert look(tab).startswith("5 frames scored")


@pytest.mark.parametrize(
    ("size", "scheme"),
    [(DESKTOP, "dark"), (PHONE, "light")],
    ids=["desktop-dark", "phone-light"],
)
def test_axe_and_width(
    opened: Opener, clip: Path, expected: Surprisal, size: tuple[int, int], scheme: str
) -> None:
    app = opened(size, scheme)
    app.tab("Surprise")
    check(app, "at first")
    app.choose("lively")
    upload(app, clip)
    look(app)
    app.page.get_by_text("Figures of each frame").click()
    check(app, "with results")
    numbers = app.page.locator(".vf-tick").first.evaluate("(text) => getComputedStyle(text).fontSize")
    assert numbers == ("24px" if size == PHONE else "12.5px"), "of a chart that is 720 wide"


def test_keyboard_alone(tab: App, clip: Path, expected: Surprisal) -> None:
    tab.choose("lively")
    upload(tab, clip)
    press_tab_until(tab, "#vf-surprise-run")
    tab.page.keyboard.press("Enter")
    looked(tab)
    press_tab_until(tab, ".vf-surprise .vf-play")
    press_tab_until(tab, ".vf-surprise .vf-seek")
    tab.page.keyboard.press("End")
    tab.page.locator(".vf-shot").nth(5).and_(tab.page.locator("[aria-current]")).wait_for()
    press_tab_until(tab, ".vf-shot")
    tab.page.keyboard.press("Enter")
    tab.page.locator(".vf-shot").first.and_(tab.page.locator("[aria-current]")).wait_for()


def test_examples_suit_the_checkpoints_on_offer() -> None:
    assert {example.checkpoint for example in examples_for(["shapes"])} == {"shapes"}
    assert examples_for(["mine"]) == list(EXAMPLES)
    square = next(e for e in EXAMPLES if e.file is None and e.swap)
    frames, first, second = moving_square(), *square.swap
    assert np.array_equal(square.frames()[first], frames[second]) and not np.array_equal(frames[0], frames[1])


def test_a_photo_or_clip_goes_along_to_another_tab(tab: App, clip: Path, tmp_path: Path) -> None:
    page, photo = tab.page, tmp_path / "hill.png"
    media.write_png(photo, np.full((20, 30, 3), 120, np.uint8))
    upload(tab, photo)
    line = page.locator("#vf-surprise-fit")
    expect(line).to_contain_text("hill.png is one picture", timeout=DONE)
    line.get_by_role("button", name="Open in Enlarge").click()
    expect(page.get_by_role("tab", selected=True)).to_have_text("Enlarge")
    expect(page.locator("#vf-enlarge-results")).to_contain_text("30×20 pixels, not enlarged", timeout=DONE)
    expect(page.locator("#vf-enlarge-files")).to_contain_text("hill")
    tab.tab("Surprise")
    line.get_by_role("button", name="Open in Colourise").click()
    expect(page.locator("#vf-compare")).to_contain_text("Your photo appears here", timeout=DONE)
    expect(page.locator("#vf-photos")).to_contain_text("hill", timeout=DONE)
    tab.tab("Surprise")
    upload(tab, clip)
    line.get_by_role("button", name="Compress this clip").click()
    expect(page.locator("#vf-compress-files")).to_contain_text("clip", timeout=DONE)
    page.locator("#vf-compress-run").click()
    expect(page.locator("#vf-compress-status")).to_contain_text("Compressed in", timeout=DONE)
