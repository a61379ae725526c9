"""A finished walk on disk: what the page plays and what it offers for download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vflow.data import media
from vflow.pipelines.video.export import heat

PREVIEW = 512  # pixels of the longer side of what the page shows; downloads keep the model's or photo's own
TOP = 8.0  # grey levels: the map of changes never calls less than this bright


@dataclass(frozen=True)
class Film:
    """A picture holding ``frames`` frames side by side, and what it shows."""

    path: Path
    frames: int
    caption: str


@dataclass(frozen=True)
class WalkRun:
    """Files of one walk.

    Attributes:
        steps: what the page plays. beside: inputs.
        changes: the map of changes. top: grey levels at its bright end.
        start: step shown at first. fps: frames per second at which clips play.
    """

    folder: Path
    steps: tuple[Film, ...]
    beside: tuple[Film, ...]
    changes: Film
    top: float
    start: int
    fps: float

    @property
    def grid(self) -> Path:
        return self.folder / "grid.png"

    @property
    def film(self) -> Path:
        return self.folder / "walk.mp4"

    @property
    def native(self) -> Path:
        return self.folder / "walk.npz"

    @property
    def settings(self) -> Path:
        return self.folder / "settings.json"


def changes(strip: np.ndarray) -> np.ndarray:
    """How far each pixel moves over the walk: standard deviation over steps, in grey levels.

    uint8 (S, T, H, W, C) → float32 (T, H, W), the root mean square over channels.
    """
    return np.sqrt(strip.var(axis=0, dtype=np.float32).mean(axis=-1))


def save(
    folder: Path,
    strip: np.ndarray,
    positions: list[str],
    beside: list[tuple[str, np.ndarray]],
    *,
    start: int,
    fps: float,
) -> WalkRun:
    """Write what the page plays, losslessly.

    Args:
        strip: uint8 (S, T, H, W, C).
        positions: what is said of each step.
        beside: captions and pictures to show next to the walk, uint8 (T', H, W, C).
        start, fps: as in ``WalkRun``.
    """
    shown = small(strip)
    moved = changes(shown)
    top = max(TOP, float(moved.max()))
    steps = tuple(
        _film(folder / f"step_{index:02d}.png", frames, text)
        for index, (frames, text) in enumerate(zip(shown, positions, strict=True))
    )
    others = tuple(
        _film(folder / f"beside_{index}.png", small(frames[None])[0], caption)
        for index, (caption, frames) in enumerate(beside)
    )
    where = _film(folder / "changes.png", heat(moved, top), "What changes")
    return WalkRun(folder, steps, others, where, top, start, fps)


def small(strip: np.ndarray) -> np.ndarray:
    """The strip at preview size: uint8 (S, T, H, W, C), smaller where it is larger than the page shows."""
    height, width = strip.shape[2:4]
    scale = PREVIEW / max(height, width)
    if scale >= 1:
        return strip
    to = max(1, round(height * scale)), max(1, round(width * scale))
    return np.stack([media.resize(frames, *to, strip.shape[-1]) for frames in strip])


def _film(path: Path, frames: np.ndarray, caption: str) -> Film:
    """uint8 (T, H, W, C) side by side in a PNG."""
    media.write_png(path, np.concatenate(list(frames), axis=1))
    return Film(path, len(frames), caption)
