"""The public endpoint /generate_digits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from vflow.errors import VflowError

from . import digits_flow
from .common import QUEUE, Shared, checkpoint_input, one_line, shown
from .digits_flow import ALL, KIND


def build(shared: Shared, trigger: gr.Button) -> None:
    """Add the endpoint; its components exist for the types and defaults alone and are never visible."""
    with gr.Group(visible=False):
        inputs = [
            gr.Textbox(ALL, label="label"),
            checkpoint_input(shared, KIND),
            gr.Number(8, label="num_samples"),
            gr.Number(1.0, label="temperature"),
            gr.Number(0, label="seed"),
        ]
        outputs = [gr.File(label=name) for name in ("digits.npz", "digits.png", "settings.json")]

    def generate_digits(
        label: str, checkpoint: str, num_samples: float, temperature: float, seed: float
    ) -> Iterator[Any]:
        """Draw digits of a class, or of "all": arrays (npz), a sheet (png) and settings (json)."""
        try:
            job = digits_flow.Job(digits_flow.wish(checkpoint, label, num_samples, temperature, seed))
            for _ in digits_flow.advance(shared, job, lambda: False):
                yield gr.skip(), gr.skip(), gr.skip()  # a client's cancel() takes effect here
            run = digits_flow.keep(shared, job)
        except VflowError as error:
            raise shown(one_line(shared, error)) from None
        yield str(run.native), str(run.sheet), str(run.settings)

    trigger.click(
        generate_digits,
        inputs,
        outputs,
        api_name="generate_digits",
        concurrency_id=QUEUE,
        concurrency_limit=1,
    )
