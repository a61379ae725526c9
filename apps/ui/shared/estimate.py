"""A line that says, before a longer run, about how long it will take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .context import AppContext
from .events import QUICK, ComponentGroup, Updates, View, html_block
from .html import duration, note

LONG = 5.0  # seconds: a run that takes longer says so before it begins


class Estimate(ComponentGroup):
    """The line of one tab, drawn anew whenever a part of the form that decides changes.

    Args:
        tab: identifier of the tab.
        parts: components whose values decide.
        seconds: values of ``parts`` → seconds of a run; None where nothing was measured yet.
    """

    def __init__(
        self, app: AppContext, tab: str, parts: Sequence[Any], seconds: Callable[..., float | None]
    ) -> None:
        self.line = html_block("", f"vf-{tab}-estimate")
        self._parts, self._seconds = list(parts), seconds
        for part in parts:
            part.change(
                app.turns.glance(self.text), self._parts, self.line, trigger_mode="always_last", **QUICK
            )

    def components(self) -> list[Any]:
        return [self.line]

    def text(self, *values: Any) -> str:
        """HTML of the line; empty for quick runs, and where nothing is known."""
        seconds = self._seconds(*values)
        return note(f"This will take about {duration(seconds)}.") if seconds and seconds >= LONG else ""

    def after(self, values: Updates) -> Updates:
        """The line after a run, which has shown how long such runs take."""
        return {self.line: self.text(*(values[part] for part in self._parts))}


@dataclass(frozen=True)
class TimedView(View):
    """Outputs of a tab whose runs may take long."""

    estimate: Estimate
