"""The line on the time of a run: for longer ones alone, and in words."""

from __future__ import annotations

import gradio as gr
import pytest

from apps.ui.shared.estimate import Estimate


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (2.0, ""), (40.0, "about 40 s."), (64.4, "about 64 s."), (200.0, "about 3 min.")],
)
def test_only_longer_runs_say_how_long(seconds: float | None, text: str) -> None:
    with gr.Blocks():
        field = gr.Number()
        estimate = Estimate("any", [field], lambda value: seconds if value == 7 else None)
    (said,) = estimate.after({field: 7}).values()
    assert (text in said and "This will take" in said) if text else said == ""
    assert estimate.text(8) == ""
