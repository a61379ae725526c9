"""Uploads that a button hands on to another tab, which opens with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from .context import AppContext
from .events import QUICK, Updates, unless_empty

WHEN_OPEN = "async (files) => { await window.vfTabOpened(); return [files]; }"


@dataclass(frozen=True)
class Taker:
    """The upload box of a tab, and what answers an upload there, where the box tells of no change."""

    box: gr.File
    answer: Callable[[Any, gr.Request], Updates] | None = None
    outputs: Sequence[Any] = ()

    def taken(self, path: str, request: gr.Request) -> Updates:
        """The tab with this file in its box."""
        value = [path] if self.box.file_count == "multiple" else path
        return {self.box: value, **(self.answer(value, request) if self.answer else {})}


def wire_handing(app: AppContext) -> None:
    """Wire the buttons ``html.way_to`` of ``app.givers`` to ``app.takers``, once all tabs are there.

    Only a file of an upload box is handed on, which the page has looked at as at all files that it is sent.
    """
    takers: dict[str, Taker] = app.takers
    outputs = list(dict.fromkeys(part for each in takers.values() for part in (each.box, *each.outputs)))

    def hand_on(files: Any, request: gr.Request, event: gr.EventData) -> Updates:
        taker, listed = takers.get(str(event.action)), files if isinstance(files, list) else [files]
        return unless_empty(taker.taken(str(listed[0]), request) if taker and files else {}, outputs[0])

    for panel, box in app.givers:
        panel.input(app.turns.glance(hand_on), box, outputs, js=WHEN_OPEN, **QUICK)
