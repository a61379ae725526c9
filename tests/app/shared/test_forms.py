"""Names of uploads in order, temperatures that a checkpoint suggests, and HTML that names cannot break."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.ui.shared import forms, html
from apps.ui.shared.context import AppContext
from apps.ui.shared.models import ModelStore
from apps.ui.shared.theme import head, theme
from tests.app.conftest import save_untrained, tiny
from tests.app.support import color_contrast


def test_files_come_in_natural_order() -> None:
    assert forms.by_name(["/b/f10.png", "/a/f2.png", "/c/F1.png"]) == ["/c/F1.png", "/a/f2.png", "/b/f10.png"]
    assert forms.by_name(None) == []


def test_files_are_in_the_order_of_names_until_a_person_moves_one() -> None:
    order = forms.FileOrder()
    assert order.of(["/f10", "/f9", "/f1"]) == ["/f1", "/f9", "/f10"], "a click before the list was answered"
    assert order.see(["/f10", "/f9", "/f1"]) == ["/f1", "/f9", "/f10"]
    assert order.of(["/f10", "/f9", "/f1"]) == ["/f1", "/f9", "/f10"], "the browser has not sorted them yet"
    assert order.see(["/f1", "/f9", "/f10"]) == ["/f1", "/f9", "/f10"]
    assert order.of(["/f9", "/f1", "/f10"]) == ["/f9", "/f1", "/f10"], "moved, and clicked before the answer"
    assert order.see(["/f9", "/f1", "/f10"]) == ["/f9", "/f1", "/f10"]
    assert order.see(["/f9", "/f10"]) == ["/f9", "/f10"], "removing one leaves the others where they are"
    assert order.see(["/f9", "/f10", "/f2"]) == ["/f2", "/f9", "/f10"]
    assert order.see(None) == [] and order.see(["/f10", "/f9"]) == ["/f9", "/f10"]


def test_a_checkpoint_suggests_one_temperature_or_several(tmp_path: Path) -> None:
    save_untrained(tmp_path / "one", tiny(temperature=0.7))
    save_untrained(tmp_path / "several", tiny(temperature=(0.0, 0.5)))
    app = AppContext(ModelStore([tmp_path]), None, None, tmp_path)  # type: ignore[arg-type]
    names = ("one", "several", None)
    assert [forms.slider_temperature(app, name) for name in names] == [0.7, 0.5, 1.0]
    assert [forms.level_temperatures(app, name) for name in names] == ["", "0, 0.5", ""]


def test_html_is_escaped() -> None:
    nasty = '<img src=x onerror="alert(1)">'
    for text in (
        html.message(nasty, notes=[nasty]),
        html.progress(0, 1, nasty, "Frames"),
        html.example_strip(nasty, "Try", "id", [html.ExampleTile(nasty, [])]),
        forms.file_list([f"/tmp/{nasty}"]),
    ):
        assert "<img src=x" not in text


@pytest.mark.parametrize("scheme", ["", "_dark"])
def test_edges_of_fields_stand_out(scheme: str) -> None:
    """WCAG 1.4.11: 3:1 against what is around a field."""
    look = theme()

    def color(name: str) -> str:
        value = getattr(look, name)
        return color(value[1:]) if value.startswith("*") else {"white": "#ffffff"}.get(value, value)

    ground = color(f"block_background_fill{scheme}")
    for part in ("input_border_color", "checkbox_border_color", "slider_color"):
        assert color_contrast(color(f"{part}{scheme}"), ground) >= 3, part


def test_nothing_in_the_look_is_fetched() -> None:
    assert theme()._stylesheets == []
    assert "http" not in head()
