"""Digits: a class in, many handwritten digits out, and any hand's digit as all ten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from . import digits_flow, digits_hand, digits_view, gallery
from .common import Shared, Tab, first_temperature
from .controls import PICK, QUICK, Board, Buttons, Outputs, Seed, Updates, no_checkpoint, wire_runs
from .digits_flow import ALL, KIND, MAX_DIGITS, Run
from .models import RECIPES
from .temperature import temperature_slider


@dataclass(frozen=True)
class Form:
    """Inputs of the tab."""

    checkpoint: gr.Dropdown
    label: gr.Radio
    num_samples: gr.Slider
    temperature: gr.Slider
    seed: Seed

    def components(self) -> set[Any]:
        """All of them, as ``inputs`` of an event whose handler takes a dictionary."""
        own = {self.checkpoint, self.label, self.num_samples, self.temperature}
        return own | set(vars(self.seed).values())


@dataclass(frozen=True)
class View(Outputs):
    """Outputs of the tab."""

    sheet: gr.DownloadButton
    native: gr.DownloadButton
    settings: gr.DownloadButton
    run: gr.State


def build(shared: Shared) -> None:
    """Lay out the tab and wire it."""
    if shared.models.default(KIND) is None:
        gr.HTML(no_checkpoint(RECIPES[KIND]), apply_default_css=False)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="vf-inputs"):
            form, buttons = _settings(shared)
        with gr.Column(scale=9, min_width=300, elem_classes="vf-outputs"):
            view = _results(buttons)
    digits_hand.build(shared, form.checkpoint, view.results, view.run)
    _wire_runs(shared, form, view)


def _settings(shared: Shared) -> tuple[Form, Buttons]:
    first = shared.models.default(KIND)
    with gr.Group(elem_classes="vf-card"):
        label = gr.Radio(
            [("All", ALL), *((str(digit), str(digit)) for digit in range(10))],
            value=ALL,
            label="Class",
            elem_classes="vf-classes",
        )
        num_samples = gr.Slider(1, MAX_DIGITS, 8, step=1, label="Count per class")
        temperature = temperature_slider(shared, first)
        seed = Seed.row()
        checkpoint = gr.Dropdown(shared.models.names(KIND), value=first, label="Checkpoint", interactive=True)
    buttons = Buttons.row("Draw", "vf-digits", ready=first is not None)
    checkpoint.change(lambda name: first_temperature(shared, name), checkpoint, temperature, **QUICK)
    return Form(checkpoint, label, num_samples, temperature, seed), buttons


def _results(buttons: Buttons) -> View:
    board = Board.under(buttons, "vf-digits-status")
    results = gr.HTML(
        digits_view.empty(), js_on_load=PICK, apply_default_css=False, elem_id="vf-digits-results"
    )
    with gr.Row(visible=False, elem_classes="vf-downloads") as row:
        sheet = gr.DownloadButton("Sheet (png)", size="sm", min_width=100)
        native = gr.DownloadButton("Digits (npz)", size="sm", min_width=100)
        settings = gr.DownloadButton("Settings (json)", size="sm", min_width=100)
    return View(board, results, row, sheet, native, settings, gr.State(None))


def _wire_runs(shared: Shared, form: Form, view: View) -> None:
    def run(values: Updates, request: gr.Request) -> Iterator[Updates]:
        steps = _steps(shared, form, view, values, str(request.session_hash))
        yield from view.board.reported(shared, (), steps)

    outputs = [*view.components(), *form.components()]
    begun = view.board.buttons.run.click(view.board.waiting, None, outputs, **QUICK)
    wire_runs(shared, view.board, [(begun, run)], form.components(), outputs)


def _steps(shared: Shared, form: Form, view: View, values: Updates, session: str) -> Iterator[Updates]:
    status, seed = view.board.status, form.seed.chosen(values)
    wish = digits_flow.wish(
        values[form.checkpoint], values[form.label], values[form.num_samples], values[form.temperature], seed
    )
    job = digits_flow.Job(wish)
    total = job.total
    with shared.jobs.running(session) as flag:
        yield {
            status: gallery.progress(0, total, "Drawing…", "Digits drawn"),
            form.seed.value: seed,
            **view.board.buttons.working(),
        }
        for _ in digits_flow.advance(shared, job, flag.is_set):
            text = f"Digit {min(job.done + 1, total)} of {total}"
            yield {
                status: gallery.progress(job.done, total, text, "Digits drawn"),
                view.results: digits_view.grid(job.images, job.labels, done=False),
            }
    if job.done == 0:
        stopped = gallery.message("Stopped before the first digit.")
        yield {status: stopped, view.results: digits_view.empty(), **view.board.buttons.idle()}
        return
    yield _finished(view, job, digits_flow.keep(shared, job))


def _finished(view: View, job: digits_flow.Job, run: Run) -> Updates:
    return {
        view.board.status: gallery.message(job.summary(), "done", job.remarks()),
        view.results: digits_view.grid(job.images, job.labels, done=True),
        view.row: gr.update(visible=True),
        view.sheet: str(run.sheet),
        view.native: str(run.native),
        view.settings: str(run.settings),
        view.run: run,
        **view.board.buttons.idle(),
    }


TAB = Tab("Digits", "digits", build)
