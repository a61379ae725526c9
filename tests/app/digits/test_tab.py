"""The Digits tab in a real browser: digits drawn by class, and one style as all ten digits."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image

import vflow
from apps.ui.shared.examples import FOLDER
from tests.app.conftest import Opener, Server
from tests.app.support import DESKTOP, DONE, PHONE, SETTLED, App
from tests.app.test_access import check, press_tab_until
from tests.app.test_bad_input import KINDS, enormous, pixel, text
from vflow.cli import main as vflow_command
from vflow.data import media
from vflow.pipelines.digits.digits import classify, restyle
from vflow.pipelines.digits.preprocess import prepare_digit

browser = pytest.mark.browser
STATUS, RESTYLE = "#vf-digits-status", "#vf-restyle-status"


@pytest.fixture
def tab(opened: Opener) -> App:
    """The page with the tab open."""
    app = opened()
    app.tab("Digits")
    return app


def draw(app: App, label: str = "7", *, count: int = 2, seed: int = 0) -> str:
    """Draw, and wait for the finished grid; returns the line of status."""
    app.page.get_by_role("radio", name=label, exact=True).check()
    app.number("Digits per class", count)
    app.number("Seed", seed)
    app.page.evaluate("document.querySelector('.vf-drawn')?.classList.remove('vf-drawn')")
    app.page.locator("#vf-digits-run").click()
    app.page.locator(".vf-drawn").wait_for(timeout=DONE)
    app.page.locator("#vf-digits-run:not([disabled])").wait_for()
    return app.page.locator(f"{STATUS} p").inner_text()


def grid(app: App) -> np.ndarray:
    """All digits on the page: uint8 (M, 28, 28)."""
    return app.images(".vf-cells img")[..., 0]


def restyled(app: App, source: str, label: int) -> np.ndarray:
    """Wait for the strip of ``source`` taken as ``label``: uint8 (10, 28, 28)."""
    app.page.locator(RESTYLE, has_text=f"{source}, read as {label}").wait_for(timeout=DONE)
    return app.images("#vf-tens img")[..., 0]


@browser
def test_draws_what_python_draws_and_downloads_it(
    tab: App, checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert draw(tab, "7", count=9, seed=5).startswith("9 digits in ")
    expected = vflow.digits(vflow.load(checkpoints / "digits"), 7, num_samples=9, seed=5)
    assert np.array_equal(grid(tab), expected)
    native = tab.download("Digits (npz)", tmp_path)
    with np.load(native) as saved:
        assert np.array_equal(saved["images"], expected) and saved["labels"].tolist() == [7] * 9
    sheet = media.read_image(tab.download("Sheet (png)", tmp_path)).frames[0]
    assert np.array_equal(sheet[8:120:4, 8:120:4, 0], expected[0])
    settings = tab.download("Settings (json)", tmp_path)
    assert json.loads(settings.read_text())["label"] == "7"
    threads = torch.get_num_threads()
    try:
        arguments = ["digits", "--settings", settings, "--output", tmp_path / "again"]
        assert vflow_command([str(argument) for argument in arguments]) == 0
        monkeypatch.chdir(tmp_path)
        assert vflow_command(tab.command()) == 0
    finally:
        torch.set_num_threads(threads)
    for folder in ("again", "digits"):
        with np.load(tmp_path / folder / "digits.npz") as again:
            assert np.array_equal(again["images"], expected)


@browser
def test_seeds_and_classes(tab: App) -> None:
    draw(tab, "3", seed=1)
    first = grid(tab)
    draw(tab, "3", seed=2)
    assert not np.array_equal(first, grid(tab))
    draw(tab, "3", seed=1)
    assert np.array_equal(first, grid(tab))
    tab.page.get_by_label("Randomise").filter(visible=True).check()
    assert not draw(tab, "All", count=1, seed=1).endswith("seed 1")
    assert grid(tab).shape == (10, 28, 28)
    names = tab.page.eval_on_selector_all(".vf-cells img", "all => all.map((image) => image.alt)")
    assert names == [f"Digit {label}, sample 1" for label in range(10)]


@browser
def test_stop_keeps_the_digits_so_far(tab: App, tmp_path: Path) -> None:
    tab.choose("slowest-digits")
    tab.page.get_by_role("radio", name="All").check()
    tab.number("Digits per class", 32)
    tab.page.locator("#vf-digits-run").click()
    tab.page.locator(".vf-live img").first.wait_for(timeout=DONE)
    tab.page.locator("#vf-digits-stop").click()
    tab.page.locator(".vf-drawn").wait_for(timeout=DONE)
    status = tab.page.locator(f"{STATUS} p").inner_text()
    assert status.startswith("Stopped after ") and " of 320 digits" in status
    with np.load(tab.download("Digits (npz)", tmp_path)) as saved:
        assert len(saved["images"]) == len(saved["labels"]) == int(status.split()[2])


@browser
def test_waiting_for_the_model_and_leaving_it(app: App, stills: list[Path]) -> None:
    app.keep_the_model(stills[0])
    app.tab("Digits")
    app.page.locator("#vf-digits-run").click()
    app.page.locator(STATUS, has_text="Waiting for the model: ").wait_for()
    app.page.locator("#vf-digits-cancel").click()
    app.page.locator(STATUS, has_text="Stopped before it began.").wait_for()
    assert app.page.locator("#vf-digits-run").is_enabled()
    app.tab("Predict")
    app.stop("predict")
    app.page.locator("#vf-predict-run:not([disabled])").wait_for(timeout=DONE)


@browser
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_hint_of_ten_digits_hides_no_number(opened: Opener, size: tuple[int, int]) -> None:
    app = opened(size)
    app.tab("Digits")
    hint = app.page.locator("#vf-tens .vf-hint").bounding_box()
    first = app.page.locator("#vf-tens .vf-ghost").first.bounding_box()
    assert hint is not None and first is not None
    assert hint["y"] + hint["height"] <= first["y"]


@browser
def test_a_picture_as_all_ten(tab: App, checkpoints: Path, tmp_path: Path) -> None:
    path = tmp_path / "four.png"
    path.write_bytes((FOLDER / "digit-four.png").read_bytes())
    model = vflow.load(checkpoints / "digits")
    digit = prepare_digit(media.read_image(path).frames[0])
    proposed = int(classify(model, digit).argmax())
    tab.page.locator(".vf-restyle input[type=file]").set_input_files(path)
    shown = restyled(tab, "four.png", proposed)
    assert np.array_equal(tab.images(".vf-prepared img")[0, ..., 0], digit), "28×28, light on dark"
    assert np.array_equal(shown, restyle(model, digit, proposed))
    other = (proposed + 3) % 10
    tab.page.get_by_label("Read as").click()
    tab.page.get_by_role("option", name=str(other), exact=True).click()
    shown = restyled(tab, "four.png", other)
    assert np.array_equal(shown, restyle(model, digit, other))
    assert np.abs(shown[other].astype(int) - digit).max() <= 1, "under its own class it comes back"


@browser
def test_a_drawing_an_example_and_a_digit_of_the_grid(tab: App) -> None:
    draw(tab, "5", count=2)
    tab.page.get_by_role("button", name="Use digit 5, sample 2, as the style").click()
    restyled(tab, "Digit 5 from above", 5)
    assert np.array_equal(tab.images(".vf-prepared img")[0, ..., 0], grid(tab)[1])
    canvas = tab.page.locator(".vf-pad canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    tab.page.mouse.move(box["x"] + 112, box["y"] + 40)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + 112, box["y"] + 180, steps=5)
    tab.page.mouse.up()
    tab.page.locator(RESTYLE, has_text="Your drawing, read as").wait_for(timeout=DONE)
    stroke = tab.images(".vf-prepared img")[0, ..., 0]
    assert stroke[5:23, 13:15].min() > 100 and stroke[:, :8].max() == 0, "upright, centred, 20 long"
    tab.page.get_by_role("button", name="Clear").click()
    assert tab.page.locator(".vf-inked").count() == 0
    tab.page.get_by_role("button", name="Show as all ten digits: a seven").click()
    tab.page.locator(RESTYLE, has_text="digit-seven.png, read as").wait_for(timeout=DONE)


def stroke(app: App, *points: tuple[int, int]) -> None:
    """A stroke on the pad through ``points``, in pixels from its corner."""
    box = app.page.locator(".vf-pad canvas").bounding_box()
    assert box is not None
    for index, (x, y) in enumerate(points):
        app.page.mouse.move(box["x"] + x, box["y"] + y, steps=4)
        if index == 0:
            app.page.mouse.down()
    app.page.mouse.up()


@browser
def test_a_digit_of_two_strokes_is_read_as_both(tab: App) -> None:
    tab.choose("slow-digits")
    tab.page.evaluate(SETTLED)
    tab.page.locator(".vf-pad canvas").scroll_into_view_if_needed()
    stroke(tab, (60, 30), (60, 110), (160, 110))
    on_its_way = tab.page.locator(RESTYLE, has_text=re.compile("Reading the digit…|read as"))
    on_its_way.wait_for()  # the first stroke
    stroke(tab, (150, 60), (150, 200))
    tab.page.wait_for_function(
        "document.querySelector('#vf-prepared img') && !document.querySelector('.loading')"
    )

    def reads_both() -> bool:
        image = tab.images(".vf-prepared img")[0, ..., 0]
        return bool(image[:14, :14].max() > 100 and image[16:, 14:].max() > 100)

    for _ in range(200):
        if reads_both() and "read as" in tab.page.locator(RESTYLE).inner_text():
            break
        tab.page.wait_for_timeout(100)
    tab.page.wait_for_timeout(1500)  # and stays so
    assert reads_both()


@browser
def test_a_drawing_is_read_once_the_pen_rests(tab: App) -> None:
    """0.8 s after its last stroke, not between two."""
    tab.page.locator(".vf-pad canvas").scroll_into_view_if_needed()
    tab.page.evaluate(
        """() => {
          const pad = document.querySelector(".vf-pad");
          let up = 0;
          let strokes = 0;
          window.sent = [];
          pad.addEventListener("vf-payload", ({detail, timeStamp}) =>
            window.sent.push([detail.action, timeStamp - up, strokes]));
          pad.querySelector("canvas").addEventListener("pointerup", ({timeStamp}) => {
            up = timeStamp;
            strokes += 1;
          });
        }"""
    )
    stroke(tab, (60, 30), (60, 110))
    tab.page.wait_for_timeout(300)
    stroke(tab, (150, 60), (150, 200))
    tab.page.wait_for_function("window.sent.some(([, , strokes]) => strokes === 2)")
    for action, rest, _ in tab.page.evaluate("window.sent"):
        assert action == "drawn" and rest >= 790


@browser
@pytest.mark.parametrize("change", ["a stroke", "Clear"])
def test_a_reading_of_what_has_changed_is_dropped(tab: App, change: str) -> None:
    tab.choose("slower-digits")
    tab.page.locator(".vf-pad canvas").scroll_into_view_if_needed()
    stroke(tab, (60, 30), (60, 110), (160, 110))
    tab.page.locator(RESTYLE, has_text="Reading the digit…").wait_for()
    with tab.until_answered():
        if change == "Clear":
            tab.page.get_by_role("button", name="Clear").click()
        else:
            box = tab.page.locator(".vf-pad canvas").bounding_box()
            assert box is not None
            tab.page.mouse.move(box["x"] + 150, box["y"] + 60)
            tab.page.mouse.down()  # and stays there
    tab.page.wait_for_timeout(300)
    assert "read as" not in tab.page.locator(RESTYLE).inner_text()
    assert tab.page.locator("#vf-prepared img").count() == 0
    tab.page.mouse.up()


@browser
def test_no_ink_is_lost_and_one_pointer_draws(tab: App) -> None:
    canvas = tab.page.locator(".vf-pad canvas")
    canvas.scroll_into_view_if_needed()
    sent = partial(tab.page.expect_request, lambda request: '"drawn"' in (request.post_data or ""))
    with sent():  # a dot
        canvas.press("Space")
        canvas.press("Space")
    box = canvas.bounding_box()
    assert box is not None
    tab.page.mouse.move(box["x"] + 40, box["y"] + 180)
    tab.page.mouse.down()
    canvas.evaluate(
        """(canvas) => {
          canvas.blur();
          const {x, y} = canvas.getBoundingClientRect();
          const finger = {pointerId: 99, clientX: x + 200, clientY: y + 40, bubbles: true};
          canvas.dispatchEvent(new PointerEvent('pointerdown', finger));
          canvas.dispatchEvent(new PointerEvent('pointerup', finger));
        }"""
    )
    tab.page.wait_for_timeout(600)
    tab.page.mouse.move(box["x"] + 60, box["y"] + 180)
    with sent():
        tab.page.mouse.up()
    ink = canvas.evaluate(
        "(canvas) => canvas.getContext('2d').getImageData(130, 75, 60, 45).data.some(Boolean)"
    )
    assert not ink, "no line to the second finger and back"


@browser
def test_of_two_quick_clicks_the_second_counts(tab: App) -> None:
    draw(tab, "All", count=1)
    for index in (3, 8, 5):
        tab.page.evaluate("index => document.querySelectorAll('.vf-digit')[index].click()", index)
        tab.page.wait_for_timeout(40)
    restyled(tab, "Digit 5 from above", 5)
    assert np.array_equal(tab.images(".vf-prepared img")[0, ..., 0], grid(tab)[5])
    tab.page.wait_for_timeout(1500)  # no older click is answered later
    assert tab.page.locator(RESTYLE).inner_text() == "Digit 5 from above, read as 5"


@browser
def test_bad_input(tab: App, tmp_path: Path) -> None:
    upload = tab.page.locator(".vf-restyle input[type=file]")
    blank = tmp_path / "blank.png"
    Image.new("L", (40, 40), 255).save(blank)
    draw(tab)
    tab.page.locator(".vf-cells button").first.click()
    tab.page.locator("#vf-tens img").first.wait_for()
    for path, expected in (
        (text(tmp_path), f"notes.png: not an image or video (its content does not match); give {KINDS}"),
        (enormous(tmp_path), "big.png: 400 megapixels; the limit is 64; reduce the image and try again"),
        (pixel(tmp_path), "pixel.png: no ink in it; draw one digit that stands out from its background"),
        (blank, "blank.png: no ink in it; draw one digit that stands out from its background"),
    ):
        upload.set_input_files(path)
        tab.complained(RESTYLE, expected)
        assert tab.page.locator("#vf-tens img, .vf-prepared").count() == 0, "nothing is left of another digit"
    tab.choose("torn-digits")
    missing = "a checkpoint is a folder with config.json and model.safetensors"
    tab.refused("digits", f"torn-digits: no model.safetensors in it; {missing}")
    tab.choose("digits")
    draw(tab)


@browser
@pytest.mark.parametrize(
    ("size", "scheme"),
    [(DESKTOP, "light"), (PHONE, "dark")],
    ids=["desktop-light", "phone-dark"],
)
def test_axe_and_width(opened: Opener, size: tuple[int, int], scheme: str) -> None:
    app = opened(size, scheme)
    app.tab("Digits")
    check(app, "at first")
    draw(app, "All", count=8)
    app.page.get_by_role("button", name="Use digit 2, sample 4, as the style").click()
    restyled(app, "Digit 2 from above", 2)
    check(app, "with results")


@browser
def test_keyboard_alone(tab: App) -> None:
    press_tab_until(tab, "input[type=radio]", "document.activeElement.closest('label')")
    tab.page.keyboard.press("ArrowRight")
    press_tab_until(tab, "#vf-digits-run")
    tab.page.keyboard.press("Enter")
    tab.page.locator(".vf-drawn").wait_for(timeout=DONE)
    assert tab.page.locator(".vf-cells img").first.get_attribute("alt") == "Digit 0, sample 1"
    press_tab_until(tab, ".vf-digit")
    tab.page.keyboard.press("Enter")
    restyled(tab, "Digit 0 from above", 0)
    press_tab_until(tab, ".vf-pad canvas")
    for key in ["Space", *["ArrowDown"] * 20, "Space"]:
        tab.page.keyboard.press(key)
    tab.page.locator(RESTYLE, has_text="Your drawing, read as").wait_for(timeout=DONE)
    press_tab_until(tab, ".vf-clear")


def test_endpoint_is_python(server: Server, checkpoints: Path) -> None:
    client = Client(server.address, verbose=False)
    native, sheet, settings = client.predict(
        "all", num_samples=2, temperature=0.8, seed=3, api_name="/generate_digits"
    )
    model = vflow.load(checkpoints / "digits")
    with np.load(native) as saved:
        expected = vflow.digits(model, "all", num_samples=2, temperature=0.8, seed=3)
        assert np.array_equal(saved["images"], expected)
        assert saved["labels"].tolist() == [label for label in range(10) for _ in range(2)]
    assert Path(sheet).suffix == ".png" and json.loads(Path(settings).read_text())["seed"] == 3
    for given, expected_message in (
        ({"label": "ten"}, "label: give all, 0, 1, 2, 3, 4, 5, 6, 7, 8 or 9"),
        ({"label": "1", "num_samples": 33}, "num_samples: give a number from 1 to 32"),
        ({"label": "1", "temperature": 3}, "temperature: give a number from 0 to 2"),
        ({"label": "1", "checkpoint": "shapes"}, "shapes: a model of another kind; choose one of: digits, "),
        (
            {"label": "1", "checkpoint": "owner/model"},
            "owner/model: no such checkpoint here; choose one of: ",
        ),
    ):
        with pytest.raises(AppError) as error:
            client.predict(**given, api_name="/generate_digits")
        assert str(error.value.message).startswith(expected_message)
    info = client.predict("digits", api_name="/model_info")
    assert info["config"]["kind"] == "digits"
