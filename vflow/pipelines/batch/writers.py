"""Writers of futures: one file name per sample, previews enlarged, npz and png in native pixels."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Protocol

import numpy as np

from vflow.data import media
from vflow.errors import ConfigError

FORMATS = ("mp4", "webm", "gif", "png", "npz")
_IN_MEMORY = 1 << 30


class Writer(Protocol):
    """Sink of futures, which come in order of sample, group by group."""

    def add(self, first: int, futures: np.ndarray) -> None:
        """Write samples ``first``, ``first + 1``, …: uint8 (n, T, H, W, C)."""
        ...

    def close(self) -> None: ...


def open_writer(
    format: str, folder: Path, *, num_samples: int, num_frames: int, context: np.ndarray, fps: float
) -> Writer:
    """Writer of ``num_samples`` futures of ``num_frames`` frames into ``folder``.

    Raises:
        ConfigError: unknown format.
    """
    if format not in FORMATS:
        raise ConfigError(f"--format {format}: choose {', '.join(FORMATS)}")
    if format == "npz":
        return ArrayWriter(folder, (num_samples, num_frames, *context.shape[1:]), context)
    if format == "png":
        return StillsWriter(folder)
    return PreviewWriter(folder, format, fps)


class PreviewWriter:
    """``s000.mp4``, …: for eyes, so enlarged and (mp4, webm) lossy."""

    def __init__(self, folder: Path, suffix: str, fps: float) -> None:
        self.folder, self.suffix, self.fps = folder, suffix, fps

    def add(self, first: int, futures: np.ndarray) -> None:
        for sample, frames in enumerate(futures, first):
            media.write_video(self.folder / f"s{sample:03d}.{self.suffix}", frames, self.fps)

    def close(self) -> None:
        """Nothing is held back."""


class StillsWriter:
    """``s000/t000.png``, …: a folder of frames per sample, itself a valid input."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, first: int, futures: np.ndarray) -> None:
        for sample, frames in enumerate(futures, first):
            home = self.folder / f"s{sample:03d}"
            home.mkdir()
            for t, frame in enumerate(frames):
                media.write_png(home / f"t{t:03d}.png", frame)

    def close(self) -> None:
        """Nothing is held back."""


class ArrayWriter:
    """``futures.npz``: ``frames`` uint8 (N, T, H, W, C) and ``context`` uint8 (n, H, W, C)."""

    def __init__(self, folder: Path, shape: tuple[int, ...], context: np.ndarray) -> None:
        self.folder, self.context = folder, context
        self.frames = self._allocate(shape)

    def add(self, first: int, futures: np.ndarray) -> None:
        self.frames[first : first + len(futures)] = futures

    def close(self) -> None:
        media.write_npz(self.folder / "futures.npz", frames=self.frames, context=self.context)

    def _allocate(self, shape: tuple[int, ...]) -> np.ndarray:
        """Memory, or beyond 1 GiB a nameless file beside the output."""
        if np.prod(shape) <= _IN_MEMORY:
            return np.empty(shape, np.uint8)
        with tempfile.TemporaryFile(dir=self.folder) as file:
            return np.memmap(file, np.uint8, "w+", shape=shape)
