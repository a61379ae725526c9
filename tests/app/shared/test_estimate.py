"""The line on the time of a run: for longer ones alone, and in words."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest

from apps.ui.shared.context import AppContext
from apps.ui.shared.estimate import Estimate
from apps.ui.shared.jobs import Jobs
from apps.ui.shared.models import ModelStore
from apps.ui.shared.storage import RunStore


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (2.0, ""), (40.0, "about 40 s."), (64.4, "about 64 s."), (200.0, "about 3 min.")],
)
def test_only_longer_runs_say_how_long(tmp_path: Path, seconds: float | None, text: str) -> None:
    app = AppContext(ModelStore(), RunStore(tmp_path), Jobs(), tmp_path)
    with gr.Blocks():
        field = gr.Number()
        estimate = Estimate(app, "any", [field], lambda value: seconds if value == 7 else None)
    (said,) = estimate.after({field: 7}).values()
    assert (text in said and "This will take" in said) if text else said == ""
    assert estimate.text(8) == ""
