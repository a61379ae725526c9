"""Writer of futures: one file name per sample, previews enlarged, npz and png in native pixels."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vflow.data import media
from vflow.pipelines.common import DEFAULT_FPS
from vflow.tasks.video.settings import PredictSettings

_IN_MEMORY = 1 << 30


@contextmanager
def future_writer(
    folder: Path, settings: PredictSettings, context: np.ndarray
) -> Iterator[Callable[[int, np.ndarray], None]]:
    """Writer of futures of ``context`` into ``folder``, as ``settings`` say; files are whole when it closes.

    - mp4, webm, gif: ``s000.mp4`` …, for eyes, so enlarged and (mp4, webm) lossy.
    - png: ``s000/t000.png`` …, a folder of frames per sample, itself a valid input.
    - npz: ``futures.npz`` with ``frames`` uint8 (N, T, H, W, C) and ``context`` uint8 (n, H, W, C).

    Yields a function that takes the number of the first sample of a group, and its frames, uint8
    (n, T, H, W, C); groups come in order.
    """
    if settings.format == "npz":
        array = _allocate(folder, (settings.num_samples, settings.num_frames, *context.shape[1:]))

        def keep(first: int, futures: np.ndarray) -> None:
            array[first : first + len(futures)] = futures

        yield keep
        media.write_npz(folder / "futures.npz", frames=array, context=context)
        return

    def write(first: int, futures: np.ndarray) -> None:
        for sample, frames in enumerate(futures, first):
            name = f"s{sample:03d}"
            if settings.format != "png":
                path = folder / f"{name}.{settings.format}"
                media.write_video(path, frames, settings.fps or DEFAULT_FPS)
                continue
            for t, frame in enumerate(frames):
                media.write_png(folder / name / f"t{t:03d}.png", frame)

    yield write


def _allocate(folder: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Memory, or beyond 1 GiB a nameless file beside the output."""
    if np.prod(shape) <= _IN_MEMORY:
        return np.empty(shape, np.uint8)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)
