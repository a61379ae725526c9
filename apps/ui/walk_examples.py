"""Examples of the Walk tab: one input each, or two where the walk goes from one to the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vflow.config import VideoConfig
from vflow.data import media

from . import examples, walk_view
from .common import Shared
from .examples import FOLDER
from .walk_kinds import Kind

PHOTOS = {"a cat": "walk-chelsea.png", "coffee": "walk-coffee.png", "an astronaut": "walk-astronaut.png"}
NEXT = {name.title(): (FOLDER / f"walk-{name}.png",) for name in ("circle", "square", "triangle")}


@dataclass(frozen=True)
class Start:
    """An input: its title and files, and how many frames of a clip's future suit it."""

    title: str
    files: tuple[Path, ...]
    num_frames: int | None = None

    def picture(self) -> np.ndarray:
        """Its last frame, uint8 (H, W, C)."""
        return media.read_frames(self.files).frames[-1]

    def copied(self, shared: Shared) -> list[str]:
        """Its files inside the app's cache."""
        return [examples.copied_file(path, shared.cache) for path in self.files]


def tiles(shared: Shared, checkpoint: str | None, kind: Kind) -> str:
    """Buttons for the examples that suit a checkpoint and a kind of walk; empty if there are none."""
    shown = [
        (" to ".join(start.title for start in starts), [start.picture() for start in starts])
        for starts in offered(shared, checkpoint, kind)
    ]
    return walk_view.tiles(shown)


def offered(shared: Shared, checkpoint: str | None, kind: Kind) -> list[tuple[Start, ...]]:
    """Examples that suit a checkpoint and a kind of walk: one input each, or two."""
    if kind.groups:
        return []
    starts = _starts(shared, checkpoint, two=bool(kind.second))
    if not kind.second:
        return [(start,) for start in starts]
    return list(zip(starts, [*starts[1:], *starts[:1]], strict=True)) if len(starts) > 1 else []


def _starts(shared: Shared, checkpoint: str | None, *, two: bool) -> list[Start]:
    config = shared.models.config(checkpoint)
    if not isinstance(config, VideoConfig):
        pictures = examples.DIGITS if config is not None and config.family == "digits" else PHOTOS
        return [Start(title, (FOLDER / name,)) for title, name in pictures.items()]
    # A frame that nothing precedes has no noise to walk: between two, clips must be longer than the least.
    least = config.min_context + 1 if two else config.min_context
    clips = [
        Start(one.title, (*one.files, *(NEXT.get(one.title, ()) if two else ())), one.num_frames)
        for one in examples.offered([str(checkpoint)])
    ]
    return [start for start in clips if len(media.read_frames(start.files).frames) >= least]
