"""Predict: frames in, many futures out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
import numpy as np

from ..shared import examples
from ..shared.context import AppContext, Tab, counted, sentences
from ..shared.events import (
    ON_CLICK,
    QUICK,
    Buttons,
    ComponentGroup,
    Downloads,
    ShouldStop,
    StatusBar,
    Steps,
    Trigger,
    Updates,
    View,
    html_block,
    wire_clear,
    wire_jobs,
)
from ..shared.fit import fit_line, wire_fit
from ..shared.forms import (
    SLIDER_WITH_LEVELS,
    Seed,
    clip_upload,
    level_temperatures,
    levels_box,
    no_model_banner,
    paths_of,
    slider_temperature,
    suggested_temperature,
    temperature_slider,
)
from ..shared.html import ExampleTile, example_strip, progress
from ..shared.opening import PREDICT, opening
from . import html
from .job import FAMILY, MAX_FRAMES, MAX_FUTURES, Job, Request, Result, mean_frames

PROGRESS = "Frames predicted"
LAST, FIRST = "The last frames", "The first frames"


@dataclass(frozen=True)
class Form(ComponentGroup):
    """Inputs of the tab."""

    files: gr.File
    start: gr.Radio
    checkpoint: gr.Dropdown
    num_samples: gr.Slider
    num_frames: gr.Slider
    temperature: gr.Slider
    levels: gr.Textbox
    seed: Seed
    fps: gr.Slider


@dataclass(frozen=True)
class PredictView(View):
    """Outputs of the tab, and the result on the page."""

    result: gr.State


def build(app: AppContext) -> None:
    """Lay out the tab and wire it."""
    no_model_banner(app, FAMILY)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="vf-inputs"):
            files = clip_upload("predict")
            line = fit_line("predict")
            strip = _example_strip(app)
            form, buttons = _settings(app, files)
        with gr.Column(scale=9, min_width=300, elem_classes="vf-outputs"):
            bar = StatusBar.below(buttons, "predict")
            results = html_block(opening(app, PREDICT), "vf-results", js_on_load=ON_CLICK)
            downloads = Downloads.below("Frames (npz)", "Previews (zip)", "Settings (json)")
            view = PredictView(bar, results, downloads, gr.State(None))
    wire_fit(app, line, files, form.checkpoint, FAMILY)
    _wire_jobs(app, form, view, strip)


def _example_strip(app: AppContext) -> gr.HTML:
    clips = examples.clips_for(app.models.names(FAMILY))
    tiles = [ExampleTile(clip.title, [clip.last_frame()]) for clip in clips]
    strip = example_strip("Or predict from an example", "Predict from example", "vf-try", tiles)
    return html_block(strip, js_on_load=ON_CLICK)


def _settings(app: AppContext, files: gr.File) -> tuple[Form, Buttons]:
    first = app.models.default(FAMILY)
    with gr.Group(elem_classes="vf-card"):
        start = gr.Radio(
            [LAST, FIRST], value=LAST, label="Predict from",
            info="From the first: shows what really happened beside the futures.",
        )  # fmt: skip
        checkpoint = gr.Dropdown(
            app.models.names(FAMILY), value=first, label="Checkpoint", info=app.video_summary(first),
            interactive=True,
        )  # fmt: skip
        with gr.Row():
            num_samples = gr.Slider(1, MAX_FUTURES, 8, step=1, label="Futures", min_width=130)
            num_frames = gr.Slider(1, MAX_FRAMES, 8, step=1, label="Frames", min_width=130)
        temperature = temperature_slider(app, first, SLIDER_WITH_LEVELS)
        seed = Seed.row()
    buttons = Buttons.row("Predict", "predict", ready=first is not None)
    with gr.Accordion("Advanced", open=False):
        levels = levels_box(app, first, temperature, "the frame predictor, if the model has one")
        fps = gr.Slider(1, 30, app.preview_fps(first), step=1, label="Preview frames per second")

    def on_checkpoint(name: str | None, typed: str) -> tuple[Any, float, float, Any]:
        summary = gr.update(info=app.video_summary(name))
        return summary, app.preview_fps(name), *suggested_temperature(app, name, typed)

    checkpoint.change(on_checkpoint, [checkpoint, levels], [checkpoint, fps, temperature, levels], **QUICK)
    return Form(files, start, checkpoint, num_samples, num_frames, temperature, levels, seed, fps), buttons


def _wire_jobs(app: AppContext, form: Form, view: PredictView, strip: gr.HTML) -> None:
    """Three triggers of a job: Predict, an example, Continue."""

    def predict(values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        files = paths_of(values[form.files])
        steps = _steps(app, form, view, values, files, should_stop)
        yield from view.bar.with_errors(app, files, steps, view.nothing(html.empty()))

    def continue_from(values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        steps = continued(values, int(event.index), should_stop)
        yield from view.bar.with_errors(app, (), steps, view.nothing(html.empty()))

    def continued(values: Updates, index: int, should_stop: ShouldStop) -> Steps:
        result: Result = values[view.result]
        same_model = {**values, form.checkpoint: result.checkpoint}
        yield from _steps(app, form, view, same_model, result.future(index), should_stop)

    def load_example(values: Updates, event: gr.EventData) -> Updates:
        return _example(app, form, int(event.index))

    triggers = [
        Trigger(view.bar.buttons.run.click, predict),
        Trigger(strip.select, predict, load_example),
        Trigger(view.results.select, continue_from),
    ]
    inputs = [*form.components(), view.result]
    jobs = wire_jobs(app, "predict", view.bar, triggers, inputs, [*view.components(), *form.components()])
    wire_clear(form.files, view, jobs, html.empty())


def _example(app: AppContext, form: Form, index: int) -> Updates:
    """The form filled in from an example; a checkpoint that is not there leaves the chosen one."""
    names = app.models.names(FAMILY)
    clip = examples.clips_for(names)[index]
    updates = {
        form.files: [examples.copy_to_cache(path, app.cache) for path in clip.files],
        form.num_frames: clip.num_frames,
        form.start: FIRST if clip.from_start else LAST,
    }
    if clip.checkpoint not in names:
        return updates
    return {
        **updates,
        form.checkpoint: clip.checkpoint,
        form.temperature: slider_temperature(app, clip.checkpoint),
        form.levels: level_temperatures(app, clip.checkpoint),
    }


def _steps(
    app: AppContext,
    form: Form,
    view: PredictView,
    values: Updates,
    source: Sequence[str] | np.ndarray,
    should_stop: ShouldStop,
) -> Steps:
    """One prediction on the page: yields updates after every frame."""
    status, buttons = view.bar.status, view.bar.buttons
    request = Request.checked(
        values[form.checkpoint],
        source,
        num_samples=values[form.num_samples],
        num_frames=values[form.num_frames],
        temperature=values[form.temperature],
        level_temperatures=values[form.levels],
        seed=form.seed.draw(values),
        preview_fps=values[form.fps],
    )
    request = replace(request, from_start=values[form.start] == FIRST and not isinstance(source, np.ndarray))
    total = request.settings.num_frames
    reading = progress(0, total, "Reading the frames…", PROGRESS)
    yield {status: reading, form.seed.value: request.settings.seed, **buttons.working()}
    job = Job.begin(app, request)
    clock = app.jobs.clock(str(request.checkpoint), request.work)
    yield _frame_done(view, job, clock.remaining(total))
    for _ in job.advance(should_stop):
        clock.frame_done()
        yield _frame_done(view, job, clock.remaining(total - job.done))
    if job.done == 0:
        yield {**view.nothing(html.empty()), **view.bar.stopped("Stopped before the first frame.")}
        return
    seconds = clock.elapsed()
    yield {status: progress(job.done, total, "Writing previews…", PROGRESS), **buttons.finishing()}
    result = job.save(app)
    last = [*job.futures[:, -1], mean_frames(job.futures)[-1]]
    yield {
        view.results: html.player(result, last),
        view.result: result,
        **view.downloads.show(result.native, result.archive, result.settings),
        **view.bar.done(_summary(job, seconds), _remarks(job, result)),
    }


def _frame_done(view: PredictView, job: Job, remaining: float | None) -> Updates:
    total = job.request.settings.num_frames
    rest = "" if remaining is None else f" · about {_duration(remaining)} left"
    text = f"Frame {min(job.done + 1, total)} of {total}{rest}"
    return {
        view.bar.status: progress(job.done, total, text, PROGRESS),
        view.results: html.partial_grid(job.prepared.context, job.futures, total),
    }


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"


def _summary(job: Job, seconds: float) -> str:
    settings, done = job.request.settings, job.done
    futures = counted(settings.num_samples, "future")
    if done < settings.num_frames:
        size = f"Stopped after frame {done} of {settings.num_frames}: {futures}"
    else:
        size = f"{futures} × {counted(done, 'frame')}"
    return f"{size} in {seconds:.1f} s, seed {settings.seed}"


def _remarks(job: Job, result: Result) -> list[str]:
    remarks = sentences(job.prepared.notes)
    if result.comparison:
        closest, psnr = result.comparison.closest + 1, result.comparison.psnr
        compared = counted(result.comparison.frames, "frame")
        remarks.insert(
            0, f"Closest to what really happened: future {closest}, PSNR {psnr:.1f} dB over {compared}."
        )
    elif job.request.from_start:
        remarks.insert(0, "The clip ends with the frames given, so nothing is known of what really happened.")
    if job.prepared.far_outside:
        remarks.insert(0, "These frames are unlike what this model was trained on; expect poor futures.")
    if job.redrawn:
        remarks.append(f"{counted(job.redrawn, 'frame')} drawn again because of values that were not finite.")
    return remarks


TAB = Tab("Predict", "predict", build)
