"""Walk: an input and a direction in, a strip of pictures or clips out, with a slider over its steps."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr

from ..shared.context import AppContext, Tab, sentences
from ..shared.estimate import Estimate, TimedView
from ..shared.events import (
    QUICK,
    Buttons,
    Downloads,
    NewestPayload,
    NewestWins,
    ShouldStop,
    StatusBar,
    Steps,
    Trigger,
    Updates,
    html_block,
    wire_jobs,
)
from ..shared.forms import no_model_banner, paths_of
from ..shared.html import duration, message, progress
from ..shared.jobs import Clock
from ..shared.opening import WALK, opening
from ..shared.turns import Turn
from . import form as forms
from . import html
from .form import Form
from .job import Job, clock_name, expected_seconds

PROGRESS = "Steps decoded"


def build(app: AppContext) -> None:
    """Lay out the tab and wire it."""
    no_model_banner(app)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="vf-inputs"):
            form, place = forms.build(app)
            with place:
                buttons = Buttons.row("Walk", "walk", ready=app.models.default() is not None)
                decides = [form.checkpoint, form.kind, form.steps, form.num_frames]
                estimate = Estimate(app, "walk", decides, partial(expected_seconds, app))
        with gr.Column(scale=9, min_width=300, elem_classes="vf-outputs"):
            bar = StatusBar.below(buttons, "walk")
            results = html_block(opening(app, WALK), "vf-walk-results")
            downloads = Downloads.below("Grid (png)", "Video (mp4)", "Frames (npz)", "Settings (json)")
            view = TimedView(bar, results, downloads, estimate)
    _wire_form(app, form, view, _wire_jobs(app, form, view))


def _wire_form(app: AppContext, form: Form, view: TimedView, jobs: NewestWins) -> None:
    """Events that are answered at once: which controls there are, and the bars of the directions."""

    def arrange(values: Updates) -> Updates:
        return forms.form_updates(app, form, values)

    def arrange_first(values: Updates) -> Updates:
        return forms.form_updates(app, form, values, new_model=True)

    def load(values: Updates, request: gr.Request) -> Updates:
        jobs.discard(request)
        values[chosen].value = values[form.checkpoint]
        off = gr.update(interactive=False)
        return {
            form.kind: off,
            form.tiles: gr.update(visible=False),
            view.bar.buttons.run: off,
            view.bar.status: message("Loading the model…"),
        }

    def change_model(values: Updates, request: gr.Request) -> Updates:
        updates = forms.form_updates(app, form, values, new_model=True)
        if values[chosen].value != values[form.checkpoint]:  # another was chosen meanwhile
            return {view.bar.status: gr.skip()}
        jobs.discard(request)
        return {
            **updates,
            **view.nothing(html.empty()),
            **view.bar.stopped("Ready."),
        }

    def slide(values: Updates) -> Updates:
        return forms.direction_updates(app, form, values)

    inputs, outputs, chosen = set(form.components()), form.components(), gr.State(NewestPayload())
    # Loading a model takes a moment; what is chosen or begun meanwhile would be the old model's. Not `input`,
    # which Gradio also sends when a person leaves the list as it was: it would end what runs.
    last: dict[str, Any] = {"trigger_mode": "always_last", **QUICK}  # else what comes meanwhile is dropped
    waits = [form.kind, form.tiles, view.bar.buttons.run, view.bar.status]
    begun = form.checkpoint.change(load, {form.checkpoint, chosen}, waits, **last)
    changed = begun.then(change_model, {*inputs, chosen}, [*outputs, *view.components()], **last)
    changed.failure(
        lambda: {form.kind: gr.update(interactive=True), **view.bar.failed()},
        None,
        [form.kind, *view.components()],
        **QUICK,
    )
    form.kind.input(arrange, inputs, outputs, **last)
    form.source.input(arrange, inputs, outputs, **last)
    # The bars move the slider in the browser (walk.js).
    gr.on([form.level.input, form.direction.input], slide, inputs, [form.bars, form.direction], **last)
    page = gr.context.Context.root_block
    if page is not None and app.models.default() is not None:
        page.load(arrange_first, inputs, outputs, **QUICK)


def _wire_jobs(app: AppContext, form: Form, view: TimedView) -> NewestWins:
    """Two triggers of a job: Walk and an example."""

    def walk(values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        files = [path for box in form.uploads.components() for path in paths_of(values[box])]
        steps = _steps(app, form, view, values, should_stop)
        yield from view.bar.with_errors(app, files, steps, view.nothing(html.empty()))

    def load_first(values: Updates, event: gr.EventData) -> Updates:
        return forms.first_example(app, form, values)

    def load_example(values: Updates, event: gr.EventData) -> Updates:
        return forms.example_updates(app, form, values, int(event.index))

    triggers = [
        Trigger(view.bar.buttons.run.click, walk, load_first),
        Trigger(form.tiles.select, walk, load_example),
    ]
    inputs = form.components()
    return wire_jobs(app, "walk", view.bar, triggers, inputs, [*view.components(), *inputs])


def _steps(app: AppContext, form: Form, view: TimedView, values: Updates, should_stop: ShouldStop) -> Steps:
    """One walk on the page: yields updates after every step or frame that was decoded."""
    status, buttons = view.bar.status, view.bar.buttons
    request = form.request(app.models.family(values[form.checkpoint]), values)
    reading = progress(0, 1, "Reading the input…", PROGRESS)
    yield Turn.READ if request.paths() else Turn.COMPUTE
    yield {status: reading, form.seed.value: request.seed, **buttons.working()}
    job = Job.begin(app, request)
    yield Turn.COMPUTE
    clock, before = app.jobs.clock(clock_name(request.checkpoint, request.kind), job.work), 0
    for done, total in job.advance(app, should_stop):
        clock.frame_done((done - before) / total)
        before = done
        yield {status: progress(done, total, _remaining(done, total, clock), PROGRESS)}
    if job.walk is None:
        yield view.bar.stopped("Stopped before the walk was complete.")
        return
    seconds = clock.elapsed()
    yield {status: progress(1, 1, "Writing files…", PROGRESS), **buttons.finishing()}
    result = job.save(app)
    yield {
        view.results: html.player(result, job.walk.frames.shape[-3:-1]),
        **view.estimate.after(values),
        **view.downloads.show(result.grid, result.film, result.native, result.settings),
        **view.bar.done(job.summary(seconds), sentences(job.inputs.notes)),
    }


def _remaining(done: int, total: int, clock: Clock) -> str:
    seconds = clock.remaining((total - done) / total) or 0.0
    return f"{done} of {total} decoded" + (f" · about {duration(seconds)} left" if seconds >= 1 else "")


TAB = Tab("Walk", "walk", build)
