"""One hand, ten digits: a digit is drawn, uploaded or picked, and shown under all ten classes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from vflow.data import media
from vflow.errors import InputError, VflowError
from vflow.pipelines.digits.digits import classify, restyle
from vflow.pipelines.digits.preprocess import prepare_digit

from . import digits_view, examples, gallery
from .common import Shared, one_line, shown
from .controls import PICK, QUEUED, TOLD, Updates
from .digits_flow import KIND, Run

LEAD = (
    "<h2>One hand, ten digits</h2>"
    '<p class="vf-lead">The style of a digit lives in the latent code, its class outside: '
    "encode it as what it is, decode it as all ten.</p>"
)


@dataclass(frozen=True)
class Digit:
    """What was given: the prepared picture, uint8 (28, 28), where it is from, and its class if known."""

    image: np.ndarray
    source: str
    label: int | None = None


@dataclass(frozen=True)
class Strip:
    """Components of the strip."""

    label: gr.Dropdown
    status: gr.HTML
    prepared: gr.HTML
    tens: gr.HTML
    digit: gr.State


def build(shared: Shared, checkpoint: gr.Dropdown, grid: gr.HTML, run: gr.State) -> None:
    """Lay out the strip below the grid ``grid``, whose digits can be picked, and wire it."""
    with gr.Column(elem_classes="vf-hand"):
        gr.HTML(LEAD, apply_default_css=False)
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=250):
                pad = gr.HTML(digits_view.pad(), js_on_load=TOLD, apply_default_css=False, elem_id="vf-pad")
                upload = gr.UploadButton("Upload a picture", size="sm", min_width=120)
                tiles = examples.picture_tiles(
                    examples.DIGITS, "Or take an example", "Show as all ten", "vf-try-digit"
                )
                strip_examples = gr.HTML(tiles, js_on_load=PICK, apply_default_css=False)
            with gr.Column(scale=2, min_width=170):
                prepared = gr.HTML("", apply_default_css=False, elem_id="vf-prepared")
                label = gr.Dropdown(
                    [(str(digit), digit) for digit in range(10)],
                    value=None,
                    label="It is a",
                    info="Bayes’ rule proposes.",
                    interactive=True,
                    visible=False,
                )
            with gr.Column(scale=6, min_width=300):
                status = gr.HTML(
                    "", apply_default_css=False, elem_id="vf-hand-status", elem_classes="vf-status-line"
                )
                tens = gr.HTML(digits_view.ghost_strip(), apply_default_css=False, elem_id="vf-tens")
    strip = Strip(label, status, prepared, tens, gr.State(None))
    _wire(shared, checkpoint, strip, Ways(pad, upload, strip_examples, grid, run))


@dataclass(frozen=True)
class Ways:
    """Where a digit comes from: the pad, an upload, an example, the grid (whose digits ``run`` holds)."""

    pad: gr.HTML
    upload: gr.UploadButton
    examples: gr.HTML
    grid: gr.HTML
    run: gr.State


def _wire(shared: Shared, checkpoint: gr.Dropdown, strip: Strip, ways: Ways) -> None:
    def drawn(values: Updates, event: gr.EventData) -> Iterator[Updates]:
        yield from show(values, lambda: _from_pad(str(event.ink)))

    def uploaded(values: Updates) -> Iterator[Updates]:
        path = str(values[ways.upload])
        yield from show(values, lambda: _from_file(path), [path])

    def example(values: Updates, event: gr.EventData) -> Iterator[Updates]:
        name = list(examples.DIGITS.values())[int(event.index)]
        yield from show(values, lambda: _from_file(str(examples.FOLDER / name)))

    def picked(values: Updates, event: gr.EventData) -> Iterator[Updates]:
        yield from show(values, lambda: _from_run(values[ways.run], int(event.index)))

    def show(values: Updates, take: Callable[[], Digit], files: Sequence[str] = ()) -> Iterator[Updates]:
        steps = _shown(shared, strip, values[checkpoint], take)
        yield from _reported(shared, strip, steps, files)

    def relabelled(values: Updates) -> Iterator[Updates]:
        digit, label = values[strip.digit], values[strip.label]
        if digit is not None and label is not None:
            steps = _restyled(shared, strip, values[checkpoint], digit, int(label))
            yield from _reported(shared, strip, steps)

    inputs = {checkpoint, ways.run, ways.upload, strip.digit, strip.label}
    outputs = list(vars(strip).values())
    last: dict[str, Any] = {**QUEUED, "trigger_mode": "always_last", "show_progress_on": strip.status}
    ways.pad.select(drawn, inputs, outputs, **last)
    ways.upload.upload(uploaded, inputs, outputs, **last)
    ways.examples.select(example, inputs, outputs, **last)
    ways.grid.select(picked, inputs, outputs, **last)
    strip.label.input(relabelled, inputs, outputs, **last)


def _from_pad(ink: str) -> Digit:
    """The drawing: one byte of ink per pixel, in base64."""
    side = digits_view.PAD_SIDE
    try:
        pixels = np.frombuffer(base64.b64decode(ink, validate=True), np.uint8).reshape(side, side)
    except (binascii.Error, ValueError) as error:
        raise InputError("the drawing did not arrive whole; draw again") from error
    return Digit(prepare_digit(pixels, "drawing"), "Your drawing")


def _from_file(path: str) -> Digit:
    clip = media.read_image(path)
    return Digit(prepare_digit(clip.frames[0], clip.source), clip.source)


def _from_run(run: Run | None, index: int) -> Digit:
    if run is None:
        raise InputError("no digits drawn yet; press Draw")
    image, label = run.sample(index)
    return Digit(image, f"Digit {label} from above", label)


def _shown(shared: Shared, strip: Strip, name: str | None, take: Callable[[], Digit]) -> Iterator[Updates]:
    yield {strip.status: gallery.message("Reading the digit…")}
    digit = take()
    shares = classify(shared.models.load(name, KIND), digit.image)
    likely = [(int(label), float(shares[label])) for label in np.argsort(-shares)[:3]]
    label = likely[0][0] if digit.label is None else digit.label
    yield {
        strip.digit: digit,
        strip.prepared: digits_view.prepared(digit.image, digit.source, likely),
        strip.label: gr.update(visible=True, value=label),
    }
    yield from _restyled(shared, strip, name, digit, label)


def _restyled(shared: Shared, strip: Strip, name: str | None, digit: Digit, label: int) -> Iterator[Updates]:
    images = restyle(shared.models.load(name, KIND), digit.image, label)
    text = f"{digit.source}, taken as a {label}"
    yield {strip.tens: digits_view.tens(images, label), strip.status: gallery.message(text, "done")}


def _reported(
    shared: Shared, strip: Strip, steps: Iterator[Updates], files: Sequence[str] = ()
) -> Iterator[Updates]:
    """``steps``; an expected failure stays readable in the strip's status and shows as a toast."""
    try:
        yield from steps
    except VflowError as error:
        text = one_line(shared, error, files)
        yield {strip.status: gallery.message(text, "error")}
        raise shown(text) from None
