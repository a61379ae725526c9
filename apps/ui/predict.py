"""Predict: frames in, many futures out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from . import engine, examples, flow, gallery, upload_box
from .common import Shared, Tab, preview_fps, video_line
from .controls import PICK, QUICK, Board, Buttons, Seed, Updates, no_checkpoint, wire_runs
from .flow import Downloads, Draw, Flow, Form, View
from .models import RECIPES
from .temperature import BESIDE_LEVELS, levels_box, suggested_temperature, temperature_slider


def build(shared: Shared) -> None:
    """Lay out the tab and wire it."""
    if shared.models.default("videoflow") is None:
        gr.HTML(no_checkpoint(RECIPES["videoflow"]), apply_default_css=False)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="vf-inputs"):
            files = upload_box.build("vf")
            strip = _examples(shared)
            form, buttons = _settings(shared, files)
        with gr.Column(scale=9, min_width=300, elem_classes="vf-outputs"):
            view = _results(buttons)
    _wire_runs(shared, form, view, strip)


def _examples(shared: Shared) -> gr.HTML:
    shown = examples.offered(shared.models.names("videoflow"))
    return gr.HTML(examples.tiles(shown), js_on_load=PICK, apply_default_css=False)


def _settings(shared: Shared, files: gr.File) -> tuple[Form, Buttons]:
    first = shared.models.default("videoflow")
    with gr.Group(elem_classes="vf-card"):
        checkpoint = gr.Dropdown(
            shared.models.names("videoflow"),
            value=first,
            label="Checkpoint",
            info=video_line(shared, first),
            interactive=True,
        )
        with gr.Row():
            num_samples = gr.Slider(1, engine.MAX_FUTURES, 8, step=1, label="Futures", min_width=130)
            num_frames = gr.Slider(1, engine.MAX_FRAMES, 8, step=1, label="Frames", min_width=130)
        one = temperature_slider(shared, first, BESIDE_LEVELS)
        seed = Seed.row()
    buttons = Buttons.row("Predict", "vf", ready=first is not None)
    with gr.Accordion("Advanced", open=False):
        levels = levels_box(shared, first, one, "what guides a frame")
        fps = gr.Slider(1, 30, preview_fps(shared, first), step=1, label="Preview frames per second")

    def chosen(name: str | None, typed: str) -> tuple[Any, float, float, Any]:
        line = gr.update(info=video_line(shared, name))
        return line, preview_fps(shared, name), *suggested_temperature(shared, name, typed)

    checkpoint.change(chosen, [checkpoint, levels], [checkpoint, fps, one, levels], **QUICK)
    draw = Draw(num_samples, num_frames, one, levels, seed)
    return Form(files, checkpoint, draw, fps), buttons


def _results(buttons: Buttons) -> View:
    board = Board.under(buttons, "vf-status")
    results = gr.HTML(gallery.empty(), js_on_load=PICK, apply_default_css=False, elem_id="vf-results")
    with gr.Row(visible=False, elem_classes="vf-downloads") as row:
        native = gr.DownloadButton("Frames (npz)", size="sm", min_width=100)
        archive = gr.DownloadButton("Previews (zip)", size="sm", min_width=100)
        settings = gr.DownloadButton("Settings (json)", size="sm", min_width=100)
    return View(board, results, Downloads(row, native, archive, settings), gr.State(None))


def _wire_runs(shared: Shared, form: Form, view: View, strip: gr.HTML) -> None:
    """Three ways into the same queue: Predict, an example, Continue."""
    index = gr.State(0)  # of the future to go on from: an event's data reaches only its first handler

    def run(values: Updates, request: gr.Request) -> Iterator[Updates]:
        yield from Flow(shared, form, view, str(request.session_hash)).predict(values)

    def go_on(values: Updates, request: gr.Request) -> Iterator[Updates]:
        yield from Flow(shared, form, view, str(request.session_hash)).go_on(values, values[index])

    def choose(event: gr.EventData) -> Updates:
        return {index: int(event.index), **view.board.waiting()}

    def load_example(event: gr.EventData) -> Updates:
        return {**flow.example(shared, form, int(event.index)), **view.board.waiting()}

    inputs = form.components() | {view.run, index}
    outputs = [*view.components(), *form.components(), index]
    ways = [
        (view.board.buttons.run.click(view.board.waiting, None, outputs, **QUICK), run),
        (strip.select(load_example, None, outputs, **QUICK), run),
        (view.results.select(choose, None, outputs, **QUICK), go_on),
    ]
    wire_runs(shared, view.board, ways, inputs, outputs)


TAB = Tab("Predict", "predict", build)
