"""Section of Predict in which a person teaches a model their own film."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from vflow.catalog import AUTO
from vflow.errors import VflowError

from ..shared.context import AppContext, to_gradio_error
from ..shared.events import QUICK, html_block
from ..shared.forms import paths_of
from ..shared.html import message, png_uri, progress
from .job import MOST_MINUTES, Run, Teacher, View, look, verdict

POLL = 2.0
"""Seconds between looks at a run."""
PROGRESS = "Progress of teaching"
INTRODUCTION = (
    "One long film or several clips; a part is kept back, to test at the end what was learned. The model is "
    "yours alone: choose it above, or download it. It is deleted within the hour."
)


def build(app: AppContext, checkpoint: gr.Dropdown, *families: str) -> None:
    """Lay out the section; ``checkpoint``, a choice of ``families``, gets the taught model."""
    teacher = Teacher(app)
    with gr.Accordion("Teach it your own film", open=False, elem_id="vf-teach"):
        gr.Markdown(INTRODUCTION)
        files = gr.File(
            label="Clips to learn from", file_count="multiple", height=110, elem_id="vf-teach-files"
        )
        first = gr.Dropdown(
            [AUTO, *app.models.names("videoflow")], value=AUTO, label="Start from",
            info="auto takes what suits the clips.", elem_id="vf-teach-first", interactive=True,
        )  # fmt: skip
        minutes = gr.Slider(1, MOST_MINUTES, 10, step=1, label="Minutes of training")
        with gr.Row():
            start = gr.Button("Teach", variant="primary", elem_id="vf-teach-start")
            stop = gr.Button("Stop, keep the best", elem_id="vf-teach-stop", interactive=False)
        status = html_block("", "vf-teach-status")
        download = gr.DownloadButton("Taught model (zip)", visible=False, elem_id="vf-teach-zip")
    run, timer = gr.State(None), gr.Timer(POLL, active=False)

    def begin(paths: Any, wanted: Any, name: Any) -> tuple[Any, ...]:
        listed = paths_of(paths)
        try:
            begun = teacher.start(listed, wanted, name)
        except VflowError as error:
            raise to_gradio_error(app.error_message(error, listed)) from None
        waiting = progress(0, 1, "Reading the film…", PROGRESS)
        return Handle(begun), waiting, gr.Timer(active=True), *_buttons(busy=True), gr.update(visible=False)

    def poll(handle: Handle | None) -> tuple[Any, ...]:
        if handle is None:
            return gr.update(), gr.Timer(active=False), *_buttons(busy=False), gr.update(), gr.update()
        if handle.run.alive:
            return _live(look(handle.run)), *(gr.update() for _ in range(5))
        packed, choice = teacher.finish(handle.run), gr.update()
        if packed:
            choice = gr.update(choices=[*app.models.names(*families), handle.run.name], value=handle.run.name)
        shown = gr.update(value=str(packed) if packed else None, visible=packed is not None)
        text = _ended(look(handle.run), verdict(handle.run), taught=packed is not None)
        return text, gr.Timer(active=False), *_buttons(busy=False), shown, choice

    def halt(handle: Handle | None) -> str:
        if handle is not None:
            handle.run.stop()
        return message("Stopping after this step…")

    outputs = [status, timer, start, stop, download]
    start.click(begin, [files, minutes, first], [run, *outputs], **QUICK)
    stop.click(halt, run, status, **QUICK)
    timer.tick(poll, run, [*outputs, checkpoint], **QUICK)


class Handle:
    """A run as a session's state holds it, which gradio copies: copies are the same run."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def __deepcopy__(self, memo: Any) -> Handle:
        return self


def _buttons(*, busy: bool) -> tuple[Any, Any]:
    return gr.update(interactive=not busy), gr.update(interactive=busy)


def _live(view: View) -> str:
    if not view.done:
        return progress(0, 1, view.text or "Reading the film…", PROGRESS)
    words = [f"{view.left} left" if view.done < view.total else "testing it on the film kept back"]
    if view.last is not None:
        words.append(f"surprise {view.last:.3f} bits/dim")
    done = min(view.done, view.total)
    return progress(done, round(view.total), " · ".join(words), PROGRESS) + _looks(view)


def _looks(view: View) -> str:
    """Bits of held-out film so far, and the picture of truth beside futures."""
    text = ""
    if view.bits:
        values = " → ".join(f"{bits:.3f}" for bits in view.bits.values())
        text += f"<p>Surprise at the film kept back, in bits per dimension: {values}</p>"
    if view.picture is not None:
        alternative = "Film kept back: what happened, and below it futures of its first frames"
        text += (
            f'<img class="vf-teach-picture" src="{png_uri(view.picture)}" alt="{alternative}">'
            "<p>Above: what happened. Below: futures.</p>"
        )
    return text


def _ended(view: View, words: list[str], *, taught: bool) -> str:
    notes = "".join(f"<p>{escape(line)}</p>" for line in words[:-1])
    last = words[-1] if words else "The run ended without a model."
    return message(last, "done" if taught else "error") + notes + _looks(view)
