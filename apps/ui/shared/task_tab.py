"""The tab of a task of the registry: its form is made from the task's settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr
from pydantic.fields import FieldInfo

from vflow.config.settings import Shown, bounds
from vflow.errors import VflowError

from . import checks, examples, html
from .checks import LEVELS
from .context import AppContext, Tab, sentences
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
    flat,
    html_block,
    no_changes,
    run_place,
    unless_empty,
    wire_clear,
    wire_jobs,
)
from .faces import CHOOSE, Face, Job, checked
from .fit import fit_line, wire_fit
from .forms import (
    SLIDER_WITH_LEVELS,
    Seed,
    Upload,
    clip_upload,
    file_box,
    level_temperatures,
    levels_box,
    no_model_banner,
    paths_of,
    slider_temperature,
    temperature_slider,
)
from .handing import Taker
from .html import duration, progress
from .jobs import Clock
from .turns import Turn

Expected = Callable[..., float | None]
"""App, checkpoint, files, and by name settings but for temperature and seed → seconds of a run, if known."""


class TaskForm(ComponentGroup):
    """Inputs of the tab: a component for each setting that the page shows, files, and the checkpoint."""

    continues: ClassVar[bool] = False
    """Buttons inside a result begin a job that goes on from a part of it."""

    def __init__(self, app: AppContext, face: Face, upload: Upload | None) -> None:
        self.app, self.face, first = app, face, face.first(app)
        self.upload, self.files = upload, upload.box if upload else None
        self.parts, self.seed = dict[str, Any](), None
        fields = face.of(app, first).kind.model_fields
        with gr.Group(elem_classes="vf-card", visible=face.chooses) as self.card:
            for name, field in fields.items():
                if not (shown := Shown.of(field)).label or not shown.form:
                    continue
                if name == "seed":
                    self.seed = Seed.row()
                elif name == "temperature":
                    info = SLIDER_WITH_LEVELS.format(place="under Advanced") if shown.levels else shown.info
                    self.parts[name] = temperature_slider(app, first, info)
                else:
                    self.parts[name] = control(name, field, shown)
            self.checkpoint = gr.Dropdown(
                app.models.names(*face.families), value=first, label="Checkpoint", interactive=True,
                info=app.video_summary(first) or None,
            )  # fmt: skip

    def advanced(self) -> None:
        """Lay out what stands below the button: temperatures per level, where there are such."""
        slider, app, checkpoint = self.parts.get("temperature"), self.app, self.checkpoint
        if slider and (last := Shown.of(self.face.kind.model_fields["temperature"]).levels):
            with gr.Accordion("Advanced", open=False):
                self.parts[LEVELS] = levels_box(app, checkpoint.value, slider, last)
                self.further()

        def chosen(values: Updates) -> Updates:
            changes = self.suited(values[checkpoint])
            if LEVELS in self.parts and changes[self.parts[LEVELS]] == values[self.parts[LEVELS]]:
                del changes[self.parts[LEVELS]]  # does not undo what is typed meanwhile
            return unless_empty(changes, checkpoint)

        inputs = {part for part in (checkpoint, self.parts.get(LEVELS)) if part}
        checkpoint.change(chosen, inputs, [checkpoint, *self.parts.values()], **QUICK)

    def further(self) -> None:
        """Lay out what else is under Advanced."""

    def suited(self, checkpoint: str | None) -> Updates:
        """The form as it suits a checkpoint that is chosen anew."""
        changes: Updates = {}
        if self.face.takes_clip:
            changes[self.checkpoint] = gr.update(info=self.app.video_summary(checkpoint))
        if "temperature" in self.parts:
            changes[self.parts["temperature"]] = slider_temperature(self.app, checkpoint)
        if LEVELS in self.parts:
            changes[self.parts[LEVELS]] = level_temperatures(self.app, checkpoint)
        return changes

    def components(self) -> list[Any]:
        return flat((self.upload, *self.parts.values(), self.seed, self.checkpoint))

    def given(self, values: Updates) -> dict[str, Any]:
        """Values of settings, by their names."""
        given = {name: values[part] for name, part in self.parts.items()}
        return given | ({"seed": self.seed.draw(values)} if self.seed else {})

    def settings(self, values: Updates) -> Any:
        """Settings in the form's values; raises as ``checked``."""
        return checked(self.face.of(self.app, values[self.checkpoint]).kind, self.given(values))

    def example(self, values: Updates, index: int) -> Updates:
        """The form filled in from an example, whatever it held before."""
        files = [examples.copy_to_cache(self.face.example(index), self.app.cache)]
        return {self.files: files, **self.usual(values[self.checkpoint])}

    def usual(self, checkpoint: str | None) -> Updates:
        """Settings but for the seed as the form opens with them, as they suit a checkpoint."""
        changes: Updates = {part: part.value for part in self.parts.values()}
        return changes | TaskForm.suited(self, checkpoint)

    def continued(self, values: Updates, result: Any, index: int) -> Updates:
        """Values of a job that goes on from a part of a result; the form's own where it does not go on.

        Raises:
            InputError: the result was cleared.
        """
        return values

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
    estimate: Estimate | None
    above: gr.HTML | None = None

    def cleared(self) -> Updates:
        """Nothing above the results."""
        return {self.above: ""} if self.above else {}

    def nothing(self, placeholder: str) -> Updates:
        return {**super().nothing(placeholder), **self.cleared()}


def task_tab(
    title: str,
    identifier: str,
    face: Face,
    expected: Expected | None = None,
    form: type[TaskForm] = TaskForm,
) -> Tab:
    """The tab of a task; with ``expected`` it says how long a longer run will take."""
    return Tab(title, identifier, partial(_build, face, expected, form))


def _build(face: Face, expected: Expected | None, kind: type[TaskForm], app: AppContext) -> None:
    tab, upload, told, line, strip = face.tab, None, None, None, None
    no_model_banner(app, *face.families)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="vf-inputs"):
            if face.takes_files:
                upload = (
                    clip_upload(app, tab)
                    if face.takes_clip
                    else Upload(file_box(tab, face.label or face.noun.capitalize()))
                )
                if not face.takes_clip:
                    told = html_block("", f"vf-{tab}-upload", js_on_load=ON_CLICK + ON_PAYLOAD)
                line = fit_line(tab) if face.fits else None
                strip = face.examples(app)
            place = run_place() if upload else None  # in front of the settings, below the files
            form = kind(app, face, upload)
            decides = {name: part for name, part in form.parts.items() if name != "temperature"}
            form.advanced()
            estimate = None
            with place or nullcontext():
                buttons = Buttons.row(face.verb, tab, ready=form.checkpoint.value is not None)
                if expected and upload:
                    parts = [form.checkpoint, upload.box, *decides.values()]
                    estimate = Estimate(app, tab, parts, _by_name(partial(expected, app), decides))
        with gr.Column(scale=9, min_width=300, elem_classes="vf-outputs"):
            bar = StatusBar.below(buttons, tab)
            above = face.above()
            results = html_block(face.opening(app), f"vf-{tab}-results", js_on_load=ON_CLICK + ON_PAYLOAD)
            downloads = Downloads.below(*face.downloads)
            view = TaskView(bar, results, downloads, gr.State(None), estimate, above)
    for each in (face, *face.joined):
        each.beside(app, form, view)
    if upload and line:
        scores = face.purpose == "bits"
        wire_fit(app, line, upload.box, form.checkpoint, *face.families, scores=scores)
    jobs = _wire_jobs(app, face, form, view, strip)
    if upload:
        app.takers[tab] = Taker(upload.box)
    if upload and told:
        _wire_upload(app, face, upload.box, view, jobs)
        _wire_refusal(app, face, upload.box, told, form.parts.get(face.limited_by), app.takers[tab])
    if face.picks:
        view.results.select(_picking(app, face), view.result, view.results, **QUICK)


def _by_name(expected: Callable[..., float | None], names: Iterable[str]) -> Callable[..., float | None]:
    """``expected`` of values in the order of the form's parts."""

    def seconds(checkpoint: str | None, paths: list[str] | None, *values: Any) -> float | None:
        return expected(checkpoint, paths, **dict(zip(names, values, strict=True)))

    return seconds


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

    def uploaded(paths: list[str] | None, request: gr.Request) -> Updates:
        if not paths:
            return {view.results: face.empty()}
        path, name = paths[-1], Path(paths[-1]).name
        several = len(paths) > 1
        status = f"One {face.noun} at a time: {name} is taken." if several else "Ready."
        try:
            page = face.uploaded(path)
        except VflowError:  # which the line below the box tells
            page = face.empty()
        taken = {files: [path]} if several else {}
        if not jobs.discard(request, unless=[path]):  # the button was pressed before this answer
            return unless_empty(taken, view.bar.status)
        return {**taken, **view.nothing(page), **view.bar.stopped(status)}

    app.takers[face.tab] = Taker(files, uploaded, view.components())
    files.upload(app.turns.glance(uploaded), files, [files, *view.components()], **QUICK)


def _wire_refusal(
    app: AppContext, face: Face, files: gr.File, told: gr.HTML, limit: Any, taker: Taker
) -> None:
    """An upload that the page does not take says so below its box, with ways on; judged again by ``limit``.

    Args:
        limit: component of the setting ``limited_by``; None where nothing limits uploads.
    """

    def value(given: Any) -> Any:
        field = face.kind.model_fields.get(face.limited_by)
        return checks.setting(face.limited_by, field, {face.limited_by: given}) if field else None

    def judged(paths: list[str] | None, given: Any = None) -> str:
        try:
            return face.refusal(paths[-1], value(given)) if paths else ""
        except VflowError as error:
            return html.refused(app.error_message(error, paths or ()))

    def take_on(values: Updates, request: gr.Request, event: gr.EventData) -> Updates:
        paths, given = values[files], values.get(limit)
        if not paths:
            return unless_empty({}, told)
        try:
            if limit and event.action == CHOOSE:
                return {limit: value(event.index)}
            left = checks.number_within("left", getattr(event, "left", 0.5), 0, 1)
            top = checks.number_within("top", getattr(event, "top", 0.5), 0, 1)
            most = face.most_pixels(value(given))
            with app.runs.job_folder() as folder:
                path = face.made_smaller(paths[-1], str(event.action), left, top, folder, most)
        except VflowError as error:
            return {told: html.refused(app.error_message(error, paths))}
        return taker.taken(path, request)

    parts = [files, limit] if limit else [files]
    for part in parts:
        part.change(app.turns.glance(judged), parts, told, trigger_mode="always_last", **QUICK)
    told.input(app.turns.glance(take_on), set(parts), [told, *parts, *taker.outputs], **QUICK)


def _wire_jobs(
    app: AppContext, face: Face, form: TaskForm, view: TaskView, strip: gr.HTML | None
) -> NewestWins:
    """Triggers of a job: the button, and an example."""

    def run(values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        steps = _steps(app, face, form, view, values, should_stop)
        yield from view.bar.with_errors(app, form.paths(values), steps, view.nothing(face.empty()))

    def go_on(values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        steps = continued(values, int(event.index), should_stop)
        yield from view.bar.with_errors(app, (), steps, view.nothing(face.empty()))

    def continued(values: Updates, index: int, should_stop: ShouldStop) -> Steps:
        known = form.continued(values, values[view.result], index)
        yield from _steps(app, face, form, view, known, should_stop)

    def load_example(values: Updates, event: gr.EventData) -> Updates:
        return form.example(values, int(event.index))

    arrange = form.upload.arrange if form.upload else no_changes
    triggers = [Trigger(view.bar.buttons.run.click, run, arrange)]
    if strip:
        triggers.append(Trigger(strip.select, run, load_example))
    if form.continues:
        triggers.append(Trigger(view.results.select, go_on))
    inputs = form.components()
    outputs = [*view.components(), *inputs]
    jobs = wire_jobs(app, face.tab, view.bar, triggers, [*inputs, view.result], outputs, about=form.files)
    if form.files:
        wire_clear(form.files, view, jobs, face.empty())
    return jobs


def _steps(
    app: AppContext, face: Face, form: TaskForm, view: TaskView, values: Updates, should_stop: ShouldStop
) -> Steps:
    """One job on the page: yields updates after every result."""
    settings, checkpoint = form.settings(values), values[form.checkpoint]
    face, status, buttons = face.of(app, checkpoint), view.bar.status, view.bar.buttons
    label = f"{face.unit.capitalize()}s {face.past}"
    files = face.paths(form.paths(values))[0]
    yield Turn.READ if files else Turn.COMPUTE
    reading = f"Reading the {face.noun}…" if files else "Drawing…"
    seed = {form.seed.value: settings.seed} if form.seed else {}
    yield {status: progress(0, 1, reading, label), **seed, **view.cleared(), **buttons.working()}
    job = face.begin(app, checkpoint, settings, files)
    face = job.face
    if files:
        yield Turn.COMPUTE
    clock = face.clock(app, job)
    yield _step_done(view, job, clock)
    for _ in job.advance(should_stop):
        if clock and not face.timed_as_one:
            clock.frame_done()
        yield _step_done(view, job, clock)
    if stopped := face.stopped(job):
        emptied = {} if face.live(job) is None else view.nothing(face.empty())
        yield {**emptied, **view.bar.stopped(stopped)}
        return
    yield {status: progress(job.done, job.total, face.finishing, label), **buttons.finishing()}
    with app.runs.job_folder() as folder:
        result = job.save(app, folder)
        for _ in face.archive(folder, [result]):
            pass
    if clock and face.timed_as_one and job.done == job.total:
        clock.frame_done()
    yield {
        view.results: face.shown(job, result),
        view.result: result if face.keeps else None,
        **(view.estimate.after(values) if view.estimate else {}),
        **view.downloads.show(*face.files(result)),
        **view.bar.done(job.summary(), sentences(job.remarks(result))),
    }


def _step_done(view: TaskView, job: Job, clock: Clock | None) -> Updates:
    """The page after a result, and before the first."""
    face, remaining = job.face, clock and clock.remaining(job.steps_left)
    text = face.step(job, f" · about {duration(remaining)} left" if remaining else "")
    live, label = face.live(job), f"{face.unit.capitalize()}s {face.past}"
    shown = {} if live is None else {view.results: live}
    return {view.bar.status: progress(job.done, job.total, text, label), **shown}
