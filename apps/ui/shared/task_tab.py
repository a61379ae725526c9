"""The tab of a task of the registry: its form is made from the task's settings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from pydantic.fields import FieldInfo

from vflow.config.settings import Settings, Shown, bounds
from vflow.errors import VflowError

from . import checks, examples
from .context import AppContext, Tab
from .estimate import Estimate
from .events import (
    ON_CLICK,
    ON_PAYLOAD,
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
    View,
    html_block,
    run_place,
    unless_empty,
    wire_clear,
    wire_jobs,
)
from .faces import Face, checked
from .fit import fit_line, wire_fit
from .forms import (
    SLIDER_WITH_LEVELS,
    Seed,
    levels_box,
    no_model_banner,
    paths_of,
    slider_temperature,
    suggested_temperature,
    temperature_slider,
)
from .html import duration, progress
from .turns import Turn

Expected = Callable[..., float | None]
"""App, checkpoint, files and settings but for temperature and seed → seconds of a run, where known."""


class TaskForm(ComponentGroup):
    """Inputs of the tab: a component for each setting that the page shows, files, and the checkpoint."""

    def __init__(self, app: AppContext, face: Face, files: gr.File | None) -> None:
        self.app, first = app, app.models.default(face.family.name)
        self.kind: type[Settings] = face.kind
        self.files, self.parts, self.seed = files, dict[str, Any](), None
        with gr.Group(elem_classes="vf-card"):
            for name, field in face.kind.model_fields.items():
                if not (shown := Shown.of(field)).label or not shown.form:
                    continue
                if name == "seed":
                    self.seed = Seed.row()
                elif name == "temperature":
                    info = SLIDER_WITH_LEVELS.format(place="under Advanced") if shown.levels else shown.info
                    self.parts[name] = temperature_slider(app, first, info)
                else:
                    self.parts[name] = control(name, field, shown)
            names = app.models.names(face.family.name)
            self.checkpoint = gr.Dropdown(names, value=first, label="Checkpoint", interactive=True)

    def advanced(self) -> gr.Accordion | None:
        """Lay out what stands below the button: temperatures per level, where there are such."""
        slider, app, checkpoint = self.parts.get("temperature"), self.app, self.checkpoint
        last = slider and Shown.of(self.kind.model_fields["temperature"]).levels
        if slider and not last:
            checkpoint.change(partial(slider_temperature, app), checkpoint, slider, **QUICK)
        if not slider or not last:
            return None
        with gr.Accordion("Advanced", open=False) as accordion:
            box = self.parts["level_temperatures"] = levels_box(app, checkpoint.value, slider, last)
        suggested = partial(suggested_temperature, app)
        checkpoint.change(suggested, [checkpoint, box], [slider, box], **QUICK)
        return accordion

    def components(self) -> list[Any]:
        seed = self.seed.components() if self.seed else []
        return [*([self.files] if self.files else []), *self.parts.values(), *seed, self.checkpoint]

    def settings(self, values: Updates) -> Any:
        """Settings in the form's values; raises as ``checked``."""
        given = {name: values[part] for name, part in self.parts.items()}
        if self.seed:
            given["seed"] = self.seed.draw(values)
        return checked(self.kind, given)

    def paths(self, values: Updates) -> list[str]:
        """Files in the box."""
        return paths_of(values[self.files]) if self.files else []


def control(name: str, field: FieldInfo, shown: Shown) -> Any:
    """Component for a setting: buttons of choices, a switch, a slider between bounds, or a line of text."""
    more: dict[str, Any] = {"label": shown.label, "info": shown.info, "elem_classes": f"vf-setting-{name}"}
    low, high = bounds(field)
    if shown.choices:
        return gr.Radio(list(shown.choices), value=field.default, **more)
    if field.annotation is bool:
        return gr.Checkbox(field.default, **more)
    if low is not None and high is not None:
        most = high if shown.most is None else shown.most
        return gr.Slider(low, most, field.default, step=shown.step, **more)
    return gr.Textbox(str(field.default), **more)


@dataclass(frozen=True)
class TaskView(View):
    """Outputs of the tab, and the result on the page."""

    result: gr.State
    estimates: tuple[Estimate, ...]

    def components(self) -> list[Any]:
        lines = [part for line in self.estimates for part in line.components()]
        return [*self.bar.components(), self.results, *self.downloads.components(), self.result, *lines]


def task_tab(title: str, identifier: str, face: Face, expected: Expected | None = None) -> Tab:
    """The tab of a task; with ``expected`` it says how long a longer run will take."""
    return Tab(title, identifier, partial(_build, face, expected))


def _build(face: Face, expected: Expected | None, app: AppContext) -> None:
    family, tab, strip = face.family.name, face.tab, None
    no_model_banner(app, family)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="vf-inputs"):
            files = line = None
            if face.takes_files:
                files = gr.File(
                    label=face.noun.capitalize(),
                    file_count="multiple",
                    height=132,
                    elem_id=f"vf-{tab}-files",
                    elem_classes="vf-files",
                )
                line = fit_line(tab) if face.fits else None
                strip = face.examples()
            place = run_place() if files else None  # in front of the settings, below the files
            form = TaskForm(app, face, files)
            form.advanced()
            estimates: tuple[Estimate, ...] = ()
            with place or nullcontext():
                buttons = Buttons.row(face.verb, tab, ready=app.models.default(family) is not None)
                if expected and files:
                    decides = [part for name, part in form.parts.items() if name != "temperature"]
                    parts = [form.checkpoint, files, *decides]
                    estimates = (Estimate(app, tab, parts, partial(expected, app)),)
        with gr.Column(scale=9, min_width=300, elem_classes="vf-outputs"):
            bar = StatusBar.below(buttons, tab)
            results = html_block(face.opening(app), f"vf-{tab}-results", js_on_load=ON_CLICK + ON_PAYLOAD)
            view = TaskView(bar, results, Downloads.below(*face.downloads), gr.State(None), estimates)
    face.beside(app, form.checkpoint, view.results, view.result)
    if files and line:
        wire_fit(app, line, files, form.checkpoint, family)
    jobs = _wire_jobs(app, face, form, view, strip)
    if files:
        _wire_upload(app, face, files, view, jobs)
    if face.picks:
        view.results.select(_picking(app, face), view.result, view.results, **QUICK)


def _picking(app: AppContext, face: Face) -> Callable[..., str]:
    """Answer to a click on a button inside the result."""

    def pick(result: Any, event: gr.EventData) -> str:
        if result is None:
            return face.empty()
        try:
            return face.picked(result, int(event.index))
        except VflowError as error:
            return face.empty(app.error_message(error))

    return pick


def _wire_upload(app: AppContext, face: Face, files: gr.File, view: TaskView, jobs: NewestWins) -> None:
    """An upload ends a running job and is shown; of several the last is taken."""

    def make_smaller(paths: list[str] | None, request: gr.Request, event: gr.EventData) -> Updates:
        if not paths:
            return unless_empty({}, view.bar.status)
        try:
            left = checks.number_within("left", getattr(event, "left", 0.5), 0, 1)
            top = checks.number_within("top", getattr(event, "top", 0.5), 0, 1)
            with app.runs.job_folder() as folder:
                path = face.made_smaller(paths[-1], str(event.action), left, top, folder)
        except VflowError as error:
            return view.nothing(face.empty(app.error_message(error, paths)))
        return {files: [path], **uploaded([path], request)}

    def uploaded(paths: list[str] | None, request: gr.Request) -> Updates:
        if not paths:
            return {view.results: face.empty()}
        path, name = paths[-1], Path(paths[-1]).name
        several = len(paths) > 1
        status = f"One {face.noun} at a time: {name} is taken." if several else "Ready."
        try:
            page = face.uploaded(path)
        except VflowError as error:
            page = face.empty(app.error_message(error, paths))
        taken = {files: [path]} if several else {}
        if not jobs.discard(request, unless=[path]):  # the button was pressed before this answer
            return unless_empty(taken, view.bar.status)
        return {**taken, **view.nothing(page), **view.bar.stopped(status)}

    files.upload(app.turns.glance(uploaded), files, [files, *view.components()], **QUICK)
    if face.most_pixels:
        view.results.input(app.turns.glance(make_smaller), files, [files, *view.components()], **QUICK)


def _wire_jobs(
    app: AppContext, face: Face, form: TaskForm, view: TaskView, strip: gr.HTML | None
) -> NewestWins:
    """Triggers of a job: the button, and an example."""

    def run(values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        steps = _steps(app, face, form, view, values, should_stop)
        yield from view.bar.with_errors(app, form.paths(values), steps, view.nothing(face.empty()))

    def take_last(values: Updates, event: gr.EventData) -> Updates:
        paths = form.paths(values)
        return {form.files: paths[-1:]} if len(paths) > 1 else {}

    def load_example(values: Updates, event: gr.EventData) -> Updates:
        return {form.files: [examples.copy_to_cache(face.example(int(event.index)), app.cache)]}

    triggers = [Trigger(view.bar.buttons.run.click, run, take_last)]
    if strip:
        triggers.append(Trigger(strip.select, run, load_example))
    inputs = form.components()
    outputs = [*view.components(), *inputs]
    jobs = wire_jobs(app, face.tab, view.bar, triggers, inputs, outputs, about=form.files)
    if form.files:
        wire_clear(form.files, view, jobs, face.empty())
    return jobs


def _steps(
    app: AppContext, face: Face, form: TaskForm, view: TaskView, values: Updates, should_stop: ShouldStop
) -> Steps:
    """One job on the page: yields updates after every result."""
    settings, checkpoint = form.settings(values), values[form.checkpoint]
    status, buttons, unit = view.bar.status, view.bar.buttons, face.unit
    label = f"{unit.capitalize()}s drawn"
    path = face.paths(form.paths(values)[:1])[0]
    yield Turn.READ if path else Turn.COMPUTE
    reading = f"Reading the {face.noun}…" if path else "Drawing…"
    seed = {form.seed.value: settings.seed} if form.seed else {}
    yield {status: progress(0, 1, reading, label), **seed, **buttons.working()}
    job = face.begin(app, checkpoint, settings, path)
    if path:
        yield Turn.COMPUTE
    total, work = job.total, face.work(job)
    yield {status: progress(0, total, f"{unit.capitalize()} 1 of {total}", label)}
    clock = app.jobs.clock(str(checkpoint), work) if work else None
    for _ in job.advance(should_stop):
        rest = ""
        if clock:
            clock.frame_done()
            remaining = clock.remaining(total - job.done)
            rest = f" · about {duration(remaining)} left" if remaining and job.done < total else ""
        text = f"{unit.capitalize()} {min(job.done + 1, total)} of {total}{rest}"
        live = face.live(job)
        yield {
            status: progress(job.done, total, text, label),
            **({} if live is None else {view.results: live}),
        }
    if not job.done:
        yield view.bar.stopped(f"Stopped before the first {unit}.")
        return
    yield {status: progress(job.done, total, "Writing the files…", label), **buttons.finishing()}
    with app.runs.job_folder() as folder:
        result = job.save(app, folder)
        for _ in face.archive(folder, [result]):
            pass
    lines = [line.after(values) for line in view.estimates]
    yield {
        view.results: face.shown(job, result),
        view.result: result,
        **{part: text for line in lines for part, text in line.items()},
        **view.downloads.show(*face.files(result)),
        **view.bar.done(job.summary(), job.remarks()),
    }
