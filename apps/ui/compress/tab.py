"""Compress: a photo or clip in, a smaller file with the same pixels out, and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gradio as gr

from vflow.errors import VflowError

from ..shared import examples
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
    unless_empty,
    wire_clear,
    wire_jobs,
)
from ..shared.forms import no_model_banner
from ..shared.handing import Taker
from ..shared.html import progress, refused
from ..shared.jobs import mapped
from ..shared.opening import COMPRESS, opening
from ..shared.turns import Turn
from . import html, job
from .job import FAMILY, Stage, Stopped, compress, expected_seconds, is_coded, read, restore

PROGRESS = "Part done"


@dataclass(frozen=True)
class Form(ComponentGroup):
    """Inputs of the tab."""

    file: gr.File


def build(app: AppContext) -> None:
    """Lay out the tab and wire it."""
    no_model_banner(app, FAMILY)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="vf-inputs"):
            file = gr.File(label="Photo, video, npz or .vflow file", height=132, elem_id="vf-compress-file")
            told = html_block("", "vf-compress-upload", js_on_load=ON_CLICK)
            html_block(
                '<p class="vf-explain">A photo or video becomes a lossless .vflow file: what the '
                "model finds likely takes few bits. A .vflow file becomes an image or clip again. "
                "Photos that were once JPEGs gain most. Photos must be 8-bit RGB or grey; their colour "
                "profile is kept. Of a video its frames are kept, as decoded to 8-bit RGB, without sound.</p>"
            )
            tiles = examples.picture_strip(
                examples.CAMERA_PHOTOS, "Or compress an example", "Compress example", "vf-try-compress"
            )
            strip = html_block(tiles, js_on_load=ON_CLICK)
            ready = app.models.default(FAMILY) is not None
            buttons = Buttons.row("Compress or restore", "compress", ready=ready)
            estimate = Estimate(app, "compress", [file], partial(expected_seconds, app))
        with gr.Column(scale=9, min_width=300, elem_classes="vf-outputs"):
            bar = StatusBar.below(buttons, "compress")
            results = html_block(opening(app, COMPRESS), "vf-compress-results")
            view = TimedView(bar, results, Downloads.below("File"), estimate)
    _wire_upload(app, file, told, view)
    _wire_jobs(app, Form(file), view, strip)


def _wire_jobs(app: AppContext, form: Form, view: TimedView, strip: gr.HTML) -> None:
    """Two triggers of a job: the button, and an example."""

    def run(values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        upload = values[form.file]
        steps = _steps(app, form, view, values, should_stop)
        yield from view.bar.with_errors(app, [upload] if upload else [], steps, view.nothing(html.empty()))

    def load_example(values: Updates, event: gr.EventData) -> Updates:
        photo = examples.picture_file(examples.CAMERA_PHOTOS, int(event.index))
        return {form.file: examples.copy_to_cache(photo, app.cache)}

    triggers = [Trigger(view.bar.buttons.run.click, run), Trigger(strip.select, run, load_example)]
    inputs = form.components()
    jobs = wire_jobs(app, "compress", view.bar, triggers, inputs, [*view.components(), *inputs])
    wire_clear(form.file, view, jobs, html.empty())


def _wire_upload(app: AppContext, file: gr.File, told: gr.HTML, view: TimedView) -> None:
    """An upload that the page does not take says so below its box, with ways on to another in its place."""

    def judged(upload: str | None) -> Updates:
        if upload and (refusal := job.refusal(upload)):
            return {told: html.refused(app, upload, refusal), **view.nothing(html.empty())}
        return {told: ""}

    def take_on(upload: str | None, event: gr.EventData) -> Updates:
        if not upload:
            return unless_empty({}, told)
        try:
            with app.runs.job_folder() as folder:
                taken = str(job.converted(upload, str(event.action), folder))
        except VflowError as error:
            return {told: refused(app.error_message(error, [upload]))}
        return {file: taken, **view.nothing(html.empty(f"{Path(taken).name}: press Compress."))}

    outputs = [file, told, *view.components()]
    app.takers["compress"] = Taker(file)
    file.change(app.turns.glance(judged), file, outputs, trigger_mode="always_last", **QUICK)
    told.input(app.turns.glance(take_on), file, outputs, **QUICK)


def _steps(app: AppContext, form: Form, view: TimedView, values: Updates, should_stop: ShouldStop) -> Steps:
    """One file on the page."""
    upload: str | None = values[form.file]
    coded, shown = is_coded(upload), partial(_progress, view.bar)
    yield Turn.COMPUTE if coded else Turn.READ
    yield {view.bar.status: progress(0, 1, "Reading the file…", PROGRESS), **view.bar.buttons.working()}
    try:
        if coded:
            back = yield from mapped(restore(app, upload, should_stop), shown)
            page, path, notes = html.restored(back), back.path, tuple[str, ...]()
            summary = f"Restored in {back.seconds:.1f} s"
        else:
            source = read(upload)
            yield Turn.COMPUTE
            made = yield from mapped(compress(app, upload, source, should_stop), shown)
            page, path, notes = html.compressed(made), made.path, made.notes
            summary = f"Compressed in {made.seconds:.1f} s"
    except Stopped:
        yield {**view.nothing(html.empty()), **view.bar.stopped("Stopped before it was done.")}
        return
    (button,) = view.downloads.buttons
    yield {
        view.results: page,
        **view.estimate.after(values),
        **view.downloads.show(path),
        button: gr.update(value=str(path), label=f"Download {path.name}"),
        **view.bar.done(summary, sentences(notes)),
    }


def _progress(bar: StatusBar, stage: Stage) -> Updates:
    """The status at a stage, in per cent."""
    done = round(100 * stage.share)
    return {bar.status: progress(done, 100, f"{stage.text} · {done}%", PROGRESS)}


TAB = Tab("Compress", "compress", build)
