"""Restyling: a digit is drawn, uploaded or picked, and its style shown under all ten classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from vflow.data import media
from vflow.errors import InputError, VflowError
from vflow.pipelines.digits.digits import classify, restyle
from vflow.pipelines.digits.preprocess import prepare_digit

from ..shared import examples
from ..shared.context import AppContext, to_gradio_error
from ..shared.events import (
    ON_CLICK,
    ON_PAYLOAD,
    QUICK,
    ComponentGroup,
    NewestPayload,
    NewestWins,
    ShouldStop,
    Steps,
    Trigger,
    Updates,
    Work,
    html_block,
    status_line,
)
from ..shared.fit import digit_warning
from ..shared.html import message
from ..shared.pad import drawing_pad, read_ink
from ..shared.turns import Turn
from . import html
from .job import FAMILY, Result

LEAD = (
    "<h2>One handwriting, ten digits</h2>"
    '<p class="vf-lead">The model keeps the style of a digit apart from its class: '
    "it reads yours, then writes all ten in the same hand.</p>"
)


@dataclass(frozen=True)
class Digit:
    """A prepared picture, uint8 (28, 28), its source in words, its class if known, and a warning if any."""

    image: np.ndarray
    source: str
    label: int | None = None
    warning: str = ""


@dataclass(frozen=True)
class Sources(ComponentGroup):
    """Sources of a digit: the pad, an upload, an example, the grid (whose digits ``result`` holds)."""

    pad: gr.HTML
    upload: gr.UploadButton
    examples: gr.HTML
    grid: gr.HTML
    result: gr.State


@dataclass(frozen=True)
class Panel(ComponentGroup):
    """Outputs of the panel; ``digit`` is the one shown."""

    label: gr.Dropdown
    status: gr.HTML
    prepared: gr.HTML
    all_ten: gr.HTML
    digit: gr.State

    def nothing(self) -> Updates:
        """Updates to a panel without a digit; the status stays."""
        return {
            self.digit: None,
            self.prepared: "",
            self.label: gr.update(visible=False),
            self.all_ten: html.empty_panel(),
        }


def build(app: AppContext, checkpoint: gr.Dropdown, grid: gr.HTML, result: gr.State) -> None:
    """Lay out the panel below the grid of digits, which can be picked, and wire it."""
    with gr.Column(elem_classes="vf-restyle"):
        html_block(LEAD)
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=250):
                pad = html_block(
                    drawing_pad("vf-pad", "Drawing pad for a digit", "Draw a digit"),
                    "vf-pad",
                    js_on_load=ON_PAYLOAD,
                )
                upload = gr.UploadButton("Upload an image", size="sm", min_width=120)
                heading = "Or take an example"
                strip = examples.picture_strip(
                    examples.DIGITS, heading, "Show as all ten digits", "vf-try-digit"
                )
                tiles = html_block(strip, js_on_load=ON_CLICK)
            with gr.Column(scale=2, min_width=170):
                prepared = html_block("", "vf-prepared")
                label = gr.Dropdown(
                    [(str(digit), digit) for digit in range(10)],
                    value=None,
                    label="Read as",
                    info="The likeliest digit; change it if it is wrong.",
                    interactive=True,
                    visible=False,
                )
            with gr.Column(scale=6, min_width=300):
                status = status_line("", "vf-restyle-status")
                all_ten = html_block(html.empty_panel(), "vf-tens")
    panel = Panel(label, status, prepared, all_ten, gr.State(None))
    _wire(app, checkpoint, panel, Sources(pad, upload, tiles, grid, result))


def _wire(app: AppContext, checkpoint: gr.Dropdown, panel: Panel, sources: Sources) -> None:
    def reading(values: Updates, event: gr.EventData) -> Updates:
        return {panel.status: message("Reading the digit…")}

    def showing(take: Callable[[Updates, gr.EventData], Digit], turn: Turn = Turn.COMPUTE) -> Work:
        """Show the digit that ``take`` finds, in a turn of its own."""

        def work(values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
            yield turn
            steps = _new_digit(app, panel, values[checkpoint], lambda: take(values, event))
            yield from _with_errors(app, panel, [str(values[sources.upload])], steps)

        return work

    def relabel(values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        digit, label = values[panel.digit], values[panel.label]
        if digit is not None and label is not None:
            yield Turn.COMPUTE
            steps = _restyled(app, panel, values[checkpoint], digit, int(label))
            yield from _with_errors(app, panel, (), steps)

    def example_file(event: gr.EventData) -> str:
        return str(examples.picture_file(examples.DIGITS, int(event.index)))

    def read_drawing(values: Updates, event: gr.EventData) -> Updates:
        values[drawn].take(event, str(event.ink))
        return reading(values, event) if values[drawn].value else {}

    def drawing(values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        if ink := values[drawn].value:
            yield from showing(lambda *_: _from_ink(app, values[checkpoint], ink))(values, event, should_stop)

    drawn = gr.State(NewestPayload())
    uploaded = showing(
        lambda values, event: _from_file(app, values[checkpoint], str(values[sources.upload])), Turn.READ
    )
    example = showing(lambda values, event: _from_file(app, values[checkpoint], example_file(event)))
    picked = showing(lambda values, event: _from_grid(values[sources.result], int(event.index)))
    newest = NewestWins(app, "restyle", panel.status)
    inputs = [checkpoint, sources.result, sources.upload, drawn, *panel.components()]
    for trigger in (
        Trigger(sources.pad.select, drawing, read_drawing),
        Trigger(sources.upload.upload, uploaded, reading),
        Trigger(sources.examples.select, example, reading),
        Trigger(sources.grid.select, picked, reading),
        Trigger(panel.label.input, relabel),
    ):
        newest.add(trigger, inputs, panel.components())
    sources.pad.input(_dropping(newest), drawn, panel.status, trigger_mode="multiple", **QUICK)


def _dropping(jobs: NewestWins) -> Callable[..., Any]:
    """Answer to a change of the pad: it does not show the drawing that was sent any more."""

    def drop(sent: NewestPayload, event: gr.EventData, request: gr.Request) -> Any:
        if not sent.take(event):
            return gr.skip()
        jobs.discard(request)
        return "" if event.action == "cleared" else message("Reads the drawing once the pen rests.")

    return drop


def _from_ink(app: AppContext, name: str | None, ink: str) -> Digit:
    """The drawing: one byte of ink per pixel, in base64."""
    return _judged(app, name, read_ink(ink)[None, ..., None], "drawing", "Your drawing")


def _from_file(app: AppContext, name: str | None, path: str) -> Digit:
    clip = media.read_image(path)
    return _judged(app, name, clip.frames, clip.source, clip.source)


def _judged(app: AppContext, name: str | None, frames: np.ndarray, source: str, told: str) -> Digit:
    """The digit of a picture, uint8 (1, H, W, C), which errors call ``source`` and the page ``told``."""
    return Digit(prepare_digit(frames[0], source), told, warning=digit_warning(app, name, frames))


def _from_grid(result: Result | None, index: int) -> Digit:
    if result is None:
        raise InputError("no digits drawn yet; press Draw")
    image, label = result.digit(index)
    return Digit(image, f"Digit {label} from above", label)


def _new_digit(app: AppContext, panel: Panel, name: str | None, take: Callable[[], Digit]) -> Steps:
    try:
        digit = take()
    except VflowError:
        yield panel.nothing()
        raise
    yield Turn.COMPUTE
    probabilities = classify(app.models.load(name, FAMILY), digit.image)
    likeliest = [(int(label), float(probabilities[label])) for label in np.argsort(-probabilities)[:3]]
    label = likeliest[0][0] if digit.label is None else digit.label
    yield {
        panel.digit: digit,
        panel.prepared: html.prepared(digit.image, digit.source, likeliest),
        panel.label: gr.update(visible=True, value=label),
    }
    yield from _restyled(app, panel, name, digit, label)


def _restyled(app: AppContext, panel: Panel, name: str | None, digit: Digit, label: int) -> Steps:
    images = restyle(app.models.load(name, FAMILY), digit.image, label)
    text = f"{digit.source}, read as {label}"
    told = message(text, "amber", [digit.warning]) if digit.warning else message(text, "done")
    yield {panel.all_ten: html.all_ten(images, label), panel.status: told}


def _with_errors(app: AppContext, panel: Panel, files: Sequence[str], steps: Steps) -> Steps:
    """``steps``; an expected failure stays readable in the panel's status and shows as a toast."""
    try:
        yield from steps
    except VflowError as error:
        text = app.error_message(error, files)
        yield {panel.all_ten: html.empty_panel(), panel.status: message(text, "error")}
        raise to_gradio_error(text) from None
