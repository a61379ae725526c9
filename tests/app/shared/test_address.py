"""The open tab in the page's address."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from apps.app import HELP
from apps.ui.lab.systems import BY_PRESET, asked_for
from tests.app.support import App

pytestmark = pytest.mark.browser
MAF = BY_PRESET["maf"].title


def at(app: App, title: str, fragment: str) -> None:
    """Wait until this tab is open, and the address says so."""
    expect(app.page.get_by_role("tab", selected=True)).to_have_text(title)
    expect(app.page).to_have_url(f"{app.address}/{fragment}")


def test_back_forward_and_reload_keep_the_tab(app: App) -> None:
    at(app, "Predict", "")
    app.tab("Walk")
    at(app, "Walk", "#walk")
    app.page.get_by_role("tab", name="Walk").focus()
    app.page.keyboard.press("End")
    at(app, "Lab", "#lab")
    for move, title, fragment in (
        (app.page.go_back, "Walk", "#walk"),
        (app.page.go_back, "Predict", ""),
        (app.page.go_forward, "Walk", "#walk"),
        (app.page.reload, "Walk", "#walk"),
    ):
        move()
        at(app, title, fragment)
    app.page.locator("#vf-walk-run:visible").wait_for()


def test_a_link_opens_its_tab(app: App) -> None:
    app.page.goto("about:blank")
    app.page.goto(f"{app.address}/#compress")
    at(app, "Compress", "#compress")
    app.page.locator("#vf-compress-run:visible").wait_for()
    app.page.goto(f"{app.address}/#digits")
    at(app, "Digits", "#digits")
    app.page.goto(f"{app.address}/#nothing")
    at(app, "Digits", "#nothing")
    app.page.go_back()
    at(app, "Digits", "#digits")


def test_a_link_names_a_tab_and_what_the_lab_learns(app: App) -> None:
    app.page.goto(f"{app.address}/?tab=lab&system=maf&density=rings")
    expect(app.page.get_by_role("tab", selected=True)).to_have_text("Lab")
    expect(app.page.locator("[aria-label=Density]:visible")).to_have_value("Rings")
    expect(app.page.locator("[aria-label=Flow]:visible")).to_have_value(MAF)
    app.page.get_by_role("tab", name="Walk").click()
    expect(app.page.get_by_role("tab", selected=True)).to_have_text("Walk")
    app.page.go_back()
    expect(app.page.get_by_role("tab", selected=True)).to_have_text("Lab")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"system": "sphere"}, ("sphere", "sphere")),
        ({"system": "made"}, ("two-moons", "made")),
        ({"system": "sphere", "density": "rings"}, ("sphere", "sphere")),
        ({"density": "torus"}, ("torus", "circular-spline")),
        ({"density": "u1"}, ("u1", "planar-energy")),
        ({"density": "file", "system": "<b>"}, ("two-moons", "spline")),
    ],
)
def test_an_address_names_a_density_a_system_or_both(query: dict[str, str], found: tuple[str, str]) -> None:
    assert asked_for(query, "two-moons") == found


def test_help_for_programmers_leaves_the_tab_in_the_address(app: App) -> None:
    app.tab("Lab")
    app.page.get_by_role("button", name=HELP).click()
    app.page.get_by_text("/predict_future").first.wait_for()
    expect(app.page).to_have_url(f"{app.address}/?view=api#lab")
    app.errors.clear()  # of pages that are off, as in test_access.py
