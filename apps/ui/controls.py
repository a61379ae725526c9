"""What the tabs' forms have in common: Run and Stop, the seed, events, and how a failure is told."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from vflow.errors import VflowError

from . import gallery
from .common import QUEUE, Shared, one_line, shown
from .engine import MAX_SEED

Updates = dict[Any, Any]  # component → new value or gr.update, as gradio takes it

# Buttons inside gr.HTML report which one was clicked; `select`, or the event that the button names, then
# carries index and action to Python.
PICK = """element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-index]');
  if (!button) return;
  const {index, action, event: name} = button.dataset;
  trigger(name || 'select', {index: Number(index), action: action || ''});
});"""
# Scripts of the page tell a component of other things; the event is named in the same way.
SAVE = "watch('value', () => element.querySelector('a')?.click());"  # follows a link as soon as it is there
TOLD = "element.addEventListener('vf-told', ({detail}) => trigger(detail.event || 'select', detail));"
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
QUICK: dict[str, Any] = {**PRIVATE, "queue": False}
QUEUED: dict[str, Any] = {
    "api_visibility": "private",
    "show_progress": "minimal",  # place in the queue and seconds; the work itself shows in the status
    "concurrency_id": QUEUE,
    "concurrency_limit": 1,
}


def no_checkpoint(recipe: str) -> str:
    """What a tab says that has no model: how to train one with the preset ``recipe``."""
    return (
        '<div class="vf-banner" role="note"><p><strong>No trained model yet.</strong> '
        "Train the smallest one, then start the app again:</p>"
        f"<code>vflow train --config {recipe} --output runs/{recipe.removesuffix('-small')}</code>"
        "<p>Models of your own: <code>vflow app --checkpoints FOLDER</code></p></div>"
    )


@dataclass(frozen=True)
class Seed:
    """The seed and whether each run draws a new one."""

    value: gr.Number
    randomise: gr.Checkbox

    @classmethod
    def row(cls) -> Seed:
        """Both, side by side."""
        with gr.Row():
            value = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED, min_width=130)
            again = gr.Checkbox(False, label="Randomise", info="A new seed each time.", min_width=130)
        return cls(value, again)

    def chosen(self, values: Updates) -> float:
        """The seed to use, given the form's ``values``."""
        return secrets.randbelow(MAX_SEED) if values[self.randomise] else values[self.value]


@dataclass(frozen=True)
class Buttons:
    """Run and Stop; ``stop`` (a running job) and ``leave`` (a queued one) share one place."""

    run: gr.Button
    stop: gr.Button
    leave: gr.Button

    @classmethod
    def row(cls, label: str, prefix: str, *, ready: bool) -> Buttons:
        """All three in a row; their ids begin with ``prefix``, and without a model Run is off."""
        with gr.Row(elem_classes="vf-actions"):
            run = gr.Button(
                label,
                variant="primary",
                scale=2,
                min_width=120,
                interactive=ready,
                elem_id=f"{prefix}-{label.split()[0].lower()}",
            )
            stop = gr.Button(
                "Stop", variant="stop", min_width=90, interactive=False, elem_id=f"{prefix}-stop"
            )
            leave = gr.Button("Stop", variant="stop", min_width=90, visible=False, elem_id=f"{prefix}-leave")
        return cls(run, stop, leave)

    def waiting(self) -> Updates:
        """After a click, until this job's turn: leaving the queue is what Stop does."""
        return {
            self.run: gr.update(interactive=False),
            self.stop: gr.update(visible=False),
            self.leave: gr.update(visible=True),
        }

    def working(self) -> Updates:
        """This job's turn has come: Stop ends it after the step it is at and keeps what there is."""
        return {self.leave: gr.update(visible=False), self.stop: gr.update(visible=True, interactive=True)}

    def idle(self) -> Updates:
        """Nothing runs."""
        return {
            self.run: gr.update(interactive=True),
            self.stop: gr.update(visible=True, interactive=False),
            self.leave: gr.update(visible=False),
        }


@dataclass(frozen=True)
class Board:
    """A tab's status line and buttons."""

    status: gr.HTML
    buttons: Buttons

    @classmethod
    def under(cls, buttons: Buttons, identifier: str) -> Board:
        """A status line of its own for ``buttons``."""
        line = gr.HTML(
            gallery.message("Ready."),
            apply_default_css=False,
            elem_id=identifier,
            elem_classes="vf-status-line",
            min_height=28,
        )
        return cls(line, buttons)

    def components(self) -> list[Any]:
        """All of them, as ``outputs`` of an event."""
        return [self.status, *vars(self.buttons).values()]

    def waiting(self) -> Updates:
        """The person has clicked; the job stands in the queue."""
        return {self.status: gallery.message("Waiting for the model…"), **self.buttons.waiting()}

    def left(self) -> Updates:
        """The person left the queue."""
        return {self.status: gallery.message("Stopped before it began."), **self.buttons.idle()}

    def reported(self, shared: Shared, files: Sequence[str], steps: Iterator[Updates]) -> Iterator[Updates]:
        """``steps``; a failure stays readable in the status line, an expected one shows as a toast too."""
        try:
            yield from steps
        except VflowError as error:
            text = one_line(shared, error, files)
            yield self._failed(text)
            raise shown(text) from None
        except Exception:
            yield self._failed("Something went wrong on the server; its log says more.")
            raise

    def _failed(self, text: str) -> Updates:
        return {self.status: gallery.message(text, "error"), **self.buttons.idle()}


@dataclass(frozen=True)
class Outputs:
    """What a tab's events change: its board, the results, the row of downloads, and what a tab adds."""

    board: Board
    results: gr.HTML
    row: gr.Row

    def components(self) -> list[Any]:
        """All of them, as ``outputs`` of an event."""
        parts = [part for name, part in vars(self).items() if name != "board"]
        return [*self.board.components(), *parts]


Way = tuple[Any, Callable[..., Any]]
"""An event that has marked a job as waiting, and the work, which yields updates."""


def wire_runs(
    shared: Shared, board: Board, ways: Sequence[Way], inputs: Any, outputs: Any, edits: Sequence[Way] = ()
) -> None:
    """Ways into the queue and the two ways out of it.

    Args:
        ways: while a job of one of them runs or waits, the same event does nothing.
        edits: of these the last event counts, so that no change goes lost while a job runs.
    """

    def stop(request: gr.Request) -> None:
        shared.jobs.stop(str(request.session_hash))

    modes = [*((*way, "once") for way in ways), *((*way, "always_last") for way in edits)]
    jobs = [
        begun.then(work, inputs, outputs, show_progress_on=board.status, trigger_mode=mode, **QUEUED)
        for begun, work, mode in modes
    ]
    for job in jobs:
        job.then(board.buttons.idle, None, outputs, **QUICK)
    board.buttons.stop.click(stop, None, None, **QUICK)
    board.buttons.leave.click(board.left, None, outputs, cancels=jobs, **QUICK)
