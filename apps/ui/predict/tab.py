"""Predict: frames in, many futures out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from vflow.config.settings import Shown
from vflow.data import media
from vflow.data.motion import liveliest
from vflow.errors import InputError, VflowError
from vflow.registry import families

from ..shared import checks, examples
from ..shared.context import AppContext
from ..shared.events import QUICK, Updates
from ..shared.faces import Face
from ..shared.forms import Upload
from ..shared.task_tab import TaskForm, task_tab
from ..teach import section as teach
from . import job, rain

GOES_ON = 5
"""Frames after the given ones from which on a clip begins where most moves."""
LAST, FIRST, HERE = "The last frames", "The first frames", "A frame of your choice"
FACE = job.PredictFace(families()["videoflow"], (rain.NowcastFace(families()["nowcast"]),))


class PredictForm(TaskForm):
    """Inputs of the tab, among them the frame from which on a clip is given."""

    continues = True

    def __init__(self, app: AppContext, face: Face, upload: Upload | None) -> None:
        with gr.Group(elem_classes="vf-card"):
            self.start = gr.Radio(
                [LAST, FIRST, HERE], value=LAST, label="Predict from",
                info="If the clip goes on after them, what really happened is shown beside the futures.",
            )  # fmt: skip
            self.place = gr.Slider(0, 1, 0, step=1, label="First frame that is given", visible=False)
        super().__init__(app, face, upload)
        assert upload
        wire_scrubber(app, upload, self.start, self.place, self.checkpoint)

    def further(self) -> None:
        fps = self.app.preview_fps(self.checkpoint.value)
        self.parts["fps"] = gr.Slider(1, 30, fps, step=1, label="Preview frames per second")

    def advanced(self) -> None:
        super().advanced()
        if self.app.teach:
            teach.build(self.app, self.checkpoint, *self.face.families)

    def components(self) -> list[Any]:
        return [*super().components(), self.start, self.place]

    def suited(self, checkpoint: str | None) -> Updates:
        own, changes = self.face.of(self.app, checkpoint), super().suited(checkpoint)
        for name in ("num_samples", "num_frames"):
            field = own.kind.model_fields[name]
            value = {} if own is self.face else {"value": field.default}
            changes[self.parts[name]] = gr.update(label=Shown.of(field).label, **value)
        changes[self.parts["fps"]] = self.app.preview_fps(checkpoint)
        return changes

    def given(self, values: Updates) -> dict[str, Any]:
        first = {FIRST: {"context_at": "start"}, HERE: {"start": values[self.place]}}
        return super().given(values) | first.get(values[self.start], {})

    def example(self, values: Updates, index: int) -> Updates:
        """The form filled in from an example, whatever it held before.

        Its checkpoint is chosen, or if that is not there, the one before stays so.
        """
        names = self.app.models.names(*self.face.families)
        clip = examples.clips_for(names)[index]
        checkpoint = clip.checkpoint if clip.checkpoint in names else values[self.checkpoint]
        usual = self.face.of(self.app, checkpoint).kind.model_fields["num_samples"].default
        return {
            **self.usual(checkpoint),
            self.files: [examples.copy_to_cache(path, self.app.cache) for path in clip.files],
            self.parts["num_samples"]: clip.num_samples or usual,
            self.parts["num_frames"]: clip.num_frames,
            self.start: FIRST if clip.from_start else LAST,
            self.parts["fps"]: self.app.preview_fps(checkpoint),
            self.checkpoint: checkpoint,
        }

    def continued(self, values: Updates, result: Any, index: int) -> Updates:
        known = {**values, self.files: [str(result.continuation(index))], self.start: LAST}
        if result.checkpoint == values[self.checkpoint]:
            return known
        # The form's temperatures are another model's.
        return {**known, **super().suited(result.checkpoint), self.checkpoint: result.checkpoint}


def wire_scrubber(
    app: AppContext, upload: Upload, start: gr.Radio, place: gr.Slider, checkpoint: gr.Dropdown
) -> None:
    """Let a clip that goes on begin where most moves; the slider shows while its choice is chosen."""

    def arrived(paths: list[str] | None, name: str | None, chosen: str) -> tuple[Any, Any]:
        config = app.video_config(name)
        if config is None or not paths:
            return (LAST if chosen == HERE else gr.skip()), gr.update(visible=False)
        try:
            size = (config.glow.height, config.glow.width)
            clip = media.read_clip(paths[0], size=size) if len(paths) == 1 else media.read_frames(paths)
            frames = media.fit(clip, height=size[0], width=size[1], channels=3, fps=config.fps)
        except VflowError:  # the job says what is wrong
            return gr.skip(), gr.update(visible=False)
        if len(frames) < config.context + GOES_ON:
            return (LAST if chosen == HERE else gr.skip()), gr.update(visible=False)
        best = liveliest(frames, config.context, GOES_ON)
        last = len(frames) - config.min_context
        slider = gr.update(maximum=last, value=best, visible=chosen != FIRST)
        return (gr.skip() if chosen == FIRST else HERE), slider

    def chosen(value: str) -> Any:
        return gr.update(visible=value == HERE)

    inputs = [upload.box, checkpoint, start]
    upload.box.change(app.turns.glance(arrived), inputs, [start, place], **QUICK)
    start.input(chosen, start, place, **QUICK)


def expected_seconds(
    app: AppContext,
    name: str | None,
    paths: Sequence[str] | None,
    num_samples: Any,
    num_frames: Any,
    **_: Any,
) -> float | None:
    """Time that a prediction will take; None where nothing is known, or the form cannot be used.

    Of rain it depends on the size of the radar's picture, and is known after a first forecast.
    """
    own, given = FACE.of(app, name), {"num_samples": num_samples, "num_frames": num_frames}
    try:
        samples, frames = (checks.setting(each, own.kind.model_fields[each], given) for each in given)
    except InputError:
        return None
    if own is FACE:
        return app.jobs.expected(str(name), job.expected_work(samples, frames))
    work = rain.expected_work(samples, frames, paths or ())
    return None if work is None else app.jobs.expected(str(name), work)


TAB = task_tab("Predict", "predict", FACE, expected_seconds, PredictForm)
