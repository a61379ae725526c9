"""Surprise: a clip in, and out come the frames and pixels that the model did not expect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from . import gallery, surprise_examples, surprise_flow, surprise_view, upload_box
from .common import Shared, Tab, preview_fps, video_line
from .controls import PICK, QUICK, Board, Buttons, Outputs, Updates, no_checkpoint, wire_runs
from .engine import MAX_SEED
from .models import RECIPES
from .surprise_flow import KIND
from .uploads import paths_of


@dataclass(frozen=True)
class Form:
    """Inputs of the tab."""

    files: gr.File
    checkpoint: gr.Dropdown
    percent: gr.Slider
    seed: gr.Number

    def components(self) -> set[Any]:
        """All of them, as ``inputs`` of an event whose handler takes a dictionary."""
        return set(vars(self).values())


@dataclass(frozen=True)
class View(Outputs):
    """Outputs of the tab."""

    native: gr.DownloadButton
    sheet: gr.DownloadButton
    film: gr.DownloadButton
    settings: gr.DownloadButton


def build(shared: Shared) -> None:
    """Lay out the tab and wire it."""
    if shared.models.default(KIND) is None:
        gr.HTML(no_checkpoint(RECIPES[KIND]), apply_default_css=False)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="vf-inputs"):
            files = upload_box.build("vf-surprise")
            shown = surprise_examples.offered(shared.models.names(KIND))
            strip = gr.HTML(surprise_examples.tiles(shown), js_on_load=PICK, apply_default_css=False)
            form, buttons = _settings(shared, files)
        with gr.Column(scale=9, min_width=300, elem_classes="vf-outputs"):
            view = _results(buttons)
    _wire(shared, form, view, strip)


def _settings(shared: Shared, files: gr.File) -> tuple[Form, Buttons]:
    names = shared.models.names(KIND)
    first = "push" if "push" in names else shared.models.default(KIND)
    with gr.Group(elem_classes="vf-card"):
        checkpoint = gr.Dropdown(
            names, value=first, label="Checkpoint", info=video_line(shared, first), interactive=True
        )
        percent = gr.Slider(
            50,
            99.9,
            99,
            step=0.1,
            label="Flag beyond",
            info="Per cent of validation frames that cost fewer bits.",
        )
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED, min_width=130)
    buttons = Buttons.row("Look", "vf-surprise", ready=first is not None)
    checkpoint.change(lambda name: gr.update(info=video_line(shared, name)), checkpoint, checkpoint, **QUICK)
    return Form(files, checkpoint, percent, seed), buttons


def _results(buttons: Buttons) -> View:
    board = Board.under(buttons, "vf-surprise-status")
    results = gr.HTML(surprise_view.empty(), apply_default_css=False, elem_id="vf-surprise-results")
    with gr.Row(visible=False, elem_classes="vf-downloads") as row:
        native = gr.DownloadButton("Maps (npz)", size="sm", min_width=100)
        sheet = gr.DownloadButton("Sheet (png)", size="sm", min_width=100)
        film = gr.DownloadButton("Film (mp4)", size="sm", min_width=100)
        settings = gr.DownloadButton("Settings (json)", size="sm", min_width=100)
    return View(board, results, row, native, sheet, film, settings)


def _wire(shared: Shared, form: Form, view: View, strip: gr.HTML) -> None:
    """Two ways into the queue: Look, and an example."""

    def run(values: Updates, request: gr.Request) -> Iterator[Updates]:
        files = paths_of(values[form.files])
        steps = _steps(shared, form, view, values, str(request.session_hash))
        yield from view.board.reported(shared, files, steps)

    def load_example(event: gr.EventData) -> Updates:
        names = shared.models.names(KIND)
        example = surprise_examples.offered(names)[int(event.index)]
        return {
            form.files: surprise_examples.copied(example, shared),
            form.checkpoint: example.checkpoint if example.checkpoint in names else gr.skip(),
            **view.board.waiting(),
        }

    outputs = [*view.components(), *form.components()]
    ways = [
        (view.board.buttons.run.click(view.board.waiting, None, outputs, **QUICK), run),
        (strip.select(load_example, None, outputs, **QUICK), run),
    ]
    wire_runs(shared, view.board, ways, form.components(), outputs)


def _steps(shared: Shared, form: Form, view: View, values: Updates, session: str) -> Iterator[Updates]:
    status, name = view.board.status, values[form.checkpoint]
    wish = surprise_flow.wish(name, paths_of(values[form.files]), values[form.percent], values[form.seed])
    with shared.jobs.running(session) as flag:
        reading = gallery.progress(0, 1, "Reading the frames…", "Frames scored")
        yield {status: reading, **view.board.buttons.working()}
        job = surprise_flow.begin(shared, wish)
        for _ in surprise_flow.advance(job, flag.is_set):
            text = f"Frame {min(job.done + 1, job.total)} of {job.total}"
            yield {status: gallery.progress(job.done, job.total, text, "Frames scored")}
    ordering = gallery.progress(job.done, job.total, "Trying frames in other places…", "Frames scored")
    yield {status: ordering, view.board.buttons.stop: gr.update(interactive=False)}
    found, run = surprise_flow.finish(shared, job)
    yield {
        status: gallery.message(job.summary(), "done", job.remarks()),
        view.results: surprise_view.player(found, run.folder.name, preview_fps(shared, name)),
        view.row: gr.update(visible=True),
        view.native: str(run.native),
        view.sheet: str(run.sheet),
        view.film: str(run.film),
        view.settings: str(run.settings),
        **view.board.buttons.idle(),
    }


TAB = Tab("Surprise", "surprise", build)
