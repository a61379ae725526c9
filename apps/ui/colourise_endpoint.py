"""The public endpoint /colorize."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from vflow.errors import VflowError
from vflow.pipelines.color.hints import Hint, parse_hint

from . import colourise_files, colourise_flow
from .colourise_files import Coloured
from .colourise_flow import KIND, Wish
from .common import QUEUE, Shared, checkpoint_input, one_line, shown
from .uploads import paths_of


def build(shared: Shared, trigger: gr.Button) -> None:
    """Add the endpoint."""
    inputs, outputs = _components(shared)

    def colorize(
        files: list[str],
        checkpoint: str,
        num_samples: float,
        temperature: float,
        strength: float,
        seed: float,
        hints: str,
        level_temperatures: str,
    ) -> Iterator[Any]:
        """Colour photos: a folder of variants for each (zip), and settings (json).

        Hints are "x,y,#rrggbb", with x and y from 0 to 1, separated by semicolons; they hold for every photo.
        Temperatures per level, fine to coarse and separated by commas, count instead of the one for all.
        """
        paths, made = paths_of(files), list[Coloured]()
        try:
            settings = colourise_flow.settings_from(
                num_samples, temperature, level_temperatures, seed, _hints(hints), strength=strength
            )
            wishes = [Wish(checkpoint, path, settings) for path in paths]
            with shared.runs.job() as folder:
                for _ in _steps(shared, folder, wishes, made):
                    yield gr.skip(), gr.skip()  # a client's cancel() takes effect here
                record = colourise_flow.save_record(shared, made[0], settings.strength)
        except VflowError as error:
            raise shown(one_line(shared, error, paths)) from None
        yield str(_archive(made)), str(record)

    trigger.click(colorize, inputs, outputs, api_name="colorize", concurrency_id=QUEUE, concurrency_limit=1)


def _components(shared: Shared) -> tuple[list[Any], list[Any]]:
    """Inputs and outputs; they exist for types and defaults alone and are never visible."""
    with gr.Group(visible=False):
        inputs = [
            gr.File(label="files", file_count="multiple"),
            checkpoint_input(shared, KIND),
            gr.Number(8, label="num_samples"),
            gr.Number(1.0, label="temperature"),
            gr.Number(1.0, label="strength"),
            gr.Number(0, label="seed"),
            gr.Textbox("", label="hints"),
            gr.Textbox("", label="level_temperatures"),
        ]
        outputs = [gr.File(label=name) for name in ("colourised.zip", "settings.json")]
    return inputs, outputs


def _steps(shared: Shared, folder: Path, wishes: Sequence[Wish], made: list[Coloured]) -> Iterator[Any]:
    """Colour photo by photo, which go into ``made``, and write the archive of them all."""
    colourise_flow.check_number(len(wishes))
    for number, wish in enumerate(wishes, 1):
        job = colourise_flow.begin(shared, wish)
        yield from colourise_flow.advance(job, lambda: False)
        made.append(colourise_flow.keep(job, folder / str(number)))
    yield from colourise_files.archive(_archive(made), made, wishes[0].settings.strength)


def _archive(made: list[Coloured]) -> Path:
    return made[0].folder / "colourised.zip"


def _hints(text: str | None) -> list[Hint]:
    return [parse_hint(part) for part in re.split(r"[;\n]+", text or "") if part.strip()]
