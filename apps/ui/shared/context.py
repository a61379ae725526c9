"""Context that all tabs share, and the way errors reach people."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import gradio as gr

from vflow.config import ConvolutionalVideoConfig, NowcastConfig, VideoConfig
from vflow.errors import VflowError, counted
from vflow.pipelines.common import Temperature

from .jobs import Jobs
from .models import ModelStore
from .recent import Recent
from .storage import RunStore
from .turns import Turns


@dataclass(frozen=True)
class AppContext:
    """Models, results on disk, running jobs, and the app's folder for files.

    Lives in closures, never in ``gr.State``, which is copied. ``teach``: people may teach models their clips.
    """

    models: ModelStore
    runs: RunStore
    jobs: Jobs
    cache: Path
    teach: bool = False

    @cached_property
    def recent(self) -> Recent:
        """Last results, offered after a reload."""
        return Recent(self.cache)

    @cached_property
    def turns(self) -> Turns:
        """Turns of jobs at reading and at the model."""
        return Turns()

    @cached_property
    def takers(self) -> dict[str, Any]:
        """Each tab's ``handing.Taker``, by the tab's identifier."""
        return {}

    @cached_property
    def givers(self) -> list[tuple[Any, Any]]:
        """Panels with buttons that hand on the upload of a box."""
        return []

    @cached_property
    def outside_tabs(self) -> list[Any]:
        """Components to render outside of tabs, whose own components wait until a person opens them."""
        return []

    def video_config(self, name: str | None) -> VideoConfig | None:
        """Configuration of a video model; None for other kinds and where it cannot be read."""
        config = self.models.config(name)
        return config if isinstance(config, VideoConfig) else None

    def rain_config(self, name: str | None) -> NowcastConfig | None:
        """Configuration of a model of rain radar; None for other kinds and where it cannot be read."""
        config = self.models.config(name)
        return config if isinstance(config, NowcastConfig) else None

    def video_summary(self, name: str | None) -> str:
        """One line on the input that a model of frames expects; empty if it is none."""
        if rain := self.rain_config(name):
            return (
                f"Rain radar of any size, a frame every {rain.minutes:g} minutes. "
                f"Needs the last {rain.context} frames."
            )
        config = self.video_config(name)
        if config is None:
            return ""
        glow, color = config.glow, "colour" if config.glow.channels == 3 else "grey"
        largest = config.largest_side if isinstance(config, ConvolutionalVideoConfig) else 0
        larger = f" (larger up to {largest}×{largest})" if largest else ""
        return (
            f"{glow.width}×{glow.height} pixels{larger}, {color}, {config.fps:g} frames per second. "
            f"Needs at least {counted(config.min_context, 'frame')} and uses the last {config.context}."
        )

    def preview_fps(self, name: str | None) -> float:
        """Initial frame rate of previews: half the model's own, which the eye can follow; of rain its own."""
        if rain := self.rain_config(name):
            return rain.fps
        config = self.video_config(name)
        return 5.0 if config is None else float(min(30, max(1, round(config.fps / 2))))

    def error_message(self, error: VflowError, files: Sequence[str] = ()) -> str:
        """Message of ``error`` on one line, with names in place of the server's own paths."""
        message = " ".join(str(error).split())
        paths = [*files, *map(str, self.models.folders())]
        for path in sorted(paths, key=len, reverse=True):
            # by folders: odd names are escaped in messages
            message = message.replace(f"{Path(path).parent}{os.sep}", "")
        return message


@dataclass(frozen=True)
class Tab:
    """One tab: ``build(app)`` lays out components and wires events inside the open ``gr.Blocks``."""

    title: str
    identifier: str
    build: Callable[[AppContext], None]


def to_gradio_error(message: str) -> gr.Error:
    """The error as a toast, whose text gradio renders as HTML: what could be a tag is escaped.

    It is headed "Error": the page of gradio 6 shows no ``title``.
    """
    text = html.escape(message, quote=False)
    return gr.Error(text, duration=20, print_exception=False)


def settings_text(
    checkpoint: str | None, *, temperature: Temperature | None = None, seed: int | None = None
) -> str:
    """Settings that made a result, for its line of status: ``push, temperature 0.8, seed 0``.

    The form beside an older result may hold others. Temperatures per level are given from fine to coarse.
    """
    levels = temperature if isinstance(temperature, tuple) else (temperature,)
    return ", ".join(
        [
            str(checkpoint),
            *([] if temperature is None else [f"temperature {' / '.join(f'{level:g}' for level in levels)}"]),
            *([] if seed is None else [f"seed {seed}"]),
        ]
    )


def sentences(notes: Sequence[str]) -> list[str]:
    """Notes, each beginning with a capital letter."""
    return [note[:1].upper() + note[1:] for note in notes]
