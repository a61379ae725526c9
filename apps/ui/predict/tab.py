"""Predict: frames in, many futures out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gradio as gr

from vflow.data import media
from vflow.data.motion import liveliest
from vflow.errors import InputError, VflowError

from ..shared import examples
from ..shared.checks import whole_number
from ..shared.context import AppContext, Tab, to_gradio_error
from ..shared.estimate import Estimate, TimedView
from ..shared.events import (
    FOLLOW_LINK,
    ON_CLICK,
    ON_PAYLOAD,
    QUICK,
    Buttons,
    ComponentGroup,
    Downloads,
    NewestPayload,
    ShouldStop,
    StatusBar,
    Steps,
    Trigger,
    Updates,
    html_block,
    run_place,
    wire_clear,
    wire_jobs,
)
from ..shared.fit import fit_line, wire_fit
from ..shared.forms import (
    AUGMENTED_LAST,
    SLIDER_WITH_LEVELS,
    ClipUpload,
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
from ..shared.html import ExampleTile, download_link, duration, example_strip, progress
from ..shared.jobs import Clock
from ..shared.opening import PREDICT, opening
from ..shared.turns import Turn
from ..teach import section as teach
from . import html, rain, rain_html
from .job import MAX_FRAMES, MAX_FUTURES, Request, Result, Source, expected_work
from .kinds import FAMILIES, Kind, default_size, kind_of
from .rain import RainResult

PROGRESS = "Progress of the prediction"
GOES_ON = 5
"""Frames after the given ones from which on a clip begins where most moves."""
LAST, FIRST, HERE = "The last frames", "The first frames", "A frame of your choice"


@dataclass(frozen=True)
class Form(ComponentGroup):
    """Inputs of the tab."""

    upload: ClipUpload
    start: gr.Radio
    place: gr.Slider
    checkpoint: gr.Dropdown
    num_samples: gr.Slider
    num_frames: gr.Slider
    temperature: gr.Slider
    levels: gr.Textbox
    seed: Seed
    fps: gr.Slider


@dataclass(frozen=True)
class PredictView(TimedView):
    """Outputs of the tab, and the result on the page."""

    result: gr.State
    answer: gr.HTML

    def nothing(self, placeholder: str) -> Updates:
        return {**super().nothing(placeholder), self.answer: ""}


def build(app: AppContext) -> None:
    """Lay out the tab and wire it."""
    no_model_banner(app, *FAMILIES)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="vf-inputs"):
            upload = clip_upload(app, "predict")
            line = fit_line("predict")
            strip = _example_strip(app)
            form, buttons, estimate = _settings(app, upload)
            if app.teach:
                teach.build(app, form.checkpoint)
        with gr.Column(scale=9, min_width=300, elem_classes="vf-outputs"):
            bar = StatusBar.below(buttons, "predict")
            answer = html_block("", "vf-area-answer")
            results = html_block(opening(app, PREDICT), "vf-results", js_on_load=ON_CLICK + ON_PAYLOAD)
            downloads = Downloads.below("Frames (npz)", "Previews (zip)", "Settings (json)")
            view = PredictView(bar, results, downloads, estimate, gr.State(None), answer)
    wire_fit(app, line, upload.box, form.checkpoint, *FAMILIES)
    _wire_jobs(app, form, view, strip)


def _example_strip(app: AppContext) -> gr.HTML:
    clips = examples.clips_for(app.models.names(*FAMILIES))
    tiles = [ExampleTile(clip.title, [clip.last_frame()]) for clip in clips]
    strip = example_strip("Or predict from an example", "Predict from example", "vf-try", tiles)
    return html_block(strip, js_on_load=ON_CLICK)


def _settings(app: AppContext, upload: ClipUpload) -> tuple[Form, Buttons, Estimate]:
    first = app.models.default(*FAMILIES)
    place = run_place()
    with gr.Group(elem_classes="vf-card"):
        start = gr.Radio(
            [LAST, FIRST, HERE], value=LAST, label="Predict from",
            info="Where the clip goes on, what really happened is shown beside the futures.",
        )  # fmt: skip
        scrubber = gr.Slider(0, 1, 0, step=1, label="First frame that is given", visible=False)
        checkpoint = gr.Dropdown(
            app.models.names(*FAMILIES), value=first, label="Checkpoint", info=app.video_summary(first),
            interactive=True,
        )  # fmt: skip
        samples, frames = default_size(app, first)
        with gr.Row():
            num_samples = gr.Slider(
                1, MAX_FUTURES, samples, step=1, label=_samples_label(app, first), min_width=130
            )
            num_frames = gr.Slider(1, MAX_FRAMES, frames, step=1, label="Frames", min_width=130)
        temperature = temperature_slider(app, first, SLIDER_WITH_LEVELS.format(place="under Advanced"))
        seed = Seed.row()
    with place:
        buttons = Buttons.row("Predict", "predict", ready=first is not None)
        decides = [checkpoint, num_samples, num_frames, upload.box]
        estimate = Estimate(app, "predict", decides, partial(expected_seconds, app))
    with gr.Accordion("Advanced", open=False):
        levels = levels_box(app, first, temperature, AUGMENTED_LAST)
        fps = gr.Slider(1, 30, app.preview_fps(first), step=1, label="Preview frames per second")

    def on_checkpoint(name: str | None, typed: str) -> tuple[Any, ...]:
        summary = gr.update(info=app.video_summary(name))
        changes: dict[str, Any] = {"label": _samples_label(app, name)}
        frames: Any = gr.skip()
        if app.rain_config(name):
            changes["value"], frames = default_size(app, name)
        size = gr.update(**changes), frames
        return summary, app.preview_fps(name), *suggested_temperature(app, name, typed), *size

    outputs = [checkpoint, fps, temperature, levels, num_samples, num_frames]
    checkpoint.change(on_checkpoint, [checkpoint, levels], outputs, **QUICK)
    wire_scrubber(app, upload, start, scrubber, checkpoint)
    form = Form(upload, start, scrubber, checkpoint, num_samples, num_frames, temperature, levels, seed, fps)
    return form, buttons, estimate


def wire_scrubber(
    app: AppContext, upload: ClipUpload, start: gr.Radio, place: gr.Slider, checkpoint: gr.Dropdown
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
        slider = gr.update(maximum=len(frames) - config.min_context, value=best, visible=True)
        return (gr.skip() if chosen == FIRST else HERE), slider

    def chosen(value: str) -> Any:
        return gr.update(visible=value == HERE)

    inputs = [upload.box, checkpoint, start]
    upload.box.change(app.turns.glance(arrived), inputs, [start, place], **QUICK)
    start.input(chosen, start, place, **QUICK)


def _begin(choice: str, place: Any) -> int | None:
    """First frame that is given; None: the last ones are."""
    if choice != HERE:
        return 0 if choice == FIRST else None
    return whole_number("first frame", place, 0, 10**6)


def _samples_label(app: AppContext, checkpoint: str | None) -> str:
    return "Members" if app.rain_config(checkpoint) else "Futures"


def expected_seconds(
    app: AppContext, name: str | None, num_samples: Any, num_frames: Any, paths: Sequence[str] | None = None
) -> float | None:
    """Time that a prediction will take; None where nothing is known, or the form cannot be used.

    Of rain it depends on the size of the radar's picture, and is known after a first forecast.
    """
    try:
        samples = whole_number("futures", num_samples, 1, MAX_FUTURES)
        frames = whole_number("frames", num_frames, 1, MAX_FRAMES)
    except InputError:
        return None
    rainy = app.rain_config(name) is not None
    work = rain.expected_work(samples, frames, paths or ()) if rainy else expected_work(samples, frames)
    return None if work is None else app.jobs.expected(str(name), work)


def _wire_jobs(app: AppContext, form: Form, view: PredictView, strip: gr.HTML) -> None:
    """Three triggers of a job: Predict, an example, Continue."""

    def predict(values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        files = paths_of(values[form.upload.box])
        steps = _steps(app, form, view, values, files, should_stop)
        yield from view.bar.with_errors(app, files, steps, view.nothing(html.empty()))

    def continue_from(values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        steps = continued(values, int(event.index), should_stop)
        yield from view.bar.with_errors(app, (), steps, view.nothing(html.empty()))

    def continued(values: Updates, index: int, should_stop: ShouldStop) -> Steps:
        result: Result | RainResult = values[view.result]
        if result.checkpoint != values[form.checkpoint]:  # the form's temperatures are another model's
            values = {**values, **_chosen(app, form, result.checkpoint)}
        yield from _steps(app, form, view, values, result.future(index), should_stop)

    def ask(values: Updates, event: gr.EventData) -> Any:
        newest: NewestPayload = values[asked]
        if not newest.take(event):
            return gr.skip()
        answer = answered(values[view.result], event)
        return answer if newest.time == event.time else gr.skip()

    def answered(result: Result | RainResult | None, event: gr.EventData) -> str:
        if not isinstance(result, RainResult):
            return ""
        try:
            found = rain.ask(result, event.left, event.top, event.width, event.height)
        except VflowError as error:
            return rain_html.failed(app.error_message(error))
        return rain_html.answer(found, result.minutes)

    def load_example(values: Updates, event: gr.EventData) -> Updates:
        return _example(app, form, values[form.checkpoint], int(event.index))

    triggers = [
        Trigger(view.bar.buttons.run.click, predict, form.upload.arrange),
        Trigger(strip.select, predict, load_example),
        Trigger(view.results.select, continue_from),
    ]
    inputs = [*form.components(), view.result]
    jobs = wire_jobs(app, "predict", view.bar, triggers, inputs, [*view.components(), *form.components()])
    asked, saved = gr.State(NewestPayload()), html_block("", "vf-predict-saved", js_on_load=FOLLOW_LINK)
    view.results.submit(_gif, view.result, saved, **QUICK)
    view.results.input(ask, {view.result, asked}, view.answer, trigger_mode="multiple", **QUICK)
    wire_clear(form.upload.box, view, jobs, html.empty())


def _gif(result: Result | None, event: gr.EventData) -> str:
    """Link to a future as a GIF, which is made now."""
    if not isinstance(result, Result):
        return ""
    try:
        index = whole_number("future", event.index, 0, MAX_FUTURES - 1)
        path = result.folder / f"future_{index + 1:02d}.gif"
        media.write_video(path, result.future(index), result.fps)
    except VflowError as error:
        raise to_gradio_error(str(error)) from None
    return download_link(path)


def _example(app: AppContext, form: Form, checkpoint: str | None, index: int) -> Updates:
    """The form filled in from an example, whatever it held before.

    Its checkpoint is chosen, or if that is not there, ``checkpoint`` stays so.
    """
    names = app.models.names(*FAMILIES)
    clip = examples.clips_for(names)[index]
    if clip.checkpoint in names:
        checkpoint = clip.checkpoint
    return {
        form.upload.box: [examples.copy_to_cache(path, app.cache) for path in clip.files],
        form.num_samples: clip.num_samples or default_size(app, checkpoint)[0],
        form.num_frames: clip.num_frames,
        form.start: FIRST if clip.from_start else LAST,
        form.fps: app.preview_fps(checkpoint),
        **_chosen(app, form, checkpoint),
    }


def _chosen(app: AppContext, form: Form, checkpoint: str | None) -> Updates:
    """The form with a checkpoint and the temperatures that it suggests."""
    return {
        form.checkpoint: checkpoint,
        form.temperature: slider_temperature(app, checkpoint),
        form.levels: level_temperatures(app, checkpoint),
    }


def _steps(
    app: AppContext,
    form: Form,
    view: PredictView,
    values: Updates,
    source: Source,
    should_stop: ShouldStop,
) -> Steps:
    """One prediction on the page: yields updates after every step."""
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
    if isinstance(source, Sequence):
        request = replace(request, start=_begin(values[form.start], values[form.place]))
    yield Turn.READ if isinstance(source, Sequence) else Turn.COMPUTE
    yield {
        status: progress(0, 1, "Reading the frames…", PROGRESS),
        form.seed.value: request.settings.seed,
        view.answer: "",
        **buttons.working(),
    }
    kind = kind_of(app, request.checkpoint)
    job = kind.begin(app, request)
    yield Turn.COMPUTE
    clock = app.jobs.clock(str(request.checkpoint), job.work)
    yield _step_done(view, kind, job, clock)
    for _ in job.advance(should_stop):
        clock.frame_done()
        yield _step_done(view, kind, job, clock)
    if job.done == 0:
        yield {**view.nothing(html.empty()), **view.bar.stopped(f"Stopped before the first {kind.unit}.")}
        return
    seconds = clock.elapsed()
    yield {status: progress(job.done, job.total, "Writing previews…", PROGRESS), **buttons.finishing()}
    result = job.save(app)
    yield {
        view.results: kind.player(job, result),
        view.result: result,
        **view.estimate.after(values),
        **view.downloads.show(result.native, result.archive, result.settings),
        **view.bar.done(kind.summary(job, seconds), kind.remarks(job, result)),
    }


def _step_done(view: PredictView, kind: Kind, job: Any, clock: Clock) -> Updates:
    remaining = clock.remaining(job.steps_left)
    rest = f" · about {duration(remaining)} left" if remaining else ""
    text = f"{kind.unit.capitalize()} {min(job.done + 1, job.total)} of {job.total}{rest}"
    return {view.bar.status: progress(job.done, job.total, text, PROGRESS), view.results: kind.live(job)}


TAB = Tab("Predict", "predict", build)
