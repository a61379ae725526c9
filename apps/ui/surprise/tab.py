"""Surprise: a clip in, and out come the frames and pixels that the model did not expect."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..shared.context import AppContext
from ..shared.events import Updates
from ..shared.faces import Face
from ..shared.forms import Upload
from ..shared.task_tab import TaskForm, task_tab
from . import examples
from .job import FACE, MAX_FRAMES, expected_seconds


class SurpriseForm(TaskForm):
    """Inputs of the tab, among them the limit as a percentile."""

    def __init__(self, app: AppContext, face: Face, upload: Upload | None) -> None:
        super().__init__(app, face, upload)
        with self.card:
            self.percentile = gr.Slider(
                50, 99.9, 99, step=0.1, label="Limit in % (percentile)",
                info="Flags frames that surprise the model more than this share of ordinary (validation) "
                "frames.",
            )  # fmt: skip

    def components(self) -> list[Any]:
        return [*super().components(), self.percentile]

    def given(self, values: Updates) -> dict[str, Any]:
        limit = values[self.percentile] / 100
        return super().given(values) | {"quantile": limit, "num_frames": MAX_FRAMES}

    def example(self, values: Updates, index: int) -> Updates:
        """The form with an example, whose checkpoint is chosen if it is there."""
        names = self.app.models.names(*self.face.families)
        example = examples.examples_for(names)[index]
        chosen = {self.checkpoint: example.checkpoint} if example.checkpoint in names else {}
        return {self.files: example.save(self.app), **chosen}


TAB = task_tab("Surprise", "surprise", FACE, expected_seconds, SurpriseForm)
