"""The Walk tab in a real browser: an input up, a strip of steps down, a slider that answers at once."""

from __future__ import annotations

import html
import json
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Route, expect

import vflow
from apps.ui.shared import examples
from apps.ui.walk import kinds
from apps.ui.walk.form import RANDOM
from tests.app.conftest import Opener, Server
from tests.app.support import DESKTOP, DONE, PHONE, SETTLED, App, color_contrast, decoded, differ
from tests.app.test_access import LIVE, check, press_tab_until
from tests.app.test_bad_input import KINDS, text
from vflow.cli import main as vflow_command
from vflow.data import media
from vflow.pipelines.digits.preprocess import prepare_digit

TITLES = "[...document.querySelectorAll('#vf-walk-kind label')].map((label) => label.innerText.trim())"
READY = """(before) => {
  const section = document.querySelector('.vf-walk.vf-ready');
  return section && section.dataset.key !== before;
}"""


def offered(checkpoint: str) -> list[str]:
    """Kinds of walk that the page offers for a checkpoint; only digits has directions stored."""
    model = next((kind for kind in ("digits", "colorizer") if checkpoint.endswith(kind)), "videoflow")
    return [one.title for one in kinds.kinds(model) if one.name != "direction" or model == "digits"]


@dataclass
class Walker:
    """The open tab."""

    app: App
    before: str = ""

    def choose(self, checkpoint: str) -> None:
        """Select a checkpoint and wait until the form suits it."""
        self.app.choose(checkpoint)
        self.app.page.wait_for_function(
            f"(titles) => String({TITLES}) === String(titles)"
            " && !document.querySelector('#vf-walk-kind input:disabled')",
            arg=offered(checkpoint),
        )

    def kind(self, title: str, models: tuple[str, ...] = ("videoflow", "digits", "colorizer")) -> None:
        """Select a kind of walk, told by the first of ``models`` that has it, and wait for its controls."""
        self.app.page.get_by_role("radio", name=title, exact=True).check()
        offered_kinds = [one for model in models for one in kinds.kinds(model)]
        info = next(one.info for one in offered_kinds if one.title == title)
        self.app.page.locator("#vf-walk-kind").get_by_text(info).wait_for()

    def upload(self, box: str, *paths: Path) -> None:
        """Put files into a box: start, end, negatives or positives."""
        self.app.page.locator(f"#vf-walk-{box} input[type=file]").set_input_files(list(paths))
        self.app.page.locator(f"#vf-walk-{box} tr.file").nth(len(paths) - 1).wait_for()

    def example(self, index: int = 0) -> str:
        """Click an example and wait for its walk."""
        self.begin("#vf-walk-try .vf-example", index)
        return self.finished()

    def walk(self) -> str:
        """Press Walk and wait for the finished strip; returns the line of status."""
        self.begin("#vf-walk-run")
        return self.finished()

    def begin(self, selector: str, index: int = 0) -> None:
        """Click what begins a walk."""
        self.before = self.app.page.evaluate("document.querySelector('.vf-walk')?.dataset.key ?? ''")
        self.app.page.locator(selector).nth(index).click()

    def finished(self) -> str:
        """Wait for a new finished strip; returns the line of status."""
        self.app.page.wait_for_function(READY, arg=self.before, timeout=DONE)
        self.app.page.locator("#vf-walk-run:not([disabled])").wait_for()
        return self.status()

    def status(self) -> str:
        """First line of the status."""
        return self.app.page.locator("#vf-walk-status .vf-status p").inner_text()

    def rest(self) -> None:
        """Stop the clips: every one then shows its last frame."""
        self.app.page.get_by_role("button", name="Pause all clips").click()

    def shows(self) -> np.ndarray:
        """What the stage shows, decoded by the browser: uint8 (H, W, 3)."""
        return decoded(self.app.page.locator(".vf-stage canvas").evaluate("canvas => canvas.toDataURL()"))

    def press(self, *keys: str) -> None:
        """Keys on the slider."""
        for key in keys:
            self.app.page.locator(".vf-walk .vf-seek").press(key)

    def at(self) -> str:
        """What is said of the step on the stage."""
        return self.app.page.locator(".vf-walk .vf-now").inner_text()


@pytest.fixture
def walker(app: App) -> Walker:
    """The tab on a fresh page at desktop size."""
    return opened_tab(app)


def opened_tab(app: App) -> Walker:
    app.tab("Walk")
    app.page.locator("#vf-walk-kind input").first.wait_for()
    return Walker(app)


@pytest.mark.browser
def test_slider_over_the_clips_of_an_example(walker: Walker, tmp_path: Path) -> None:
    walker.choose("shapes")
    walker.kind("Blend")
    walker.app.number("Steps", 5)
    assert ": 5 steps in " in walker.example()
    walker.rest()
    with np.load(walker.app.download("Frames (npz)", tmp_path)) as saved:
        frames, positions = saved["frames"], saved["positions"]
    assert frames.shape == (5, 1 + 4, 32, 32, 3) and positions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    asked: list[str] = []
    walker.app.page.on("request", lambda request: asked.append(request.url))
    for index in range(5):
        assert np.array_equal(walker.shows(), frames[index, -1]), "the stage shows the native pixels"
        assert walker.at() == f"{25 * index}%"
        walker.press("ArrowRight")
    assert asked == [], "every step is at hand"
    walker.press("Home", "End", "Home", "End")
    assert walker.at() == "100%" and np.array_equal(walker.shows(), frames[-1, -1]), "ends where it was led"
    assert differ(frames[0, -1], frames[-1, -1]) > 5


@pytest.mark.browser
def test_futures_are_drawn_at_the_suggested_temperatures_until_the_slider_is_moved(
    walker: Walker, stills: list[Path], checkpoints: Path, tmp_path: Path
) -> None:
    walker.choose("calm")
    walker.kind("Blend")
    levels = walker.app.page.get_by_label("Temperature per level").filter(visible=True)
    expect(levels).to_have_value("0.4, 1")
    walker.upload("start", stills[0])
    walker.app.number("Steps", 2)
    walker.app.number("Frames", 2)
    model = vflow.load(checkpoints / "calm")

    def drawn(temperature: float | None, told: str) -> None:
        assert walker.walk().endswith(f" · calm, temperature {told}, seed 0")
        settings = vflow.WalkSettings("blend", steps=2, num_frames=2, temperature=temperature)
        frames = vflow.walk(model, [media.read_image(stills[0])], settings).frames
        with np.load(walker.app.download("Frames (npz)", tmp_path)) as saved:
            assert np.array_equal(saved["frames"], frames)

    drawn(None, "0.4 / 1")
    slider = walker.app.page.get_by_label("number input for Temperature").filter(visible=True)
    slider.fill("0.9")
    slider.press("Tab")
    expect(levels).to_have_value("")
    drawn(0.9, "0.9")
    walker.kind("Temperature")
    expect(levels).to_have_count(0)
    walker.choose("digits")
    walker.choose("shapes")
    walker.kind("Blend")
    slider.wait_for()
    expect(levels).to_have_count(0)  # its one temperature is the slider's


@pytest.mark.browser
def test_a_grey_photo_starts_from_what_python_draws(
    walker: Walker, checkpoints: Path, tmp_path: Path
) -> None:
    """What a checkpoint suggests for samples has no part in a walk, whose form shows no temperature."""
    grey = np.repeat(np.random.default_rng(0).integers(0, 256, (40, 40, 1), np.uint8), 3, -1)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    walker.choose("calm-colorizer")
    walker.kind("Temperature", ("colorizer",))
    walker.upload("start", tmp_path / "grey.png")
    walker.app.number("Steps", 3)
    walker.walk()
    with np.load(walker.app.download("Frames (npz)", tmp_path)) as saved:
        frames = saved["frames"]
    model = vflow.load(checkpoints / "calm-colorizer")
    settings = vflow.WalkSettings(kind="temperature", steps=3)
    assert np.array_equal(frames.squeeze(), vflow.walk(model, [grey], settings).frames.squeeze())


@pytest.mark.browser
def test_between_two_digits_the_ends_are_the_inputs(walker: Walker) -> None:
    walker.choose("digits")
    walker.kind("Interpolate")
    walker.app.page.get_by_role("radio", name="Upload or example").check()
    paths = [examples.FOLDER / name for name in list(examples.DIGITS.values())[:2]]
    walker.upload("start", paths[0])
    walker.upload("end", paths[1])
    walker.walk()
    for key, path in (("Home", paths[0]), ("End", paths[1])):
        walker.press(key)
        wanted = prepare_digit(media.read_image(path).frames[0])
        assert np.abs(walker.shows()[..., 0].astype(int) - wanted).max() <= 1
    captions = walker.app.page.locator(".vf-walk figcaption").all_inner_texts()
    assert captions[:2] == ["From", "To"]


@pytest.mark.browser
def test_directions_play_and_what_is_saved(walker: Walker, tmp_path: Path) -> None:
    walker.choose("digits")
    walker.kind("Direction")
    walker.app.page.get_by_role("button", name="Direction 2: ").click()
    walker.app.page.get_by_text("Direction 2 explains ").wait_for()
    walker.app.number("Steps", 3)
    walker.app.number("Seed", 4)
    assert ": 3 steps in " in walker.walk()
    seen = "document.querySelector('.vf-walk .vf-now').textContent === '{}'"
    for place in ("+3.0 σ", "start", "−3.0 σ", "start", "+3.0 σ"):
        walker.app.page.wait_for_function(seen.format(place))
    walker.app.page.get_by_role("button", name="Pause the walk, there and back").click()
    record = json.loads(walker.app.download("Settings (json)", tmp_path).read_text())
    assert (record["kind"], record["direction"], record["steps"], record["seed"]) == ("direction", 1, 3, 4)
    with Image.open(walker.app.download("Grid (png)", tmp_path)) as grid:
        assert grid.width > 2 * grid.height
    assert media.read_clip(walker.app.download("Video (mp4)", tmp_path)).frames.shape[0] == 4
    native = walker.app.download("Frames (npz)", tmp_path)
    command = [*shlex.split(record["command"])[1:-1], str(tmp_path / "again"), "--format", "npz"]
    threads = torch.get_num_threads()
    try:
        assert vflow_command(command) == 0
    finally:
        torch.set_num_threads(threads)
    with np.load(native) as ours, np.load(tmp_path / "again" / "walk.npz") as theirs:
        assert np.array_equal(ours["frames"], theirs["frames"])


@pytest.mark.browser
def test_kinds_fit_the_model(walker: Walker) -> None:
    walker.choose("shapes")
    note = "python scripts/directions.py --config PRESET --checkpoint shapes"
    expect(walker.app.page.locator("#vf-walk-note").get_by_text(note)).to_be_visible()
    walker.choose("colorizer")
    walker.kind("Transfer", ("colorizer",))
    walker.app.number("Steps", 2)
    assert ": 2 steps in " in walker.example()
    assert walker.shows().shape == (160, 241, 3)
    walker.upload("start", examples.FOLDER / "walk-coffee.png")
    walker.choose("digits")
    expect(walker.app.page.locator("#vf-walk-note")).to_be_hidden()
    walker.app.page.locator("#vf-walk-results .vf-empty").wait_for()
    expect(walker.app.page.get_by_role("button", name="Grid (png)")).to_be_hidden()
    walker.app.page.get_by_role("radio", name="Upload or example").check()
    walker.app.page.locator("#vf-walk-start").get_by_text("Drop File Here").wait_for()


@pytest.mark.browser
def test_without_a_start_the_first_example_is_taken(walker: Walker) -> None:
    walker.choose("shapes")
    walker.app.number("Steps", 3)
    assert ": 3 steps in " in walker.walk()
    box = walker.app.page.locator("#vf-walk-start")
    expect(box).to_contain_text("shapes-circle")
    walker.kind("Interpolate")
    walker.app.refused("walk", "two inputs are needed: where the walk starts and where it leads")
    box.get_by_role("button", name="Clear").click()
    walker.walk()
    expect(walker.app.page.locator("#vf-walk-end")).to_contain_text("shapes-square")


@pytest.mark.browser
def test_of_two_quick_choices_the_second_counts(walker: Walker) -> None:
    walker.choose("digits")
    walker.kind("Transfer", ("digits",))
    page, held, busy = walker.app.page, list[Route](), [True]
    page.route("**/gradio_api/run/**", lambda route: held.append(route) if busy else route.continue_())
    page.get_by_role("radio", name="Temperature", exact=True).check()
    page.wait_for_timeout(200)  # until the page has asked
    page.get_by_role("radio", name="Interpolate", exact=True).check()
    page.wait_for_timeout(200)
    busy.clear()
    for route in held:
        route.continue_()
    walker.kind("Interpolate", ("digits",))


@pytest.mark.browser
def test_of_two_quick_checkpoints_the_second_counts(walker: Walker) -> None:
    walker.choose("digits")
    page, held, busy = walker.app.page, list[Route](), [True]

    def hold(route: Route) -> None:
        asked = route.request.post_data or ""
        whole = f'"{RANDOM}"' in asked and any(f'"{name}"' in asked for name in ("colorizer", "shapes"))
        held.append(route) if busy and whole else route.continue_()

    page.route("**/gradio_api/run/**", hold)
    walker.app.choose("colorizer")
    expect(page.locator("#vf-walk-status")).to_contain_text("Loading the model…")
    expect(page.locator("#vf-walk-run")).to_be_disabled()
    expect(page.locator("#vf-walk-try .vf-example")).to_have_count(0)
    walker.app.choose("shapes")
    page.wait_for_timeout(200)  # until the page has asked, if it does
    with page.expect_request(lambda request: '"shapes"' in (request.post_data or "")):
        held.pop(0).continue_()
    expect(page.locator("#vf-walk-status")).to_contain_text("Loading the model…")
    expect(page.locator("#vf-walk-run")).to_be_disabled()
    busy.clear()
    for route in held:
        route.continue_()
    page.wait_for_function(
        f"(titles) => String({TITLES}) === String(titles)"
        " && !document.querySelector('#vf-walk-kind input:disabled')",
        arg=offered("shapes"),
    )
    expect(page.locator("#vf-walk-status")).to_contain_text("Ready.")
    expect(page.locator("#vf-walk-run")).to_be_enabled()


@pytest.mark.browser
def test_of_quick_choices_of_a_direction_the_last_counts(walker: Walker) -> None:
    walker.choose("digits")
    walker.kind("Direction")
    page, held, busy = walker.app.page, list[Route](), [True]
    slider = page.get_by_label("range slider for Direction")

    def answered(number: int) -> None:
        busy.clear()
        while held:
            held.pop(0).continue_()
        page.get_by_text(f"Direction {number} explains ").wait_for()
        current = page.locator("#vf-walk-bars [aria-current]")
        expect(current).to_have_attribute("data-index", str(number))
        expect(slider).to_have_value(str(number))
        busy.append(True)

    page.route("**/gradio_api/run/**", lambda route: held.append(route) if busy else route.continue_())
    for bar in (2, 5):
        page.get_by_role("button", name=f"Direction {bar}: ").click()
        page.wait_for_timeout(200)  # until the page has asked
    answered(5)
    for key in ("ArrowRight", "ArrowRight"):
        slider.press(key)
        page.wait_for_timeout(200)
    answered(7)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_bars_of_directions_stand_out(opened: Opener, scheme: str) -> None:
    walker = opened_tab(opened(scheme=scheme))
    walker.choose("digits")
    walker.kind("Direction")
    bar, behind = (
        walker.app.page.locator(part).first for part in ("#vf-walk-bars li:last-child i", "#vf-walk-bars")
    )
    edge = bar.evaluate("(bar) => getComputedStyle(bar).boxShadow")
    ground = behind.evaluate("(card) => getComputedStyle(card).backgroundColor")
    assert color_contrast(edge, ground) >= 3, (edge, ground)


@pytest.mark.browser
def test_stop(walker: Walker, stills: list[Path]) -> None:
    walker.choose("slow")
    walker.upload("start", stills[0])
    walker.app.number("Frames", 30)
    walker.app.page.locator("#vf-walk-run").click()
    walker.app.page.locator("#vf-walk-status", has_text=" of 30 decoded").wait_for(timeout=DONE)
    walker.app.page.locator("#vf-walk-stop").click()
    walker.app.page.locator("#vf-walk-status", has_text="Stopped before the walk was complete.").wait_for()
    walker.app.page.locator("#vf-walk-run:not([disabled])").wait_for()


@pytest.mark.browser
@pytest.mark.parametrize(
    ("size", "scheme"),
    [(DESKTOP, "light"), (PHONE, "dark")],
    ids=["desktop-light", "phone-dark"],
)
def test_axe_and_width(opened: Opener, size: tuple[int, int], scheme: str) -> None:
    walker = opened_tab(opened(size, scheme))
    walker.choose("digits")
    walker.kind("Direction")
    walker.app.page.get_by_role("radio", name="Upload or example").check()
    walker.app.page.locator("#vf-walk-try .vf-example").first.wait_for()
    check(walker.app, "at first")
    walker.example()
    check(walker.app, "with results")


@pytest.mark.browser
def test_keyboard_alone_and_names(walker: Walker) -> None:
    walker.choose("shapes")
    walker.app.number("Steps", 3)
    walker.app.page.locator("#vf-walk-try .vf-example").first.wait_for()
    walker.app.page.get_by_label("Checkpoint").filter(visible=True).focus()
    press_tab_until(walker.app, "#vf-walk-try .vf-example")
    walker.app.page.keyboard.press("Enter")
    walker.finished()
    press_tab_until(walker.app, ".vf-walk .vf-play")
    press_tab_until(walker.app, ".vf-walk .vf-seek")
    walker.app.page.keyboard.press("ArrowRight")
    slider = walker.app.page.get_by_role("slider", name="Step of the walk")
    assert slider.get_attribute("aria-valuetext") == "Step 2 of 3: 50%"
    assert walker.app.page.get_by_role("img", name="Step 2 of 3: 50%").is_visible()
    press_tab_until(walker.app, ".vf-loop")
    walker.app.page.keyboard.press("Space")
    assert walker.app.page.get_by_role("button", name="Play all clips").is_visible()
    assert walker.app.page.get_by_role("button", name="Step 3 of 3: 100%").count() == 1
    assert walker.app.page.locator("#vf-walk-status .vf-status p").evaluate(LIVE) == "polite"


@pytest.mark.browser
def test_leaving_the_list_of_checkpoints_changes_nothing(walker: Walker) -> None:
    walker.choose("shapes")
    walker.app.number("Steps", 3)
    walker.example()
    asked: list[str] = []
    walker.app.page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    walker.app.page.get_by_label("Checkpoint").filter(visible=True).focus()
    walker.app.page.keyboard.press("Tab")
    walker.app.page.evaluate(SETTLED)
    assert [each for each in asked if each.startswith("POST")] == []
    assert walker.app.page.locator(".vf-walk.vf-ready").is_visible()


@pytest.mark.browser
def test_reduced_motion_and_another_run_in_the_same_place(opened: Opener) -> None:
    walker = opened_tab(opened((360, 740), motion="reduce"))
    walker.choose("shapes")
    walker.app.number("Steps", 3)
    walker.example()
    assert walker.app.page.get_by_role("button", name="Play all clips").is_visible()
    check(walker.app, "with clips on a small phone")
    first = walker.shows()
    walker.app.page.wait_for_timeout(600)
    assert np.array_equal(first, walker.shows())
    walker.app.number("Seed", 1)
    walker.walk()
    assert differ(first, walker.shows()) > 5
    walker.press("ArrowRight", "ArrowRight", "ArrowLeft")
    assert walker.at() == "50%", "one player drives the slider, not also the one before"


@pytest.mark.browser
def test_bad_input_in_the_browser(walker: Walker, stills: list[Path], tmp_path: Path) -> None:
    walker.choose("shapes")
    walker.kind("Blend")
    walker.app.number("From future", 0)
    walker.app.refused("walk", "from future: give a number from 1 to 10000")
    walker.app.number("From future", 1)
    walker.kind("Interpolate")
    walker.upload("start", stills[0])
    walker.app.refused("walk", "two inputs are needed: where the walk starts and where it leads")
    walker.upload("end", stills[1])
    walker.app.refused("walk", "frame0.png: an interpolation needs clips of 2 frames or more")
    walker.kind("Semantic")
    walker.app.refused("walk", "two groups are needed: add examples to both")
    walker.kind("Temperature")
    start = walker.app.page.locator("#vf-walk-start")
    start.get_by_role("button", name="Clear").click()
    start.get_by_text("Drop File Here").wait_for()
    walker.upload("start", text(tmp_path))
    walker.app.refused("walk", f"notes.png: not an image or video (its content does not match); give {KINDS}")
    walker.choose("colorizer")
    start.get_by_text("Drop File Here").wait_for()  # the other model's upload is gone
    walker.upload("start", *stills[:2])
    walker.app.refused("walk", "frame1.png: a walk starts from one image; remove the others")


def test_endpoint_is_python_walk(server: Server, checkpoints: Path, stills: list[Path]) -> None:
    client = Client(server.address, verbose=False)
    a, b = ([handle_file(path) for path in paths] for paths in (stills[:2], stills[2:4]))
    grid, film, native, settings = client.predict(
        a, b, checkpoint="shapes", kind="interpolate", steps=3, num_frames=2, api_name="/walk"
    )
    clips = [media.read_frames(paths) for paths in (stills[:2], stills[2:4])]
    model = vflow.load(checkpoints / "shapes")
    made = vflow.walk(model, clips, vflow.WalkSettings("interpolate", steps=3, num_frames=2))
    with np.load(native) as saved:
        assert np.array_equal(saved["frames"], made.frames)
        for step, clip in ((0, clips[0]), (-1, clips[1])):
            assert np.abs(saved["frames"][step, :2].astype(int) - clip.frames).max() <= 1
    assert (Path(grid).suffix, Path(film).suffix) == (".png", ".mp4")
    record = json.loads(Path(settings).read_text())
    assert record["to"] == ["frame2.png", "frame3.png"] and "command" not in record


def test_groups_from_the_endpoint(server: Server, checkpoints: Path) -> None:
    digits = [examples.FOLDER / name for name in examples.DIGITS.values()]
    client = Client(server.address, verbose=False)
    *_, native, settings = client.predict(
        [handle_file(digits[0])],
        checkpoint="digits",
        kind="semantic",
        steps=3,
        negatives=[handle_file(digits[1])],
        positives=[handle_file(digits[2])],
        api_name="/walk",
    )
    start, *groups = ([prepare_digit(media.read_image(path).frames[0])] for path in digits)
    model = vflow.load(checkpoints / "digits")
    wanted = vflow.WalkSettings("semantic", steps=3)
    made = vflow.walk(model, start, wanted, negatives=groups[0], positives=groups[1])
    with np.load(native) as saved:
        assert np.array_equal(saved["frames"], made.frames)
    assert shlex.split(json.loads(Path(settings).read_text())["command"])[-6:-2] == [
        *("--negatives", digits[1].name),
        *("--positives", digits[2].name),
    ]


def test_endpoint_walks_as_the_form_says(server: Server, checkpoints: Path) -> None:
    *_, settings = Client(server.address, verbose=False).predict(label="3", steps=2, api_name="/walk")
    made = json.loads(Path(settings).read_text())
    suggested = vflow.load(checkpoints / "digits").config.temperature
    assert (Path(made["checkpoint"]).name, made["temperature"]) == ("digits", suggested)
    assert "--temperature" not in made["command"], "the command line draws alike"
    *_, settings = Client(server.address, verbose=False).predict(
        label="3", steps=2, level_temperatures="0.5, 0.9", api_name="/walk"
    )
    made = json.loads(Path(settings).read_text())
    assert made["temperature"] == [0.5, 0.9] and "--temperature 0.5,0.9" in made["command"]
    *_, settings = Client(server.address, verbose=False).predict(
        label="3", steps=2, level_temperatures=" , ", api_name="/walk"
    )
    assert json.loads(Path(settings).read_text())["temperature"] == suggested


def test_bad_input_from_the_endpoint(server: Server) -> None:
    client = Client(server.address, verbose=False)
    for arguments, expected in (
        ({"kind": "sideways"}, "kind 'sideways' is unknown; choose direction, "),
        ({"kind": "blend", "checkpoint": "digits"}, "digits: no walk of kind 'blend'; choose direction, "),
        ({"steps": 1}, "steps: give a number from 2 to 33"),
        ({"level": "low"}, "level: 'low': give a whole number, or all"),
        (
            {"checkpoint": "digits", "label": "3", "level_temperatures": "0.5"},
            "temperature per level: 1 given, digits has 2 levels",
        ),
        ({"label": "ten"}, "label: 'ten': give a digit, or likeliest"),
        ({"checkpoint": "owner/model"}, "owner/model: no such checkpoint here; choose one of: "),
    ):
        with pytest.raises(AppError) as error:
            client.predict(**arguments, api_name="/walk")
        assert html.unescape(str(error.value.message)).startswith(expected)
