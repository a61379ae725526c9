"""Enlarge: a small photo in, large ones out that all average to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import gradio as gr

from vflow.data import media
from vflow.errors import VflowError

from ..shared import examples
from ..shared.context import AppContext, Tab
from ..shared.estimate import Estimate, TimedView
from ..shared.events import (
    ON_CLICK,
    QUICK,
    Buttons,
    ComponentGroup,
    Downloads,
    NewestWins,
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
from ..shared.fit import fit_line, wire_fit
from ..shared.forms import Seed, no_model_banner, paths_of, slider_temperature, temperature_slider
from ..shared.html import duration, progress, reduced
from ..shared.opening import ENLARGE, opening
from ..shared.turns import Turn
from . import html
from .job import FAMILY, MAX_VARIANTS, Job, Request, Result, expected_work, write_archive

PROGRESS = "Variants drawn"
PREVIEW = 768  # pixels of the longer side of an upload on the page


@dataclass(frozen=True)
class Form(ComponentGroup):
    """Inputs of the tab."""

    files: gr.File
    checkpoint: gr.Dropdown
    scale: gr.Radio
    num_samples: gr.Slider
    temperature: gr.Slider
    seed: Seed


@dataclass(frozen=True)
class EnlargeView(TimedView):
    """Outputs of the tab, and the result on the page."""

    result: gr.State


def build(app: AppContext) -> None:
    """Lay out the tab and wire it."""
    no_model_banner(app, FAMILY)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="vf-inputs"):
            files = gr.File(
                label="Photo",
                file_count="multiple",
                height=132,
                elem_id="vf-enlarge-files",
                elem_classes="vf-files",
            )
            line = fit_line("enlarge")
            tiles = examples.picture_strip(
                examples.SMALL_PHOTOS, "Or enlarge an example", "Enlarge example", "vf-try-enlarge"
            )
            strip = html_block(tiles, js_on_load=ON_CLICK)
            form, buttons, estimate = _settings(app, files)
        with gr.Column(scale=9, min_width=300, elem_classes="vf-outputs"):
            bar = StatusBar.below(buttons, "enlarge")
            results = html_block(opening(app, ENLARGE), "vf-enlarge-results", js_on_load=ON_CLICK)
            downloads = Downloads.below("All variants (zip)", "Differences (png)", "Settings (json)")
            view = EnlargeView(bar, results, downloads, estimate, gr.State(None))
    wire_fit(app, line, files, form.checkpoint, FAMILY)
    _wire_clicks(app, form, view, _wire_jobs(app, form, view, strip))


def _settings(app: AppContext, files: gr.File) -> tuple[Form, Buttons, Estimate]:
    first = app.models.default(FAMILY)
    with gr.Group(elem_classes="vf-card"):
        scale = gr.Radio([("2×", 2), ("4×", 4)], value=4, label="Scale")
        num_samples = gr.Slider(1, MAX_VARIANTS, 4, step=1, label="Variants")
        temperature = temperature_slider(app, first, "0 is the smoothest; higher draws more texture.")
        seed = Seed.row()
        checkpoint = gr.Dropdown(app.models.names(FAMILY), value=first, label="Checkpoint", interactive=True)
    buttons = Buttons.row("Enlarge", "enlarge", ready=first is not None)
    decides = [checkpoint, files, scale, num_samples]
    estimate = Estimate(app, "enlarge", decides, partial(expected_seconds, app))
    checkpoint.change(lambda name: slider_temperature(app, name), checkpoint, temperature, **QUICK)
    return Form(files, checkpoint, scale, num_samples, temperature, seed), buttons, estimate


def expected_seconds(
    app: AppContext, name: str | None, paths: Sequence[str] | None, scale: Any, num_samples: Any
) -> float | None:
    """Time that enlarging will take; None where nothing is known, or there is no photo."""
    size = photo_size(paths[0]) if paths and name and num_samples else None
    if size is None:
        return None
    return app.jobs.expected(str(name), expected_work(size, int(scale), int(num_samples)))


@lru_cache(maxsize=16)
def photo_size(path: str) -> tuple[int, int] | None:
    """Height and width of a photo; None where it cannot be read."""
    try:
        height, width = media.read_photo(path)[0].frames.shape[1:3]
    except VflowError:
        return None
    return height, width


def _wire_clicks(app: AppContext, form: Form, view: EnlargeView, jobs: NewestWins) -> None:
    """Events that are answered at once: an upload, which ends a running job, and the choice of a variant."""

    def uploaded(paths: list[str] | None, request: gr.Request) -> Updates:
        if not paths:
            return {view.results: html.empty()}
        path, name = paths[-1], Path(paths[-1]).name
        several = len(paths) > 1
        status = f"One photo is enlarged at a time: {name} is taken." if several else "Ready."
        try:
            photo = media.read_photo(path)[0].frames[:1]
            page = html.uploaded(reduced(photo, PREVIEW)[0], name)
        except VflowError as error:
            page = html.empty(app.error_message(error, paths))
        taken = {form.files: [path]} if several else {}
        if not jobs.discard(request, unless=[path]):  # Enlarge was pressed before this answer
            return unless_empty(taken, view.bar.status)
        return {**taken, **view.nothing(page), **view.bar.stopped(status)}

    def pick(result: Result | None, event: gr.EventData) -> str:
        if result is None:
            return html.empty()
        try:
            return html.results(result, int(event.index))
        except VflowError as error:
            return html.empty(app.error_message(error))

    form.files.upload(app.turns.glance(uploaded), form.files, [form.files, *view.components()], **QUICK)
    view.results.select(pick, view.result, view.results, **QUICK)


def _wire_jobs(app: AppContext, form: Form, view: EnlargeView, strip: gr.HTML) -> NewestWins:
    """Two triggers of a job: Enlarge, and an example."""

    def enlarge(values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        files = paths_of(values[form.files])
        steps = _steps(app, form, view, values, should_stop)
        yield from view.bar.with_errors(app, files, steps, view.nothing(html.empty()))

    def take_last(values: Updates, event: gr.EventData) -> Updates:
        paths = paths_of(values[form.files])
        return {form.files: paths[-1:]} if len(paths) > 1 else {}

    def load_example(values: Updates, event: gr.EventData) -> Updates:
        photo = examples.picture_file(examples.SMALL_PHOTOS, int(event.index))
        return {form.files: [examples.copy_to_cache(photo, app.cache)]}

    triggers = [
        Trigger(view.bar.buttons.run.click, enlarge, take_last),
        Trigger(strip.select, enlarge, load_example),
    ]
    inputs = form.components()
    outputs = [*view.components(), *inputs]
    jobs = wire_jobs(app, "enlarge", view.bar, triggers, inputs, outputs, about=form.files)
    wire_clear(form.files, view, jobs, html.empty())
    return jobs


def _steps(app: AppContext, form: Form, view: EnlargeView, values: Updates, should_stop: ShouldStop) -> Steps:
    """One photo on the page: yields updates after every variant."""
    request = _request(form, values)
    status, buttons = view.bar.status, view.bar.buttons
    yield Turn.READ
    yield {
        status: progress(0, request.settings.num_samples, "Reading the photo…", PROGRESS),
        form.seed.value: request.settings.seed,
        **buttons.working(),
    }
    job = Job.begin(app, request)
    yield Turn.COMPUTE
    yield {status: progress(0, job.total, f"Variant 1 of {job.total}", PROGRESS)}
    clock = app.jobs.clock(str(request.checkpoint), job.work)
    for _ in job.advance(should_stop):
        clock.frame_done()
        remaining = clock.remaining(job.total - job.done)
        rest = f" · about {duration(remaining)} left" if remaining and job.done < job.total else ""
        text = f"Variant {min(job.done + 1, job.total)} of {job.total}{rest}"
        yield {status: progress(job.done, job.total, text, PROGRESS)}
    if not job.done:
        yield view.bar.stopped("Stopped before the first variant.")
        return
    yield {status: progress(job.done, job.total, "Writing the images…", PROGRESS), **buttons.finishing()}
    with app.runs.job_folder() as folder:
        result = job.save(app, folder)
        write_archive(result.archive, [result])
    yield {
        view.results: html.results(result, 0),
        view.result: result,
        **view.estimate.after(values),
        **view.downloads.show(result.archive, result.differences, result.settings),
        **view.bar.done(job.summary(), job.remarks()),
    }


def _request(form: Form, values: Updates) -> Request:
    numbers = {
        "scale": values[form.scale],
        "num_samples": values[form.num_samples],
        "temperature": values[form.temperature],
        "seed": form.seed.draw(values),
    }
    return Request.checked(values[form.checkpoint], paths_of(values[form.files]), **numbers)[0]


TAB = Tab("Enlarge", "enlarge", build)
