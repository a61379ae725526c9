"""The public endpoint /walk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from vflow.errors import VflowError

from . import walk_engine, walk_kinds
from .common import QUEUE, Shared, checkpoint_input, one_line, shown
from .walk_asked import Asked

NAMES = ("grid.png", "walk.mp4", "walk.npz", "settings.json")


def _inputs(shared: Shared) -> dict[str, Any]:
    """Parameter → component."""
    files = ("files", "to", "away", "towards")
    boxes = {name: gr.File(None, label=name, file_count="multiple") for name in files}
    return {
        "files": boxes["files"],
        "to": boxes["to"],
        "checkpoint": checkpoint_input(shared),
        "kind": gr.Textbox("direction", label="kind"),
        "steps": gr.Number(9, label="steps"),
        "direction": gr.Number(0, label="direction"),
        "level": gr.Textbox("-1", label="level"),
        "extent": gr.Number(0, label="extent"),
        "temperature": gr.Number(1, label="temperature"),
        "seed": gr.Number(0, label="seed"),
        "label": gr.Textbox(walk_kinds.LIKELIEST, label="label"),
        "num_frames": gr.Number(8, label="num_frames"),
        "first_sample": gr.Number(0, label="first_sample"),
        "second_sample": gr.Number(1, label="second_sample"),
        "away": boxes["away"],
        "towards": boxes["towards"],
    }


def build(shared: Shared, trigger: gr.Button) -> None:
    """Add the endpoint; its components exist for the types and defaults alone and are never visible."""
    with gr.Group(visible=False):
        inputs = _inputs(shared)
        outputs = [gr.File(label=name) for name in NAMES]

    def walk(
        files: Any = None, to: Any = None, away: Any = None, towards: Any = None, **numbers: Any
    ) -> Iterator[Any]:
        """Walk through latents: all steps (png), a film (mp4), native arrays (npz) and settings (json).

        Settings are those of ``vflow walk``; extent 0 is the usual one of its kind, and ``to`` is where an
        interpolation or a transfer leads.
        """
        asked = Asked(files=files, to=to, away=away, towards=towards, **numbers)
        try:
            job = walk_engine.begin(shared, asked)
            for _ in walk_engine.advance(shared, job, lambda: False):
                yield (gr.skip(),) * len(NAMES)  # a client's cancel() takes effect here
            run = walk_engine.keep(shared, job)
        except VflowError as error:
            raise shown(one_line(shared, error, asked.paths())) from None
        yield str(run.grid), str(run.film), str(run.native), str(run.settings)

    trigger.click(
        walk, None, outputs, inputs_kwargs=inputs, api_name="walk", concurrency_id=QUEUE, concurrency_limit=1
    )
