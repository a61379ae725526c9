"""Everyone can use the page: keyboard, screen reader, dark mode, a phone, no motion."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from apps.app import HELP
from apps.ui.shared import html
from tests.app.conftest import Opener
from tests.app.support import DESKTOP, PHONE, App, found_by_axe

pytestmark = pytest.mark.browser
STILL = "*, ::before, ::after { transition: none !important; animation: none !important; }"  # no half colours


@pytest.mark.parametrize(
    ("size", "scheme"),
    [(DESKTOP, "light"), (PHONE, "dark")],
    ids=["desktop-light", "phone-dark"],
)
def test_axe_and_width(opened: Opener, stills: list[Path], size: tuple[int, int], scheme: str) -> None:
    app = opened(size, scheme)
    check(app, "at first")
    app.advanced()
    app.upload(*stills[:3])
    app.settings(futures=3, frames=2)
    app.predict()
    check(app, "with results")


# Boxes around results hide what sticks out of them, so that the page gets no wider.
CUT_OFF = """() => [...document.querySelectorAll('.vf-results :is(button, input, output, canvas, video)')]
  .filter((part) => part.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
  .map((part) => part.outerHTML.slice(0, 100))"""


def check(app: App, when: str) -> None:
    """Nothing sticks out to the side, and axe finds nothing (contrast, names, headings in order)."""
    app.page.add_style_tag(content=STILL)
    app.page.locator(".vf-example img").last.wait_for()
    app.page.wait_for_function("!document.querySelector('.loading')")
    wide = app.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0, when
    assert app.page.evaluate(CUT_OFF) == [], when
    assert found_by_axe(Axe().run(app.page).response["violations"]) == [], when


LIVE = "(part) => part.closest('[aria-live]')?.getAttribute('aria-live') ?? null"
PUT = """(line, html) => {
  line.innerHTML = html;
  return line.getBoundingClientRect().height;
}"""


def test_steps_are_not_spoken_and_move_nothing(app: App) -> None:
    status = app.page.locator("#vf-predict-status")
    assert status.locator("[data-testid=status-tracker]").evaluate(LIVE) is None, "gradio's count of seconds"
    line = status.locator(".html-container .vf-status-line")
    heights = [line.evaluate(PUT, html.message("Ready."))]
    assert line.locator("p").evaluate(LIVE) == "polite"
    heights.append(line.evaluate(PUT, html.progress(1, 4, "Frame 2 of 4", "Progress")))
    assert line.locator("p").evaluate(LIVE) == "off"
    assert line.get_by_role("progressbar").get_attribute("aria-valuetext") == "Frame 2 of 4"
    assert heights[0] == heights[1], "results below stay where they are"


def test_names_of_controls_and_pictures(app: App, stills: list[Path]) -> None:
    app.upload(stills[0])
    app.settings(futures=2, frames=2)
    app.predict()
    labels = app.page.eval_on_selector_all("video", "all => all.map((v) => v.getAttribute('aria-label'))")
    assert labels[:3] == [
        "Future 1: 2 predicted frames after 1 given",
        "Future 2: 2 predicted frames after 1 given",
        "Mean of 2 futures",
    ]
    assert labels[3].startswith("Where 2 futures differ, 0 to ")
    assert app.page.locator("#vf-predict-status .vf-status p").evaluate(LIVE) == "polite"
    assert app.page.locator("#vf-area-answer").get_attribute("role") == "status"
    assert app.page.locator("#vf-predict-fit").get_attribute("role") == "status"
    assert app.page.locator(".vf-now").get_attribute("aria-live") == "off", "it changes with each frame"
    assert app.page.get_by_role("img", name="1: frame0.png").count() == 1
    slider = app.page.get_by_role("slider", name="Frame shown in all futures")
    app.seek(3)
    assert slider.get_attribute("aria-valuetext") == "predicted 2/2"


def test_keyboard_alone(app: App) -> None:
    press_tab_until(app, ".vf-example")
    app.page.keyboard.press("Enter")
    app.finished()
    press_tab_until(app, ".vf-play")
    app.page.locator(".vf-playing").wait_for()
    app.page.keyboard.press("Space")
    app.page.locator(".vf-player:not(.vf-playing)").wait_for()
    press_tab_until(app, ".vf-seek")
    app.page.keyboard.press("Home")
    app.page.keyboard.press("ArrowRight")
    expect(app.page.locator(".vf-now")).to_have_text("given 2/3")
    press_tab_until(app, ".vf-continue")
    press_tab_until(app, ".vf-downloads button, .vf-downloads a")


def press_tab_until(app: App, selector: str, ring: str = "document.activeElement") -> None:
    """Move the focus forward until it is on ``selector``, and see that it is visible there, on ``ring``."""
    for _ in range(60):
        app.page.keyboard.press("Tab")
        if app.page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            outline = app.page.evaluate(f"getComputedStyle({ring}).outlineStyle")
            assert outline != "none", f"no focus ring on {selector}"
            return
    raise AssertionError(f"60 × Tab never reached {selector}")


RING = """() => {
  const focused = document.activeElement, style = getComputedStyle(focused);
  const name = focused.getAttribute('aria-label') || focused.closest('label')?.textContent.trim() || '';
  return [name, style.outlineStyle, parseFloat(style.outlineWidth)];
}"""


# A busy browser may draw the examples anew while the page opens, and the focus on one would be lost.
STAYS = """async () => {
  const examples = [...document.querySelectorAll('.vf-example')].filter((one) => one.checkVisibility());
  const last = examples.at(-1);
  last?.focus();
  await new Promise((done) => setTimeout(done, 1000));
  return last !== undefined && last === document.activeElement;
}"""


def test_every_field_has_the_ring_of_a_button(app: App) -> None:
    rings = {}
    app.page.add_style_tag(content=STILL)
    app.page.wait_for_function(STAYS)
    while not any(name.startswith("Advanced") for name in rings):
        app.page.keyboard.press("Tab")
        name, *ring = app.page.evaluate(RING)
        rings[name or app.page.evaluate("document.activeElement.textContent.trim()")] = ring
    assert {"Seed", "Randomise", "The last frames", "The first frames", "number input for Frames"} <= set(
        rings
    )
    assert {name: ring for name, ring in rings.items() if ring[0] != "solid" or ring[1] < 2} == {}


GAPS = """() => [...document.querySelectorAll('[role=tab]')].map((tab) => {
  const range = document.createRange();
  range.selectNodeContents(tab);
  const {left, right, top} = range.getBoundingClientRect();
  return [left, right, top];
})"""


def test_on_a_phone_names_of_tabs_stand_apart_and_arms_fill_the_width(opened: Opener) -> None:
    app = opened(PHONE)
    names = app.page.evaluate(GAPS)
    assert len(names) == 8
    gaps = [b[0] - a[1] for a, b in pairwise(names) if a[2] == b[2]]
    assert min(gaps) >= 12, gaps
    app.tab("Lab")
    box = app.page.locator(".vf-arm-stages svg").first.bounding_box()
    assert box is not None and box["width"] > 0.9 * PHONE[0]


def test_reduced_motion_starts_still(opened: Opener, stills: list[Path]) -> None:
    app = opened(motion="reduce")
    app.upload(stills[0])
    app.settings(futures=2, frames=2)
    app.predict()
    app.page.wait_for_function("document.querySelector('.vf-now').textContent === 'predicted 2/2'")
    assert all(app.page.eval_on_selector_all("video", "all => all.map((v) => v.paused)"))
    example = app.page.locator(".vf-example").first
    assert example.evaluate("(button) => getComputedStyle(button).transitionProperty") == "none"
    app.page.get_by_role("button", name="Play all futures").click()
    app.page.wait_for_function(
        "document.querySelector('video').currentTime > 0.1 && !document.querySelector('video').paused"
    )


def test_phone_scrolls_to_the_results(opened: Opener) -> None:
    app = opened(PHONE)
    app.page.locator(".vf-example").first.click()
    app.finished()
    top = "document.querySelector('#vf-predict-status').getBoundingClientRect().top"
    app.page.wait_for_function(f"{top} >= 0 && {top} < {PHONE[1] // 2}")


def test_on_a_phone_the_hint_stands_right_below_an_error(opened: Opener) -> None:
    app = opened(PHONE)
    app.refused("predict", "no frames given; add images or a video, or choose an example")
    error, hint = (
        app.page.locator(part).bounding_box()
        for part in ("#vf-predict-status", "#vf-predict-results .vf-hint")
    )
    assert error is not None and hint is not None
    assert 0 <= hint["y"] - (error["y"] + error["height"]) < 40
    expect(app.page.locator("#vf-predict-results .vf-ghost:visible")).to_have_count(0)


def test_the_sign_of_an_upload_box_stands_below_its_label(app: App) -> None:
    tops, bottoms = (
        app.page.eval_on_selector_all(
            f"#vf-predict-files [data-testid={part}]",
            f"(all) => all.map((each) => each.getBoundingClientRect().{side})",
        )
        for part, side in (("upload-icon", "top"), ("block-label", "bottom"))
    )
    assert len(tops) == 1 and tops[0] >= bottoms[0]


def test_the_status_stays_in_sight_beside_the_end_of_the_form(opened: Opener) -> None:
    page = opened((1280, 600)).page
    end = page.get_by_role("button", name="Advanced").filter(visible=True)
    end.evaluate("(button) => button.scrollIntoView({block: 'end'})")
    expect(page.locator("#vf-predict-status")).to_be_in_viewport(ratio=1)
    assert page.evaluate("window.scrollY") > 200


def test_help_for_programmers_stays_here(app: App) -> None:
    app.page.get_by_role("button", name=HELP).click()
    app.page.get_by_text("/predict_future").first.wait_for()
    # gradio's panel asks for its monitoring and MCP pages, which are off: two refusals, no other complaint.
    assert {error.partition(" (")[0][-3:] for error in app.errors} <= {"403", "404"}
    app.errors.clear()
