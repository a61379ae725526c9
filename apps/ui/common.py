"""Pieces every tab uses: what a tab is, what tabs share, and how errors reach the person."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from vflow.config import VideoConfig
from vflow.errors import VflowError

from .jobs import Jobs
from .models import ModelStore
from .runs import RunStore

QUEUE = (
    "model"  # every event that computes shares this concurrency id: one job at a time, in order of arrival
)


@dataclass(frozen=True)
class Shared:
    """What tabs share: models, finished runs, running jobs, a folder for files.

    Lives in closures, never in ``gr.State``, which is copied.
    """

    models: ModelStore
    runs: RunStore
    jobs: Jobs
    cache: Path


@dataclass(frozen=True)
class Tab:
    """One tab: ``build(shared)`` lays out components and wires events inside the open ``gr.Blocks``."""

    title: str
    identifier: str
    build: Callable[[Shared], None]


def video_line(shared: Shared, name: str | None) -> str:
    """One line on what a video model expects; empty when its configuration cannot be read."""
    config = _video(shared, name)
    if config is None:
        return ""
    glow, frames = config.glow, "frame" if config.min_context == 1 else "frames"
    colour = "colour" if glow.channels == 3 else "grey"
    return (
        f"{glow.width}×{glow.height} {colour} at {config.fps:g} frames per second; "
        f"needs {config.min_context} {frames}, looks at the last {config.context}."
    )


def preview_fps(shared: Shared, name: str | None) -> float:
    """Frames per second at which previews play at first: the model's own, slowed down to be watchable."""
    config = _video(shared, name)
    return 5.0 if config is None else float(min(30, max(1, round(config.fps / 2))))


def first_temperature(shared: Shared, name: str | None) -> float:
    """The temperature a checkpoint suggests for samples; the lowest, if it suggests one per level."""
    suggested = _suggested(shared, name)
    return min(suggested) if isinstance(suggested, tuple) else suggested


def first_levels(shared: Shared, name: str | None) -> str:
    """The temperatures per level a checkpoint suggests, as people type them; empty: one for all."""
    suggested = _suggested(shared, name)
    return ", ".join(f"{value:g}" for value in suggested) if isinstance(suggested, tuple) else ""


def _suggested(shared: Shared, name: str | None) -> float | tuple[float, ...]:
    config = shared.models.config(name)
    return 1.0 if config is None else config.temperature


def _video(shared: Shared, name: str | None) -> VideoConfig | None:
    config = shared.models.config(name)
    return config if isinstance(config, VideoConfig) else None


def one_line(shared: Shared, error: VflowError, files: Sequence[str] = ()) -> str:
    """Message of ``error`` on one line, with names in place of the server's own paths."""
    message = " ".join(str(error).split())
    paths = [*files, *map(str, shared.models.folders())]
    for path in sorted(paths, key=len, reverse=True):
        message = message.replace(path, Path(path).name)
    return message


def shown(message: str) -> gr.Error:
    """The error a person sees; gradio renders its text as HTML, so what could be a tag is escaped."""
    text = html.escape(message, quote=False)
    return gr.Error(text, title="That did not work", duration=20, print_exception=False)


def checkpoint_input(shared: Shared, kind: str | None = None) -> gr.Dropdown:
    """The checkpoint as an endpoint takes it: any name; the default is one of ``kind``, if there is one."""
    names, first = shared.models.names(kind), shared.models.default(kind)
    return gr.Dropdown(names, value=first, label="checkpoint", allow_custom_value=True)
