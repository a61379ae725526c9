"""Lab: a density in, and a flow that learns it live on the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from vflow.data import media
from vflow.errors import VflowError

from ..shared.context import AppContext, Tab
from ..shared.events import (
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
    View,
    html_block,
    wire_clear,
    wire_jobs,
)
from ..shared.examples import FOLDER
from ..shared.forms import Seed
from ..shared.html import ExampleTile, example_strip, note, progress, refused, way_on, ways
from ..shared.opening import LAB, opening
from ..shared.pad import drawing_pad
from ..shared.turns import Turn
from . import arm, files, html
from .job import MAX_STEPS, STEPS, Job, Request
from .systems import BY_PRESET, CHOICES, DRAWN, EXAMPLES, FILE, LABELS, asked_for, choices, suited

PROGRESS = "Steps learned"
SHOW_PAD = f"""(source) => {{
  const show = (tries) => {{
    const pad = document.querySelector("#vf-lab-pad canvas");
    if (pad?.offsetParent) pad.scrollIntoView({{block: "nearest"}});
    else if (tries) setTimeout(show, 50, tries - 1);
  }};
  if (source === "{DRAWN}") show(40);
}}"""


@dataclass(frozen=True)
class Form(ComponentGroup):
    """Inputs of the tab."""

    source: gr.Dropdown
    file: gr.File
    told: gr.HTML
    ink: gr.State
    system: gr.Dropdown
    steps: gr.Slider
    seed: Seed


def build(app: AppContext) -> None:
    """Lay out the tab and wire it."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="vf-inputs"):
            strip = html_block(_strip(), js_on_load=ON_CLICK)
            form, buttons = _settings()
        with gr.Column(scale=9, min_width=300, elem_classes="vf-outputs"):
            bar = StatusBar.below(buttons, "lab")
            results = html_block(opening(app, LAB), "vf-lab-results")
            downloads = Downloads.below("Checkpoint (zip)", "Samples (npz)", "Report (json)")
            view = View(bar, results, downloads)
    _wire_jobs(app, form, view, strip)
    _wire_file(app, form, view)
    arm.build(app)


def _strip() -> str:
    files = [(name, FOLDER / f"density-{name}.png") for name in EXAMPLES]
    tiles = [ExampleTile(LABELS[name], list(media.read_image(path).frames)) for name, path in files]
    strip = example_strip("Learn one of these", "Learn", "vf-try-density", tiles)
    return strip + ways(way_on("draw", "Draw one of your own"))


def _settings() -> tuple[Form, Buttons]:
    first = EXAMPLES[0]
    systems = suited(first)
    with gr.Group(elem_classes="vf-card"):
        source = gr.Dropdown(CHOICES, value=first, label="Density", interactive=True)
        file = gr.File(
            label="Points: two columns, CSV or npz",
            file_types=[".csv", ".npz"],
            height=132,
            visible=False,
            elem_classes="vf-files",
        )
        told = html_block("", js_on_load=ON_CLICK)
        with gr.Column(visible=False, elem_classes="vf-lab-pad") as column:
            pad = html_block(
                drawing_pad("vf-lab-pad", "Drawing pad for a density", "Draw where points should be"),
                "vf-lab-pad",
                js_on_load=ON_PAYLOAD,
            )
        system = gr.Dropdown(
            choices(first),
            value=systems[0].preset,
            label="Flow",
            interactive=True,
            allow_custom_value=True,  # as in the Walk tab
        )
        steps = gr.Slider(100, MAX_STEPS, STEPS, step=100, label="Steps")
        seed = Seed.row()
    buttons = Buttons.row("Learn", "lab", ready=True)
    lines = html_block(html.about(systems[0]), "vf-lab-system")
    form = Form(source, file, told, gr.State(NewestPayload()), system, steps, seed)

    def choose(name: str | None, system: str | None) -> tuple[Any, ...]:
        offered = suited(str(name))
        kept = system if system in [each.preset for each in offered] else offered[0].preset
        shown = gr.update(choices=choices(str(name)), value=kept)
        return gr.update(visible=name == FILE), gr.update(visible=name == DRAWN), shown

    def keep(ink: NewestPayload, event: gr.EventData) -> None:
        ink.take(event, event.ink if event.action == "drawn" else None)

    source.change(choose, [source, system], [file, column, system], **QUICK)
    source.change(None, source, None, js=SHOW_PAD, **QUICK)
    system.change(_about, system, lines, **QUICK)

    def opened(request: gr.Request) -> tuple[Any, ...]:
        if not {"density", "system"} & set(request.query_params):
            return gr.skip(), gr.skip()
        name, preset = asked_for(request.query_params, first)
        return gr.update(value=name), gr.update(choices=choices(name), value=preset)

    if (page := gr.context.Context.root_block) is not None:
        page.load(opened, None, [source, system], **QUICK)
    for sent in (pad.select, pad.clear):
        sent(keep, form.ink, None, trigger_mode="multiple", **QUICK)
    return form, buttons


def _about(name: str | None) -> str:
    found = BY_PRESET.get(str(name))
    return "" if found is None else html.about(found)


def _wire_jobs(app: AppContext, form: Form, view: View, strip: gr.HTML) -> None:
    """Two triggers of a job: Learn, and an example, which takes the system that suits it best."""

    def learn(values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        yield from steps_of(values, values[form.source], values[form.system], should_stop)

    def learn_example(values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        name = EXAMPLES[int(event.index)]
        kept = values[form.system]
        offered = [each.preset for each in suited(name)]
        yield from steps_of(values, name, kept if kept in offered else offered[0], should_stop)

    def steps_of(values: Updates, source: str, system: str, should_stop: ShouldStop) -> Steps:
        file = values[form.file] if source == FILE else None
        steps = _steps(app, form, view, {**values, form.source: source, form.system: system}, should_stop)
        yield from view.bar.with_errors(app, [file] if file else [], steps, view.nothing(html.empty()))

    def choose(values: Updates, event: gr.EventData) -> Updates:
        return {form.source: EXAMPLES[int(event.index)]}

    triggers = [Trigger(view.bar.buttons.run.click, learn), Trigger(strip.select, learn_example, choose)]
    inputs = form.components()
    jobs = wire_jobs(app, "lab", view.bar, triggers, inputs, [*view.components(), *inputs])
    wire_clear(form.file, view, jobs, html.empty())
    strip.input(lambda: DRAWN, None, form.source, **QUICK)


def _wire_file(app: AppContext, form: Form, view: View) -> None:
    """An upload that is not taken as it is says what of it can be; the error of the one before goes."""

    def arrived(upload: str, status: str) -> Updates:
        ready = view.bar.stopped("Ready.") if "vf-error" in status else {}
        try:
            found = files.parts(Path(upload))
            if len(found) == 1 and found[0].array:
                return {**ready, **taken(Path(upload), found[0])}
        except VflowError as error:
            return {**ready, form.told: refused(app.error_message(error, [upload]))}
        buttons = ways(*(way_on("take", each.label, index) for index, each in enumerate(found)))
        return {**ready, form.told: refused(found[0].why, buttons) if found else ""}

    def taken(upload: Path, part: files.Part) -> Updates:
        with app.runs.job_folder() as folder:
            file = str(files.take(upload, part, folder))
        return {form.file: file, form.told: note(f"Of {upload.name} taken: {part.what}.")}

    def take(upload: str, event: gr.EventData) -> Updates:
        try:
            return taken(Path(upload), files.parts(Path(upload))[int(event.index)])
        except VflowError as error:
            return {form.told: refused(app.error_message(error, [upload]))}

    outputs = [form.file, form.told, *view.bar.components()]
    form.file.upload(app.turns.glance(arrived), [form.file, view.bar.status], outputs, **QUICK)
    form.file.clear(lambda: "", None, form.told, **QUICK)
    form.told.input(app.turns.glance(take), form.file, [form.file, form.told], **QUICK)


def _steps(app: AppContext, form: Form, view: View, values: Updates, should_stop: ShouldStop) -> Steps:
    """One job on the page: yields updates after every picture."""
    status = view.bar.status
    request = Request.checked(
        values[form.source],
        values[form.system],
        values[form.steps],
        form.seed.draw(values),
        file=values[form.file],
        ink=values[form.ink].value,
    )
    yield Turn.READ if request.file else Turn.COMPUTE
    yield {
        status: progress(0, request.steps, "Starting…", PROGRESS),
        form.seed.value: request.seed,
        **view.downloads.hide(),
        **view.bar.buttons.working(),
    }
    job = Job.begin(app, request)
    yield Turn.COMPUTE
    yield {view.results: html.results(job, done=False)}
    for _ in job.advance(should_stop):
        if job.snapshot is not None:
            text = f"Step {job.done} of {request.steps}: surprise {job.snapshot.nats:.3f} nats a point"
            yield {
                status: progress(job.done, request.steps, text, PROGRESS),
                view.results: html.results(job, done=False),
            }
    result = job.save()
    yield {
        view.results: html.results(job, done=True),
        **view.downloads.show(result.checkpoint, result.points, result.report),
        **view.bar.done(job.summary()),
    }


TAB = Tab("Lab", "lab", build)
