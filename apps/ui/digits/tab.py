"""Digits: a class in, many handwritten digits out, and anyone's digit as all ten."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from vflow.pipelines.digits.digits import ALL

from ..shared.context import AppContext, Tab
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
    wire_jobs,
)
from ..shared.forms import Seed, no_model_banner, slider_temperature, temperature_slider
from ..shared.html import progress
from ..shared.opening import DIGITS, opening
from ..shared.turns import Turn
from . import html, restyle
from .job import FAMILY, MAX_DIGITS, Job, Request

PROGRESS = "Digits drawn"


@dataclass(frozen=True)
class Form(ComponentGroup):
    """Inputs of the tab."""

    checkpoint: gr.Dropdown
    label: gr.Radio
    num_samples: gr.Slider
    temperature: gr.Slider
    seed: Seed


@dataclass(frozen=True)
class DigitsView(View):
    """Outputs of the tab, and the result on the page."""

    result: gr.State


def build(app: AppContext) -> None:
    """Lay out the tab and wire it."""
    no_model_banner(app, FAMILY)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="vf-inputs"):
            form, buttons = _settings(app)
        with gr.Column(scale=9, min_width=300, elem_classes="vf-outputs"):
            bar = StatusBar.below(buttons, "digits")
            results = html_block(opening(app, DIGITS), "vf-digits-results", js_on_load=ON_CLICK)
            downloads = Downloads.below("Sheet (png)", "Digits (npz)", "Settings (json)")
            view = DigitsView(bar, results, downloads, gr.State(None))
    restyle.build(app, form.checkpoint, view.results, view.result)
    _wire_jobs(app, form, view)


def _settings(app: AppContext) -> tuple[Form, Buttons]:
    first = app.models.default(FAMILY)
    with gr.Group(elem_classes="vf-card"):
        label = gr.Radio(
            [("All", ALL), *((str(digit), str(digit)) for digit in range(10))],
            value=ALL,
            label="Class",
            elem_classes="vf-classes",
        )
        num_samples = gr.Slider(1, MAX_DIGITS, 8, step=1, label="Digits per class")
        temperature = temperature_slider(app, first)
        seed = Seed.row()
        checkpoint = gr.Dropdown(app.models.names(FAMILY), value=first, label="Checkpoint", interactive=True)
    buttons = Buttons.row("Draw", "digits", ready=first is not None)
    checkpoint.change(lambda name: slider_temperature(app, name), checkpoint, temperature, **QUICK)
    return Form(checkpoint, label, num_samples, temperature, seed), buttons


def _wire_jobs(app: AppContext, form: Form, view: DigitsView) -> None:
    def draw(values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        steps = _steps(app, form, view, values, should_stop)
        yield from view.bar.with_errors(app, (), steps, view.nothing(html.empty()))

    triggers = [Trigger(view.bar.buttons.run.click, draw)]
    inputs = form.components()
    wire_jobs(app, "digits", view.bar, triggers, inputs, [*view.components(), *inputs])


def _steps(app: AppContext, form: Form, view: DigitsView, values: Updates, should_stop: ShouldStop) -> Steps:
    """One job on the page: yields updates after every chunk of digits."""
    request = Request.checked(
        values[form.checkpoint],
        values[form.label],
        values[form.num_samples],
        values[form.temperature],
        form.seed.draw(values),
    )
    job = Job(request)
    yield Turn.COMPUTE
    yield {
        view.bar.status: progress(0, job.total, "Drawing…", PROGRESS),
        form.seed.value: request.settings.seed,
        **view.bar.buttons.working(),
    }
    for _ in job.advance(app, should_stop):
        text = f"Digit {min(job.done + 1, job.total)} of {job.total}"
        yield {
            view.bar.status: progress(job.done, job.total, text, PROGRESS),
            view.results: html.grid(job.images, job.labels, done=False),
        }
    result = job.save(app)
    yield {
        view.results: html.grid(job.images, job.labels, done=True),
        view.result: result,
        **view.downloads.show(result.sheet, result.native, result.settings),
        **view.bar.done(job.summary(), job.remarks()),
    }


TAB = Tab("Digits", "digits", build)
