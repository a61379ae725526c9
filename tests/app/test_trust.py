"""The page before anything is computed: a moving example, the fit of an upload, tabs by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from apps.app import TABS
from apps.ui.shared.examples import FOLDER
from tests.app.conftest import Opener, running
from tests.app.support import PHONE, App

pytestmark = pytest.mark.browser
OPENING = ("Predict", "Digits", "Colourise", "Enlarge", "Walk", "Surprise", "Compress", "Lab")
MOVES = """async (section) => {
  const video = section.querySelector('video');
  while (video.paused || video.currentTime === 0) await new Promise((done) => setTimeout(done, 50));
}"""


def test_every_tab_opens_on_a_moving_example_that_can_be_paused(app: App) -> None:
    for name in OPENING:
        app.page.get_by_role("tab", name=name).click()
        opening = app.page.locator(".vf-opening").filter(visible=True)
        expect(opening.locator(".vf-lead")).not_to_be_empty()
        opening.evaluate(MOVES)
        opening.get_by_role("button", name="Pause the example").click()
        assert opening.locator("video").evaluate("(video) => video.paused")


def test_openings_are_still_where_less_motion_is_preferred(opened: Opener) -> None:
    app = opened(motion="reduce")
    expect(app.page.get_by_role("button", name="Play the example").filter(visible=True)).to_be_visible()
    assert app.page.locator(".vf-opening video").first.evaluate("(video) => video.paused")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an app without models of one's own."""
    folder = tmp_path_factory.mktemp("shipped")
    with running(folder, None) as (address, _):
        yield address


def test_an_upload_chooses_the_model_and_a_click_takes_it_back(
    shipped: str, opened: Opener, tmp_path: Path
) -> None:
    app = opened(address=shipped)
    app.upload(FOLDER / "push-00056.mp4")
    line = app.page.locator("#vf-predict-fit")
    expect(line).to_contain_text("This looks like robot-arm video")
    expect(line).to_contain_text("Switched to push")
    checkpoint = app.page.locator("[aria-label=Checkpoint]:visible")
    expect(checkpoint).to_have_value("push")
    line.get_by_role("button", name="Undo").click()
    expect(checkpoint).to_have_value("shapes")
    line.get_by_role("button", name="Use push").click()
    expect(checkpoint).to_have_value("push")
    expect(line).to_contain_text("which push was trained on")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    app.upload(tmp_path / "noise.png")
    expect(line.locator(".vf-amber")).to_contain_text("has seen a clip like this")
    assert app.status() == "Ready."


@pytest.mark.parametrize("size", [(1366, 768), PHONE], ids=["laptop", "phone"])
def test_the_first_button_of_every_tab_is_in_sight(opened: Opener, size: tuple[int, int]) -> None:
    app = opened(size)
    for name in OPENING:
        app.tab(name)
        box = app.page.locator(".vf-actions button.primary").filter(visible=True).first.bounding_box()
        assert box and box["y"] + box["height"] <= size[1], name


def test_arrow_keys_go_from_tab_to_tab(app: App) -> None:
    app.page.get_by_role("tab", name="Predict").focus()
    for key, name in (("ArrowRight", "Digits"), ("End", TABS[-1].title), ("ArrowRight", "Predict")):
        app.page.keyboard.press(key)
        expect(app.page.get_by_role("tab", name=name)).to_be_focused()
        expect(app.page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")


def test_clear_and_an_error_empty_the_panel(app: App, stills: list[Path]) -> None:
    app.upload(stills[0])
    app.settings(futures=1, frames=1)
    app.predict()
    downloads = app.page.get_by_text("Settings (json)").filter(visible=True)
    expect(downloads).to_have_count(1)
    app.page.locator("#vf-predict-files button[aria-label=Clear]").click()
    app.page.locator("#vf-predict-results .vf-empty").wait_for()
    expect(downloads).to_have_count(0)
    expect(app.page.locator("#vf-predict-status .vf-status p")).to_have_text("Ready.")
    app.upload(stills[0])
    app.predict()
    app.advanced()
    app.page.get_by_label("Temperature per level").filter(visible=True).fill("warm")
    app.page.locator("#vf-predict-run").click()
    app.page.locator("#vf-predict-status .vf-error").wait_for()
    app.page.locator("#vf-predict-results .vf-empty").wait_for()
    expect(downloads).to_have_count(0)
