"""The Enlarge tab in a real browser: a small photo up, large ones on the screen and down."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image
from playwright.sync_api import Browser, Route, expect

import vflow
from apps.ui.enlarge import html
from apps.ui.enlarge.job import Result
from apps.ui.shared.examples import FOLDER
from tests.app.conftest import Opener, Server
from tests.app.support import DESKTOP, DONE, PHONE, SETTLED, App, contrast
from tests.app.test_access import check
from vflow.data import media

browser = pytest.mark.browser
PHOTO = FOLDER / "walk-astronaut.png"


def enlarge(app: App, *, variants: int = 2, seed: int = 3) -> str:
    """Press Enlarge and wait; returns the line of status."""
    app.page.get_by_role("radio", name="2×").check()
    app.number("Variants", variants)
    app.number("Seed", seed)
    app.page.locator("#vf-enlarge-run").click()
    app.page.locator("#vf-enlarge-status .vf-done").wait_for(timeout=DONE)
    app.page.locator("#vf-enlarge-run:not([disabled])").wait_for()
    return app.page.locator("#vf-enlarge-status p").inner_text()


def opened_tab(opened: Opener, *options: object) -> App:
    """The page with the tab open and a photo in the box."""
    app = opened(*options)
    with_photo(app)
    return app


def with_photo(app: App) -> None:
    """Open the tab and put a photo into the box."""
    app.tab("Enlarge")
    app.page.locator("#vf-enlarge-files input[type=file]").set_input_files(PHOTO)
    expect(app.page.locator("#vf-enlarge-results")).to_contain_text(
        "160×160 pixels, not enlarged", timeout=DONE
    )


@browser
def test_shows_and_saves_what_python_draws(opened: Opener, checkpoints: Path, tmp_path: Path) -> None:
    app = opened_tab(opened)
    assert enlarge(app).startswith("2 variants of 320×320 in ")
    photo = media.read_image(PHOTO).frames[0]
    drawn = vflow.upscale(vflow.load(checkpoints / "enlarge"), photo, scale=2, num_samples=2, seed=3)
    assert np.array_equal(app.images(".vf-enlarged .vf-after")[0], drawn[0])
    app.page.get_by_role("button", name="Compare variant 2").click()
    expect(app.page.locator(".vf-enlarged .vf-after")).to_have_attribute(
        "alt", "walk-astronaut, variant 2", timeout=DONE
    )
    assert np.array_equal(app.images(".vf-enlarged .vf-after")[0], drawn[1])
    saved = media.read_image(app.download("Download", tmp_path)).frames[0]
    assert np.array_equal(saved, drawn[1])
    app.page.get_by_role("button", name="Compare differences").click()
    expect(app.page.locator(".vf-enlarged figcaption")).to_contain_text("grey levels", timeout=DONE)
    with zipfile.ZipFile(app.download("All variants (zip)", tmp_path)) as archive:
        assert archive.namelist() == ["walk-astronaut/s000.png", "walk-astronaut/s001.png"]
    settings = json.loads(app.download("Settings (json)", tmp_path).read_text())
    assert (settings["scale"], settings["seed"], settings["num_samples"]) == (2, 3, 2)


@browser
@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_axe_and_the_whole_photo(opened: Opener, size: tuple[int, int], scheme: str) -> None:
    app = opened_tab(opened, size, scheme)
    enlarge(app)
    stack = app.page.locator(".vf-enlarged .vf-stack")
    check(app, "with results")
    shown = "(img) => Math.round(img.getBoundingClientRect().width)"
    assert stack.locator(".vf-after").evaluate(shown) == 320, "pixel by pixel"
    stack.focus()
    app.page.set_viewport_size({"width": 250, "height": size[1]})
    app.page.wait_for_function("document.querySelector('.vf-enlarged .vf-stack').clientWidth < 300")
    before = stack.locator(".vf-after").bounding_box()
    app.page.keyboard.press("ArrowRight")
    after = stack.locator(".vf-after").bounding_box()
    assert before and after and after["x"] < before["x"], "the right part comes into the window"
    whole = app.page.get_by_role("checkbox", name="Whole photo, 320×320")
    whole.check()
    assert contrast(whole) > 100
    assert stack.locator(".vf-after").evaluate(shown) == stack.evaluate("(box) => box.clientWidth")
    app.page.set_viewport_size({"width": size[0], "height": size[1]})
    check(app, "with the whole photo")


@browser
def test_an_example_has_the_settings_that_the_form_opens_with(opened: Opener) -> None:
    app = opened_tab(opened)
    enlarge(app, variants=1)
    app.page.get_by_role("button", name="Enlarge example: coffee").click()
    status = app.page.locator("#vf-enlarge-status .vf-done p")
    expect(status).to_have_text(re.compile(r"4 variants of 960×640 in .*, seed 3"), timeout=DONE)
    expect(app.page.get_by_role("radio", name="4×")).to_be_checked()
    expect(app.page.get_by_label("number input for Variants").filter(visible=True)).to_have_value("4")


LINE = "(line) => (100 * line.offsetLeft) / line.parentElement.clientWidth"


@browser
def test_line_and_brush_of_colourise_are_its_own(opened: Opener) -> None:
    app = opened_tab(opened)
    enlarge(app, variants=1)
    app.page.locator(".vf-enlarged .vf-wipe").press("End")
    assert app.page.locator(".vf-enlarged .vf-divider").evaluate(LINE) == pytest.approx(100, abs=1)
    app.tab("Colourise")
    app.page.get_by_role("button", name="Colourise example: coffee, with three colours given").click()
    app.page.locator("#vf-colorize-status .vf-done").wait_for(timeout=DONE)
    assert app.page.locator("#vf-compare .vf-divider").evaluate(LINE) == pytest.approx(50, abs=1)
    app.page.locator("#vf-compare .vf-wipe").press("Home")
    app.page.get_by_role("button", name="Show variant 2").click()
    expect(app.page.locator("#vf-compare figcaption")).to_contain_text("Variant 2", timeout=DONE)
    expect(app.page.locator("#vf-compare .vf-wipe")).to_have_attribute("aria-valuetext", "0% before")
    assert app.page.locator("#vf-compare .vf-divider").evaluate(LINE) == pytest.approx(0, abs=1)
    app.page.get_by_role("button", name="Paint red").click()
    app.tab("Enlarge")
    expect(app.page.locator(".vf-painting")).to_have_count(0)
    app.page.locator(".vf-enlarged .vf-wipe").fill("50")
    assert app.page.locator(".vf-enlarged .vf-divider").evaluate(LINE) == pytest.approx(50, abs=1)
    assert app.page.locator(".vf-points li").count() == 3, "no invisible hint"


@browser
def test_a_finger_moves_the_photo_or_the_line(browser: Browser) -> None:
    """On a page with nothing but the comparison: other tests have no touch screen."""
    folder = Path(html.__file__).parents[1]
    style, more, script, moves = (
        (folder / name).read_text()
        for name in (
            "colorize/colorize.css",
            "enlarge/enlarge.css",
            "colorize/colorize.js",
            "enlarge/enlarge.js",
        )
    )
    result = Result(Path("run"), "photo", 4, (640, 1640), 1, 1.0, False, (0, 0), (900, 300))
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    scripts = f"<script>{script}</script><script>{moves}</script>"
    page.set_content(f"<style>{style}{more}</style>{html._compare(result, 0)}{scripts}")
    page.evaluate("window.dispatchEvent(new Event('resize'))")
    devtools = context.new_cdp_session(page)

    def place() -> tuple[float, float]:
        """Where the photo's left edge and the line are, in pixels of the page."""
        left = "document.querySelector('.vf-after').getBoundingClientRect().x"
        line = "document.querySelector('.vf-divider').getBoundingClientRect().x + 1"
        return tuple(page.evaluate(f"[{left}, {line}]"))

    def swiped(x: float, distance: float) -> tuple[float, float]:
        for step in range(9):
            kind = "touchMove" if step else "touchStart"
            points = [{"x": x + step / 8 * distance, "y": 100}]
            devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.wait_for_timeout(100)
        return place()

    left, line = place()
    page_middle = page.evaluate("document.querySelector('.vf-stack').getBoundingClientRect().x") + 374 / 2
    assert left == pytest.approx(page_middle - 300, abs=2), "it opens on the part that was chosen"
    panned, still = swiped(100, -50)
    assert panned == pytest.approx(left - 50, abs=8) and still == line
    again, moved = swiped(line, -100)
    assert again == panned and moved == pytest.approx(line - 100, abs=10)
    context.close()


@browser
def test_a_photo_that_is_too_large_can_be_reduced_or_an_area_of_it_chosen(
    opened: Opener, tmp_path: Path
) -> None:
    app, path = opened(PHONE), tmp_path / "phone.png"
    photo = np.full((1000, 1800, 4), 128, np.uint8)
    photo[..., :3] = 0
    photo[:, 900:, :3] = 200  # the right half is light
    media.write_png(path, photo)
    app.tab("Enlarge")
    box, told, page = (
        app.page.locator(f"#vf-enlarge-{part}") for part in ("files input[type=file]", "upload", "results")
    )
    box.set_input_files(path)
    expect(told).to_contain_text("1,800×1,000 pixels; for 4× the page takes at most 1,000,000.", timeout=DONE)
    assert app.command() == ["upscale", "--input", "phone.png", "--output", "upscale"]
    expect(told).to_have_attribute("role", "status")
    expect(told.get_by_role("button", name="Choose 2×")).to_be_in_viewport()
    check(app, "with a photo that is too large")
    told.get_by_role("button", name="Choose 2×").click()
    expect(app.page.get_by_role("radio", name="2×")).to_be_checked(timeout=DONE)
    expect(told).to_be_hidden(timeout=DONE)
    app.page.get_by_role("radio", name="4×").check()
    told.get_by_role("button", name="An area").click(position={"x": 5, "y": 5}, timeout=DONE)
    expect(page).to_contain_text("1000×1000 pixels", timeout=DONE)
    expect(told).to_have_text("", timeout=DONE)
    assert app.images(".vf-own-size img").mean() < 50, "the left part"
    app.page.locator("#vf-enlarge-files button[aria-label=Clear]").click()
    box.set_input_files(path)
    told.get_by_role("button", name="Reduce to 1,341×745").click()
    expect(page).to_contain_text("1341×745 pixels", timeout=DONE)
    link = app.page.locator("#vf-enlarge-files a[download]").first
    with app.page.expect_download() as saved:
        link.click()
    assert set(np.unique(np.asarray(Image.open(saved.value.path()))[..., 3])) == {128}, "its opacity stays"


@browser
def test_of_two_photos_the_last_is_taken_and_none_is_refused_in_a_line(opened: Opener) -> None:
    app = opened_tab(opened)
    enlarge(app, variants=1)
    status = app.page.locator("#vf-enlarge-status p")
    files = [PHOTO, FOLDER / "walk-coffee.png"]
    app.page.locator("#vf-enlarge-files input[type=file]").set_input_files(files)
    expect(status).to_have_text("One photo at a time: walk-coffee.png is taken.", timeout=DONE)
    expect(app.page.locator("#vf-enlarge-results img")).to_have_attribute("alt", "walk-coffee.png")
    expect(app.page.locator("#vf-enlarge-files")).not_to_contain_text("astronaut")
    enlarge(app, variants=1)
    expect(app.page.locator(".vf-enlarged .vf-after")).to_have_attribute("alt", "walk-coffee, variant 1")
    app.page.locator("#vf-enlarge-files button[aria-label=Clear]").click()
    app.page.locator("#vf-enlarge-files input[type=file]").set_input_files(PHOTO)
    expect(status).to_have_text("Ready.", timeout=DONE)
    app.page.locator("#vf-enlarge-files button[aria-label=Clear]").click()
    app.page.locator("#vf-enlarge-run").click()
    expect(app.page.locator("#vf-enlarge-status .vf-error")).to_contain_text("no photo given", timeout=DONE)


@browser
def test_a_click_before_the_answer_to_the_upload_counts(opened: Opener, stills: list[Path]) -> None:
    app = opened()
    app.keep_the_model(stills[0])
    with_photo(app)
    app.number("Variants", 1)
    app.number("Seed", 4321)
    page, held, holds = app.page, list[Route](), [True]

    def hold(route: Route) -> None:
        asked = route.request.post_data or ""
        held.append(route) if holds and "walk-coffee" in asked and "4321" not in asked else route.continue_()

    page.route("**/gradio_api/run/**", hold)
    page.locator("#vf-enlarge-files input[type=file]").set_input_files(FOLDER / "walk-coffee.png")
    expect(page.locator("#vf-enlarge-files")).to_contain_text("coffee", timeout=DONE)
    page.locator("#vf-enlarge-run").click()
    status = page.locator("#vf-enlarge-status")
    expect(status).to_contain_text("Waiting for the model: ", timeout=DONE)
    holds.clear()
    assert held
    while held:
        with page.expect_response(held[0].request.url):
            held.pop(0).continue_()
    page.evaluate(SETTLED)
    expect(status).to_contain_text("Waiting for the model")
    app.stop("predict")
    status.locator(".vf-done").wait_for(timeout=DONE)
    expect(page.locator(".vf-enlarged .vf-after")).to_have_attribute("alt", "walk-coffee, variant 1")


def test_the_endpoint_gives_what_python_draws(server: Server, checkpoints: Path, tmp_path: Path) -> None:
    client = Client(server.address, verbose=False)
    archive, settings = client.predict(
        [handle_file(PHOTO)], scale=2, num_samples=1, temperature=0.5, seed=4, api_name="/upscale"
    )
    photo = media.read_image(PHOTO).frames[0]
    model = vflow.load(checkpoints / "enlarge")
    drawn = vflow.upscale(model, photo, scale=2, num_samples=1, temperature=0.5, seed=4)
    with zipfile.ZipFile(archive) as saved:
        (name,) = saved.namelist()
        saved.extract(name, tmp_path)
    assert np.array_equal(media.read_image(tmp_path / name).frames[0], drawn[0])
    assert json.loads(Path(settings).read_text())["temperature"] == 0.5
