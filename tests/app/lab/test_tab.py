"""The Lab in a real browser: an example is learned, a drawing too, Stop keeps what is there."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import Route, expect

import vflow
from tests.app.conftest import Opener, Server
from tests.app.support import DESKTOP, DONE, PHONE, App
from tests.app.test_access import check

browser = pytest.mark.browser
STATUS = "#vf-lab-status p"


@pytest.fixture
def tab(opened: Opener) -> App:
    """The page with the tab open."""
    app = opened()
    app.tab("Lab")
    return app


def choose(app: App, label: str, option: str) -> None:
    """Select ``option`` in a dropdown of the tab."""
    app.page.locator(f"[aria-label={label}]:visible").click()
    app.page.get_by_role("option", name=option, exact=True).click()


def learned(app: App) -> str:
    """Wait for a finished result; returns the line of status."""
    app.page.locator(".vf-learned").wait_for(timeout=DONE)
    app.page.locator("#vf-lab-run:not([disabled])").wait_for()
    return app.page.locator(STATUS).inner_text()


@browser
@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_an_example_is_learned_and_downloaded(
    opened: Opener, size: tuple[int, int], scheme: str, tmp_path: Path
) -> None:
    app = opened(size, scheme, "reduce")
    app.tab("Lab")
    check(app, "at first")
    app.number("Steps", 100)
    app.page.get_by_role("button", name="Learn: Pinwheel").click()
    assert learned(app).startswith("100 steps in ")
    check(app, "with results")
    slider = app.page.get_by_role("slider", name="Layers of the flow")
    whole = app.page.locator(".vf-grid-lines").get_attribute("d")
    slider.press("Home")
    assert app.page.locator(".vf-bend .vf-now").inner_text() == "base"
    base = app.page.locator(".vf-grid-lines").get_attribute("d")
    assert base and whole and base != whole
    slider.press("End")
    assert app.page.locator(".vf-bend .vf-now").inner_text() == "layer 9 of 9"
    assert app.page.get_by_role("img", name="Surprise at a point, in nats, against steps").count() == 1
    assert "vflow train --config spline --data pinwheel" in app.page.locator(".vf-command code").inner_text()
    with ZipFile(app.download("Checkpoint (zip)", tmp_path)) as archive:
        archive.extractall(tmp_path)
    assert vflow.sample(vflow.load(tmp_path / "spline"), 5).shape == (5, 2)


@browser
def test_a_drawing_is_learned_until_stop(tab: App) -> None:
    tab.page.get_by_role("button", name="Draw one of your own").click()
    canvas = tab.page.get_by_label("Drawing pad for a density")
    canvas.wait_for()
    box = canvas.bounding_box()
    assert box
    tab.page.mouse.move(box["x"] + 40, box["y"] + 60)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + 180, box["y"] + 120, steps=5)
    with tab.page.expect_response(lambda response: "drawn" in (response.request.post_data or "")):
        tab.page.mouse.up()  # the pad sends its ink a moment later
    choose(tab, "Flow", "History: RNADE")
    tab.page.get_by_text("share one hidden layer").wait_for()
    tab.number("Steps", 9000)
    tab.page.locator("#vf-lab-run").click()
    tab.page.locator(".vf-learning .vf-bend").wait_for(timeout=DONE)
    tab.page.locator("#vf-lab-stop").click()
    assert learned(tab).startswith("Stopped after ")
    assert "--data rnade/points.npz" in tab.page.locator(".vf-command code").inner_text()


@browser
def test_a_cleared_drawing_is_not_learned(tab: App) -> None:
    choose(tab, "Density", "Draw one")
    canvas = tab.page.get_by_label("Drawing pad for a density")
    held: list[Route] = []
    tab.page.route(
        "**/gradio_api/run/**",
        lambda route: held.append(route) if '"ink"' in (route.request.post_data or "") else route.continue_(),
    )
    with tab.page.expect_request(lambda request: '"ink"' in (request.post_data or "")):
        canvas.click()
    with tab.page.expect_response(lambda response: '"cleared"' in (response.request.post_data or "")):
        tab.page.get_by_role("button", name="Clear", exact=True).filter(visible=True).click()
    with tab.page.expect_response(lambda response: '"ink"' in (response.request.post_data or "")):
        held[0].continue_()  # the stroke arrives after Clear, which came while it was being answered
    tab.refused("lab", "nothing drawn yet; draw on the pad first")


@browser
def test_the_pad_is_in_view_and_takes_a_finger(opened: Opener) -> None:
    app = opened(PHONE)
    app.tab("Lab")
    app.page.get_by_role("button", name="Draw one of your own").click()
    canvas = app.page.get_by_label("Drawing pad for a density")
    app.page.wait_for_function(
        """() => {
          const box = document.querySelector("#vf-lab-pad canvas")?.getBoundingClientRect();
          return box && box.height > 100 && box.top >= 0 && box.bottom <= window.innerHeight;
        }"""
    )
    touch = """(canvas) => {
      const box = canvas.getBoundingClientRect();
      for (const [type, at] of [["down", 0.2], ["move", 0.5], ["move", 0.8], ["up", 0.8]])
        canvas.dispatchEvent(new PointerEvent(`pointer${type}`, { pointerId: 7, pointerType: "touch",
          clientX: box.left + at * box.width, clientY: box.top + box.height / 2, bubbles: true }));
    }"""
    canvas.evaluate("canvas => { canvas.setPointerCapture = () => {}; }")  # of a finger that is none
    with app.page.expect_response(lambda response: "drawn" in (response.request.post_data or "")):
        canvas.evaluate(touch)
    app.number("Steps", 100)
    app.page.locator("#vf-lab-run").click()
    assert learned(app).startswith("100 steps in ")


@browser
def test_of_a_file_what_fits_is_taken(tab: App, tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(500, 2))
    np.savez(tmp_path / "run.npz", xy=points, names=np.array(["a"]))
    rows = "".join(f"town,{x:.3f},{y:.3f}\n" for x, y in points)
    (tmp_path / "places.csv").write_text("name,x,y\n" + rows)
    choose(tab, "Density", "A file of points (CSV, npz)")
    box = tab.page.locator(".vf-files:visible")
    status = tab.page.locator(STATUS)
    tab.number("Steps", 100)

    def upload(name: str) -> None:
        with tab.page.expect_response(lambda response: name in (response.request.post_data or "")):
            box.locator("input[type=file]").set_input_files(tmp_path / name)

    tab.refused("lab", "no file of points; add a CSV or an npz with two columns")
    upload("places.csv")
    expect(status).to_have_text("Ready.")
    expect(tab.page.get_by_text("places.csv has 1 column of text.")).to_be_visible()
    tab.page.get_by_role("button", name="Leave out name").click()
    expect(tab.page.get_by_text("Of places.csv taken: x and y.")).to_be_visible()
    tab.page.locator("#vf-lab-run").click()
    assert learned(tab).startswith("100 steps in ")
    assert "--data spline/points.npz" in tab.page.locator(".vf-command code").inner_text()
    with ZipFile(tab.download("Checkpoint (zip)", tmp_path)) as archive:
        assert "spline/points.npz" in archive.namelist()
    box.get_by_role("button", name="Clear").click()
    upload("run.npz")
    expect(tab.page.get_by_text("Of run.npz taken: xy.")).to_be_visible()


@browser
def test_systems_follow_the_density(tab: App) -> None:
    tab.page.locator("[aria-label=Flow]:visible").click()
    offered = tab.page.get_by_role("option").all_inner_texts()
    leading = ["Spline flow", "MAF", "Real NVP", "Residual flow", "Continuous flow", "MADE with mixtures"]
    assert [text.strip(" ✓\n") for text in offered[:6]] == leading
    assert all("History: " in text for text in offered[6:]) and len(offered) > 12
    choose(tab, "Density", "Four bumps on a sphere")
    tab.page.get_by_role("heading", name="Recursive flow on the sphere").wait_for()
    choose(tab, "Density", "Energy 2: a wave")
    tab.page.get_by_role("heading", name="Planar flow, base to data").wait_for()


def test_the_endpoint(server: Server, tmp_path: Path) -> None:
    client = Client(server.address, verbose=False, download_files=tmp_path)
    checkpoint, _, report = client.predict("rings", "rnade", 20, 0, [], api_name="/learn_density")
    assert json.loads(Path(report).read_text())["steps"] == 20
    assert len(ZipFile(checkpoint).namelist()) == 3
    *_, report = client.predict(steps=10, api_name="/learn_density")
    told = json.loads(Path(report).read_text())
    assert (told["density"], told["config"]) == ("two-moons", "spline"), "as the page opens"
    with pytest.raises(AppError, match="system: for Rings choose one of"):
        client.predict("rings", "mobius", 20, 0, [], api_name="/learn_density")
