"""Surprise: a clip in, and out come the frames and pixels that the model did not expect."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import gradio as gr

from ..shared.context import AppContext, Tab, sentences
from ..shared.estimate import Estimate, TimedView
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
    html_block,
    run_place,
    wire_clear,
    wire_jobs,
)
from ..shared.fit import fit_line, wire_fit
from ..shared.forms import ClipUpload, clip_upload, no_model_banner, paths_of
from ..shared.handing import Taker
from ..shared.html import duration, progress
from ..shared.opening import SURPRISE, opening
from ..shared.turns import Turn
from . import examples, html
from .job import FAMILY, Job, Request, clock_name, expected_seconds, first_checkpoint

PROGRESS = "Frames scored"


@dataclass(frozen=True)
class Form(ComponentGroup):
    """Inputs of the tab."""

    upload: ClipUpload
    checkpoint: gr.Dropdown
    percentile: gr.Slider
    seed: gr.Number


def build(app: AppContext) -> None:
    """Lay out the tab and wire it."""
    no_model_banner(app, FAMILY)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="vf-inputs"):
            upload = clip_upload(app, "surprise")
            line = fit_line("surprise")
            strip = html_block(examples.strip(app.models.names(FAMILY)), js_on_load=ON_CLICK)
            place, form = run_place(), _settings(app, upload)
            with place:
                ready = form.checkpoint.value is not None
                buttons = Buttons.row("Find surprises", "surprise", ready=ready)
                decides = [form.checkpoint, upload.box]
                estimate = Estimate(app, "surprise", decides, partial(expected_seconds, app))
        with gr.Column(scale=9, min_width=300, elem_classes="vf-outputs"):
            bar = StatusBar.below(buttons, "surprise")
            results = html_block(opening(app, SURPRISE), "vf-surprise-results")
            downloads = Downloads.below("Maps (npz)", "Sheet (png)", "Video (mp4)", "Settings (json)")
            view = TimedView(bar, results, downloads, estimate)
    wire_fit(app, line, upload.box, form.checkpoint, FAMILY, scores=True)
    app.takers["surprise"] = Taker(upload.box)
    _wire_jobs(app, form, view, strip)


def _settings(app: AppContext, upload: ClipUpload) -> Form:
    first = first_checkpoint(app.models)
    with gr.Group(elem_classes="vf-card"):
        checkpoint = gr.Dropdown(
            app.models.names(FAMILY),
            value=first,
            label="Checkpoint",
            info=app.video_summary(first),
            interactive=True,
        )
        percentile = gr.Slider(
            50,
            99.9,
            99,
            step=0.1,
            label="Limit in % (percentile)",
            info="Flags frames that surprise the model more than this share of ordinary (validation) frames.",
        )
        seed = gr.Number(0, label="Seed", min_width=130)
    checkpoint.change(lambda name: gr.update(info=app.video_summary(name)), checkpoint, checkpoint, **QUICK)
    return Form(upload, checkpoint, percentile, seed)


def _wire_jobs(app: AppContext, form: Form, view: TimedView, strip: gr.HTML) -> None:
    """Two triggers of a job: Find surprises, and an example."""

    def find(values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        files = paths_of(values[form.upload.box])
        steps = _steps(app, form, view, values, should_stop)
        yield from view.bar.with_errors(app, files, steps, view.nothing(html.empty()))

    def load_example(values: Updates, event: gr.EventData) -> Updates:
        names = app.models.names(FAMILY)
        example = examples.examples_for(names)[int(event.index)]
        checkpoint = example.checkpoint if example.checkpoint in names else gr.skip()
        return {form.upload.box: example.save(app), form.checkpoint: checkpoint}

    triggers = [
        Trigger(view.bar.buttons.run.click, find, form.upload.arrange),
        Trigger(strip.select, find, load_example),
    ]
    inputs = form.components()
    jobs = wire_jobs(app, "surprise", view.bar, triggers, inputs, [*view.components(), *inputs])
    wire_clear(form.upload.box, view, jobs, html.empty())


def _steps(app: AppContext, form: Form, view: TimedView, values: Updates, should_stop: ShouldStop) -> Steps:
    """One clip on the page: yields updates after every few frames."""
    status, buttons = view.bar.status, view.bar.buttons
    request = Request.checked(
        values[form.checkpoint], paths_of(values[form.upload.box]), values[form.percentile], values[form.seed]
    )
    yield Turn.READ
    yield {status: progress(0, 1, "Reading the frames…", PROGRESS), **buttons.working()}
    job = Job.begin(app, request)
    yield Turn.COMPUTE
    clock = app.jobs.clock(clock_name(request.checkpoint), job.total)
    for _ in job.advance(should_stop):
        remaining = clock.remaining(1 - job.done / job.total)
        rest = f" · about {duration(remaining)} left" if remaining else ""
        text = f"Frame {min(job.done + 1, job.total)} of {job.total}{rest}"
        yield {status: progress(job.done, job.total, text, PROGRESS)}
    if not job.done:
        yield {**view.nothing(html.empty()), **view.bar.stopped("Stopped before the first frame.")}
        return
    ordering = progress(job.done, job.total, "Checking the order of the frames…", PROGRESS)
    yield {status: ordering, **buttons.finishing()}
    result = job.save(app)
    if job.done == job.total:
        clock.frame_done()
    yield {
        view.results: html.player(result),
        **view.estimate.after(values),
        **view.downloads.show(result.native, result.sheet, result.film, result.settings),
        **view.bar.done(job.summary(), sentences(job.clip.notes)),
    }


TAB = Tab("Surprise", "surprise", build)
