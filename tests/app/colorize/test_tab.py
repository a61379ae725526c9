"""The Colourise tab in a real browser: grey photos up, colours on the screen, pictures down."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Route, expect

import vflow
from apps.ui.colorize.job import GONE
from tests.app.conftest import CALM, Opener, Server
from tests.app.support import DESKTOP, DONE, PHONE, SETTLED, App
from tests.app.test_access import check, press_tab_until
from tests.app.test_bad_input import KINDS, enormous, not_a_number, odd, text, truncated
from vflow.cli import main as vflow_command
from vflow.data import media
from vflow.tasks.colorize.settings import Hint

# Keeps the values that the progress bar of a photo's preparation takes.
PREPARED = """() => {
  window.prepared = [];
  new MutationObserver(() => {
    const value = document.querySelector("[aria-label='Photo prepared']")?.ariaValueNow;
    if (value && window.prepared.at(-1) !== Number(value)) window.prepared.push(Number(value));
  }).observe(
    document.querySelector('#vf-colorize-status'), {childList: true, subtree: true, attributes: true}
  );
}"""

browser = pytest.mark.browser
STATUS = "#vf-colorize-status"
MISSING = "no model.safetensors in it; a checkpoint is a folder with config.json and model.safetensors"


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A grey photo, uint8 (40, 60, 3), smaller than a card, so that the page shows its own pixels."""
    y, x = np.mgrid[:40, :60]
    grey = 120 + 60 * np.sin(x / 7) * np.cos(y / 9) + 40 * (np.hypot(x - 40, y - 15) < 9)
    return np.repeat(grey.round().astype(np.uint8)[..., None], 3, axis=-1)


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory, photo: np.ndarray) -> Path:
    """The photo as a PNG."""
    path = tmp_path_factory.mktemp("photos") / "bay.png"
    Image.fromarray(photo).save(path)
    return path


@pytest.fixture(scope="session")
def model(checkpoints: Path) -> torch.nn.Module:
    """The model that the tab selects, here."""
    return vflow.load(checkpoints / "colorizer")


@pytest.fixture
def tab(opened: Opener) -> App:
    """The page with the tab open."""
    app = opened()
    app.tab("Colourise")
    return app


def upload(app: App, *paths: Path) -> None:
    """Put photos into the box; waits until one is shown, or what is wrong with it."""
    app.page.locator("#vf-photos input[type=file]").set_input_files(list(paths))
    app.page.locator("#vf-editor img, #vf-photo-list .vf-bad").first.wait_for()


def clear(app: App) -> None:
    """Take all photos away."""
    app.page.locator("#vf-photos button[aria-label=Clear]").click()
    app.page.locator("#vf-editor img, #vf-photo-list .vf-thumb").first.wait_for(state="detached")


def settle(app: App) -> str:
    """Wait for the end of a run; returns the line of status."""
    app.page.locator(f"{STATUS} .vf-done").wait_for(timeout=DONE)
    app.page.locator("#vf-colorize-run:not([disabled])").wait_for()
    return app.page.locator(f"{STATUS} p").inner_text()


def forget_the_run(app: App) -> None:
    """Take the mark off the line of status of the last run, so that ``settle`` waits for the next."""
    app.page.evaluate("document.querySelector('#vf-colorize-status .vf-done')?.classList.remove('vf-done')")


def colourise(app: App, *, variants: int = 3, seed: int = 0) -> str:
    """Press Colourise and wait; returns the line of status."""
    app.number("Variants", variants)
    app.number("Seed", seed)
    forget_the_run(app)
    app.page.locator("#vf-colorize-run").click()
    return settle(app)


def cards(app: App) -> np.ndarray:
    """All variants on the page: uint8 (N, H, W, 3)."""
    return app.images("#vf-cards img")


def until(app: App, selector: str, expected: np.ndarray) -> None:
    """Wait until the pictures that ``selector`` finds are ``expected``."""
    for _ in range(200):
        shown = app.images(selector)
        if shown.shape == expected.shape and np.array_equal(shown, expected):
            return
        app.page.wait_for_timeout(100)
    raise AssertionError(f"{selector} never became what was expected")


@browser
def test_shows_what_python_draws_and_downloads_it(
    tab: App, file: Path, photo: np.ndarray, model: torch.nn.Module, tmp_path: Path
) -> None:
    upload(tab, file)
    assert colourise(tab, variants=3, seed=4).startswith("3 variants in ")
    expected = vflow.colorize(model, photo, num_samples=3, seed=4)
    assert np.array_equal(cards(tab), expected)
    assert np.array_equal(tab.images(".vf-before")[0], photo)
    tab.page.get_by_role("button", name="Show variant 2").click()
    until(tab, ".vf-after", expected[1:2])
    picture = tab.download("This variant (png)", tmp_path)
    assert picture.name == "bay-variant-2.png"
    assert np.array_equal(np.asarray(Image.open(picture)), expected[1])
    with zipfile.ZipFile(tab.download("All variants (zip)", tmp_path)) as archive:
        assert archive.namelist() == [f"bay/s{index:03d}.png" for index in range(3)]
        archive.extractall(tmp_path)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "bay" / "s002.png")), expected[2])
    settings = tab.download("Settings (json)", tmp_path)
    assert json.loads(settings.read_text())["seed"] == 4
    threads = torch.get_num_threads()
    try:
        arguments = ["colorize", "--settings", settings, "--input", file, "--output", tmp_path / "again"]
        assert vflow_command([str(argument) for argument in arguments]) == 0
    finally:
        torch.set_num_threads(threads)
    again = [np.asarray(Image.open(tmp_path / "again" / "bay" / f"s{k:03d}.png")) for k in range(3)]
    assert np.array_equal(again, expected)


@browser
def test_a_colour_photo_starts_from_grey_and_keeps_its_own_colours_as_a_view(
    tab: App, tmp_path: Path
) -> None:
    y, x = np.mgrid[:40, :60]
    colors = np.stack([120 + x, 90 + y, 200 - x], axis=-1).astype(np.uint8)
    path = tmp_path / "poppy.png"
    Image.fromarray(colors).save(path)
    upload(tab, path)
    said = tab.page.locator("#vf-editor .vf-set-aside")
    expect(said).to_contain_text("The model ignores its colours")
    assert neutral(tab.images(".vf-target img"))
    colourise(tab, variants=2)
    assert neutral(tab.images(".vf-before:not(.vf-original)"))
    assert np.array_equal(tab.images(".vf-original")[0], colors)
    original = tab.page.locator(".vf-original")
    expect(original).to_be_hidden()
    tab.page.get_by_label("Original", exact=True).check()
    expect(original).to_be_visible()
    clear(tab)
    expect(said).to_have_count(0)


def neutral(pictures: np.ndarray) -> bool:
    """Whether all pixels, uint8 (..., 3), are grey and not all the same."""
    return int(np.ptp(pictures.astype(int), axis=-1).max()) <= 1 and int(np.ptp(pictures)) > 20


@browser
def test_seeds_and_strength(tab: App, file: Path, photo: np.ndarray, model: torch.nn.Module) -> None:
    upload(tab, file)
    colourise(tab, seed=1)
    first = cards(tab)
    colourise(tab, seed=2)
    assert not np.array_equal(first, cards(tab))
    status = colourise(tab, seed=1)
    assert np.array_equal(first, cards(tab))
    tab.number("Colour strength in %", 0)
    until(tab, ".vf-after", photo[None])
    until(tab, "#vf-cards img", np.stack([photo] * 3))
    tab.number("Colour strength in %", 40)
    until(tab, "#vf-cards img", vflow.colorize(model, photo, num_samples=3, seed=1, strength=0.4))
    assert tab.page.locator(f"{STATUS} p").inner_text() == status, "joined anew, not drawn anew"


@browser
def test_suggested_temperatures_count_until_the_slider_is_moved(
    tab: App, file: Path, photo: np.ndarray, checkpoints: Path
) -> None:
    tab.choose("calm-colorizer")
    tab.advanced()
    levels = tab.page.get_by_label("Temperature per level").filter(visible=True)
    expect(levels).to_have_value(", ".join(f"{value:g}" for value in CALM))
    upload(tab, file)
    colourise(tab, variants=2)
    calm = vflow.load(checkpoints / "calm-colorizer")
    expected = vflow.colorize(calm, photo, num_samples=2, temperature=CALM)
    assert np.array_equal(cards(tab), expected)
    tab.page.get_by_label("number input for Temperature").filter(visible=True).click()
    tab.page.keyboard.press("Tab")
    expect(levels).not_to_have_value("")
    tab.number("Temperature", 0.9)
    expect(levels).to_have_value("")
    colourise(tab, variants=2)
    assert np.array_equal(cards(tab), vflow.colorize(calm, photo, num_samples=2, temperature=0.9))


@browser
def test_colour_points(tab: App, file: Path, photo: np.ndarray, model: torch.nn.Module) -> None:
    upload(tab, file)
    tab.page.get_by_role("button", name="Sky blue").click()
    box = tab.page.locator(".vf-target").bounding_box()
    assert box is not None
    tab.page.locator(".vf-target").click(position={"x": box["width"] * 0.25, "y": box["height"] * 0.5})
    tab.page.locator(".vf-points li", has_text="1: 25% across, 50% down").wait_for()
    assert tab.page.locator(".vf-compare").count() == 0, "before the first run a point only waits"
    colourise(tab, variants=2)
    plain = vflow.colorize(model, photo, num_samples=2)
    assert not np.array_equal(cards(tab), plain)
    tab.page.get_by_label("Across").fill("75")
    tab.page.get_by_label("Down").fill("20")
    tab.page.get_by_role("button", name="Add point").press("Enter")
    tab.page.locator(".vf-points li", has_text="2: 75% across, 20% down").wait_for()
    tab.page.get_by_role("button", name="Remove colour hint 1").press("Enter")
    tab.page.locator(".vf-points li", has_text="1: 75% across").wait_for()
    hints = [Hint(0.75, 0.2, (127, 178, 229))]
    until(tab, "#vf-cards img", vflow.colorize(model, photo, num_samples=2, hints=hints))
    tab.page.get_by_role("button", name="Remove colour hint 1").press("Enter")
    until(tab, "#vf-cards img", plain)
    assert tab.page.evaluate("document.activeElement.textContent") == "Add point"


@browser
def test_more_like_this_and_back(tab: App, file: Path, photo: np.ndarray, model: torch.nn.Module) -> None:
    upload(tab, file)
    colourise(tab)
    first = cards(tab)
    tab.page.get_by_role("button", name="More like variant 3").click()
    tab.page.get_by_text("Near variant 3").wait_for(timeout=DONE)
    near = vflow.colorize(model, photo, near=(2,), num_samples=3)
    until(tab, "#vf-cards img", near)
    nearer = np.abs(near[0].astype(int) - first[2]).mean(), np.abs(first[0].astype(int) - first[2]).mean()
    assert nearer[0] < nearer[1]
    settle(tab)
    tab.page.get_by_role("button", name="Back to all variants").click()
    until(tab, "#vf-cards img", first)
    assert tab.page.locator("#vf-cards .vf-chosen [aria-label='Show variant 3']").count() == 1


@browser
def test_many_photos_of_any_size_one_of_them_bad(tab: App, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (700, 1100), np.uint8)).save(tmp_path / "large.png")
    seen = np.dstack([rng.integers(0, 256, (30, 20, 3), np.uint8), np.full((30, 20), 90, np.uint8)])
    Image.fromarray(seen).save(tmp_path / "overlay.png")
    Image.new("L", (1, 1), 90).save(tmp_path / "dot.png")
    upload(tab, tmp_path / "large.png", tmp_path / "overlay.png", tmp_path / "dot.png", text(tmp_path))
    assert colourise(tab, variants=1).startswith("3 of 4 photos, 3 variants in ")
    remarks = tab.page.locator(f"{STATUS} li").all_inner_texts()
    assert f"notes.png: not an image or video (its content does not match); give {KINDS}" in remarks
    tab.page.get_by_role("button", name="Work on large.png").click()
    tab.page.locator(".vf-after[alt='large.png, variant 1']").wait_for()
    assert tab.images(".vf-after").shape[1:3] == (489, 768), "reduced on the page"
    assert Image.open(tab.download("This variant (png)", tmp_path)).size == (1100, 700)
    tab.page.get_by_role("button", name="Work on overlay.png").click()
    tab.page.locator(".vf-after[alt='overlay.png, variant 1']").wait_for()
    saved = np.asarray(Image.open(tab.download("This variant (png)", tmp_path)))
    assert saved.shape == (30, 20, 4) and (saved[..., 3] == 90).all(), "opacity is kept"
    with zipfile.ZipFile(tab.download("All variants (zip)", tmp_path)) as archive:
        assert sorted(archive.namelist()) == ["dot/s000.png", "large/s000.png", "overlay/s000.png"]
    tab.page.get_by_role("button", name="Remove notes.png").click()
    tab.page.locator("#vf-photo-list .vf-bad").wait_for(state="detached")
    assert tab.page.locator(".vf-after[alt='overlay.png, variant 1']").count() == 1, "what is known stays"


@browser
def test_photos_that_are_added_find_their_place(tab: App, file: Path, tmp_path: Path) -> None:
    late, early = (shutil.copy(file, tmp_path / name) for name in ("photo10.png", "photo2.png"))
    upload(tab, Path(late))
    tab.page.get_by_test_id("Add photos-upload-button").set_input_files(early)
    names = tab.page.locator("#vf-photo-list .vf-name")
    expect(names).to_have_text(["photo2.png", "photo10.png"])
    listed = tab.page.locator("#vf-photos tr.file")
    expect(listed).to_contain_text(["photo2", "photo10"])


@browser
def test_stop_and_waiting_for_the_model(opened: Opener, file: Path, photo: np.ndarray) -> None:
    busy, waiting = opened(), opened()
    for app in (busy, waiting):
        app.tab("Colourise")
        app.choose("slow-colorizer")
        app.number("Variants", 16)
        upload(app, *[copy(file, photo, number) for number in range(30)])
    busy.page.locator("#vf-colorize-run").click()
    busy.page.locator("#vf-cards img").first.wait_for(timeout=DONE)
    busy.page.get_by_role("button", name="Work on bay3.png").click()
    waiting.page.locator("#vf-colorize-run").click()
    waiting.page.locator("#vf-colorize-stop:not([disabled])").wait_for(timeout=DONE)
    waiting.page.locator("#vf-colorize-stop").click()
    waiting.page.locator("#vf-colorize-run:not([disabled])").wait_for(timeout=DONE)
    stopped = waiting.page.locator(STATUS).inner_text()  # jobs alternate: some may be done
    assert "Stopped before the first variant" in stopped or " of 480 variants" in stopped
    busy.page.locator("#vf-colorize-stop").click()
    assert " of 480 variants" in settle(busy)
    chosen = busy.page.locator("#vf-photo-list .vf-chosen .vf-name").inner_text()
    assert chosen == "bay3.png", "a click during the run is not undone by it"


def copy(file: Path, photo: np.ndarray, number: int) -> Path:
    """Another photo: the same but for one pixel."""
    path = file.with_name(f"bay{number}.png")
    other = photo.copy()
    other[0, 0] = number
    Image.fromarray(other).save(path)
    return path


@browser
def test_an_example_in_one_click_and_its_slider(tab: App) -> None:
    tab.number("Variants", 3)
    tab.page.get_by_role("button", name="Colourise example: a cat").click()
    assert settle(tab).startswith("8 variants in ")
    assert tab.page.locator("#vf-cards img").count() == 8
    expect(tab.page.locator("#vf-cards")).to_contain_text("The first is typical and fairly vivid")
    press_tab_until(tab, ".vf-wipe", "document.querySelector('.vf-stack')")
    tab.page.keyboard.press("Home")
    assert tab.page.locator(".vf-wipe").get_attribute("aria-valuetext") == "0% before"
    clip = tab.page.locator(".vf-before").evaluate("image => getComputedStyle(image).clipPath")
    assert clip == "inset(0px 100% 0px 0px)", "all of it is after"
    press_tab_until(tab, ".vf-pick")
    press_tab_until(tab, ".vf-link")
    press_tab_until(tab, ".vf-downloads button")


@browser
def test_bad_input(tab: App, file: Path, clip: Path, tmp_path: Path) -> None:
    tab.refused("colorize", "no photo given; add photos, or choose an example")
    for path, expected in (
        (text(tmp_path), f"notes.png: not an image or video (its content does not match); give {KINDS}"),
        (truncated(tmp_path), "clip.mp4: the file is truncated (ends early); copy or upload it again"),
        (clip, "clip.mp4: a video, and only photos are coloured here; use vflow colorize for videos"),
        (enormous(tmp_path), "big.png: 400 megapixels; the limit is 64; reduce the image and try again"),
        (
            not_a_number(tmp_path),
            "nan.npz: an array file, but an image is expected; give PNG, JPEG, WebP, TIFF or BMP",
        ),
    ):
        upload(tab, path)
        tab.refused("colorize", expected)
        clear(tab)
    upload(tab, file)
    tab.choose("torn-colorizer")
    tab.refused("colorize", f"torn-colorizer: {MISSING}")
    tab.choose("colorizer")
    colourise(tab)


@browser
def test_colours_that_have_been_cleared(tab: App, server: Server, file: Path) -> None:
    upload(tab, file)
    colourise(tab)
    for run in server.log.parent.glob("vflow-app-*/runs/*"):
        shutil.rmtree(run)
    tab.page.get_by_role("button", name="This variant (png)").click()
    tab.complained(STATUS, GONE)
    tab.page.get_by_role("button", name="Show variant 2").click()
    tab.page.locator(f"{STATUS} .vf-error p").get_by_text(GONE, exact=True).wait_for()
    tab.page.locator("#vf-compare .vf-empty").wait_for()
    assert tab.page.locator("#vf-cards img").count() == 0
    assert tab.page.get_by_role("button", name="All variants (zip)").count() == 0
    assert tab.page.locator(".toast-body").count() == 0
    colourise(tab)
    for run in server.log.parent.glob("vflow-app-*/runs/*"):
        shutil.rmtree(run)
    tab.page.get_by_label("number input for Colour strength in %").fill("40")  # then it is gone, too
    tab.page.locator(f"{STATUS} .vf-error p").get_by_text(GONE, exact=True).wait_for()
    tab.page.locator("#vf-compare .vf-empty").wait_for()
    colourise(tab)


@browser
def test_unusual_pictures_are_taken_and_remarked_on(tab: App, tmp_path: Path) -> None:
    for name in ("deep", "cmyk", "palette", "animated"):
        path = odd(name, tmp_path)
        upload(tab, path)
        colourise(tab, variants=1)
        remarks = tab.page.locator(f"{STATUS} li").all_inner_texts()
        notes = media.read_photo(path)[0].notes
        assert remarks == [f"{path.name}: {note}" for note in notes] and notes
        clear(tab)


@browser
@pytest.mark.parametrize(
    ("size", "scheme"),
    [(DESKTOP, "light"), (PHONE, "dark")],
    ids=["desktop-light", "phone-dark"],
)
def test_axe_and_width(opened: Opener, file: Path, size: tuple[int, int], scheme: str) -> None:
    app = opened(size, scheme)
    app.tab("Colourise")
    check(app, "at first")
    app.page.get_by_role("button", name="Colourise example: coffee", exact=True).click()
    settle(app)
    forget_the_run(app)
    app.page.get_by_role("button", name="Add point").click()
    settle(app)
    expect(app.page.locator(".vf-stack .vf-mark")).to_have_count(1)
    check(app, "with results")


def test_endpoint_is_python(
    server: Server, file: Path, photo: np.ndarray, model: torch.nn.Module, tmp_path: Path
) -> None:
    client = Client(server.address, verbose=False)
    archive, settings = client.predict(
        [handle_file(file)],
        num_samples=2,
        temperature=0.8,
        strength=0.5,
        seed=3,
        hints="0.5,0.5,#c03020; 0.1,0.9,#2040a0",
        api_name="/colorize",
    )
    hints = [Hint(0.5, 0.5, (192, 48, 32)), Hint(0.1, 0.9, (32, 64, 160))]
    expected = vflow.colorize(model, photo, num_samples=2, temperature=0.8, strength=0.5, seed=3, hints=hints)
    with zipfile.ZipFile(archive) as file_of_pictures:
        file_of_pictures.extractall(tmp_path)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "bay" / "s001.png")), expected[1])
    assert json.loads(Path(settings).read_text())["hints"] == ["0.5,0.5,#c03020", "0.1,0.9,#2040a0"]
    for given, message in (
        ({"strength": 2}, "strength: give a number from 0 to 1"),
        ({"num_samples": 17}, "num_samples: give a number from 1 to 16"),
        ({"level_temperatures": "1, 1"}, "temperature per level: 2 given, colorizer has "),
        ({"hints": "here, red"}, "hint 'here, red': give X,Y,#RRGGBB"),
        ({"checkpoint": "digits"}, "digits: a model of another kind; choose one of: colorizer, "),
    ):
        with pytest.raises(AppError) as error:
            client.predict([handle_file(file)], **given, api_name="/colorize")
        assert str(error.value.message).startswith(message)


def test_remarks_of_the_endpoint_name_files_as_they_are(server: Server, tmp_path: Path) -> None:
    _, settings = Client(server.address, verbose=False).predict(
        [handle_file(odd("animated", tmp_path))], num_samples=1, api_name="/colorize"
    )
    remarks = json.loads(Path(settings).read_text())["remarks"]
    assert [remark for remark in remarks if remark.lower().startswith("animated.gif: ")] == [
        "animated.gif: first frame of an animated image"
    ]


def test_endpoint_takes_a_temperature_per_level(
    server: Server, file: Path, photo: np.ndarray, model: torch.nn.Module, tmp_path: Path
) -> None:
    shapes: tuple[tuple[int, ...], ...] = model.latent_shapes  # type: ignore[assignment]
    levels = (*[0.5] * (len(shapes) - 1), 1.0)
    archive, settings = Client(server.address, verbose=False).predict(
        [handle_file(file)],
        num_samples=1,
        seed=3,
        level_temperatures=", ".join(map(str, levels)),
        api_name="/colorize",
    )
    with zipfile.ZipFile(archive) as pictures:
        pictures.extractall(tmp_path)
    expected = vflow.colorize(model, photo, num_samples=1, temperature=levels, seed=3)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "bay" / "s000.png")), expected[0])
    assert json.loads(Path(settings).read_text())["temperature"] == list(levels)


@browser
def test_painting_on_the_large_picture(tab: App, file: Path) -> None:
    upload(tab, file)
    colourise(tab)
    page = tab.page
    brush = page.get_by_role("button", name="Paint red")
    brush.click()
    expect(brush).to_have_attribute("aria-pressed", "true")
    stack = page.locator(".vf-stack")
    width, height = stack.evaluate("(box) => [box.clientWidth, box.clientHeight]")
    stack.click(position={"x": 0.25 * width, "y": 0.5 * height})
    expect(page.locator(".vf-stack .vf-mark")).to_have_count(1)
    expect(page.locator(".vf-points li")).to_have_text(["1: 25% across, 50% down×"])
    expect(page.get_by_role("button", name="Paint red")).to_have_attribute("aria-pressed", "true")
    page.locator(".vf-paint .vf-undo-point").click()
    expect(page.locator(".vf-stack .vf-mark")).to_have_count(0)
    page.get_by_role("button", name="Paint red").click()
    expect(page.locator(".vf-painting")).to_have_count(0)


@browser
def test_an_example_opens_with_three_points_and_a_reload_offers_it_again(tab: App) -> None:
    page = tab.page
    with tab.until_answered():  # gradio complains of a page that is left before
        page.get_by_role("button", name="Colourise example: coffee, with three colours given").click()
        page.locator("#vf-colorize-status .vf-done").wait_for(timeout=DONE)
    expect(page.locator(".vf-stack .vf-mark")).to_have_count(3)
    page.reload()
    tab.tab("Colourise")
    line = page.locator("#vf-colorize-offer")
    expect(line).to_contain_text("Your last result, made a moment ago, is still here;", timeout=DONE)
    held: list[tuple[Route, str]] = []
    page.route("**/gradio_api/run/**", lambda route: hold_editor(route, held))
    line.get_by_role("button", name="Show it").click()
    expect(page.locator(".vf-stack .vf-mark")).to_have_count(3, timeout=DONE)
    expect(page.locator("#vf-cards .vf-tile")).to_have_count(8)
    expect(line).to_be_hidden()
    for _ in range(300):
        if held:
            break
        page.wait_for_timeout(100)
    page.get_by_role("button", name="Show variant 3").click()
    caption = page.locator(".vf-compare figcaption")
    expect(caption).to_contain_text("Variant 3")
    for route, answer in held:
        body = answer.replace("The photo to colour", "Come late")
        route.fulfill(content_type="application/json", body=body)
    page.get_by_alt_text("Come late").wait_for()
    page.evaluate(SETTLED)
    assert "Variant 3" in caption.inner_text(), "an answer from before the click does not undo it"


def hold_editor(route: Route, held: list[tuple[Route, str]]) -> None:
    """Keep back the server's answer to the change of the upload box that draws the editor anew."""
    uploads = isinstance((route.request.post_data_json or {}).get("event_data"), list)
    answer = route.fetch().text() if uploads else ""
    if "The photo to colour" in answer:
        held.append((route, answer))
    elif uploads:
        route.fulfill(content_type="application/json", body=answer)
    else:
        route.continue_()


@browser
def test_points_on_a_large_photo_are_prepared_with_progress(tab: App, tmp_path: Path) -> None:
    rows, columns = np.ogrid[:4000, :6000]
    grey = (rows // 16 + columns // 24).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "large.png", compress_level=1)
    upload(tab, tmp_path / "large.png")
    tab.page.evaluate(PREPARED)
    tab.page.locator(".vf-target").click(position={"x": 40, "y": 30})
    tab.page.locator(".vf-points li").wait_for()
    colourise(tab, variants=2)
    shares = tab.page.evaluate("window.prepared")
    assert len(shares) >= 2 and shares == sorted(set(shares)), shares
