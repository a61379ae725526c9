"""Actions: numbers that come with the frames of a clip, such as a robot's commands."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vflow.data import media
from vflow.data.media.arrays import read_members
from vflow.disk import file_sha256
from vflow.errors import InputError, counted

SUFFIXES = (".npz", ".csv")
ARRAYS = ("actions", "action")
"""Names of the array in an npz, (T, A), or (T, K, A) of which the first of K ticks is the frame's."""
TIME = "time"
"""Column of a CSV whose rows are not one a frame: seconds after the first frame."""


class Actions(NamedTuple):
    """Actions of a clip's frames and of those that come after it.

    values: float32 (T, A), finite. times: seconds of each row, rising; None: a row is a frame's.
    """

    source: str
    values: np.ndarray
    times: np.ndarray | None = None

    @classmethod
    def of(cls, values: np.ndarray, size: int, source: str = "actions") -> Actions:
        """Actions of an array (T, A), or (T, K, A) of which the first of K ticks is the frame's.

        Raises:
            InputError: of another shape, or numbers that are not finite.
        """
        values = values[:, 0] if values.ndim == 3 and values.shape[1] else values
        if values.dtype.kind not in "iufb" or values.ndim != 2 or not len(values):
            raise InputError(f"{source}: {values.dtype} {values.shape}; give a row of {size} numbers a frame")
        if values.shape[1] != size:
            found = counted(values.shape[1], "number")
            raise InputError(f"{source}: {found} a frame, the model has {size}; give these")
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values).all(1))[0])
            raise InputError(f"{source}: row {row + 1} has a number that is missing or not finite; fill it")
        return cls(source, values.astype(np.float32))

    def at(self, frames: np.ndarray, fps: float | None) -> np.ndarray:
        """Rows of the frames with these numbers in the file, from 0, between which is interpolated.

        Args:
            frames: float (n,), rising. fps: of the clip.

        Returns:
            float32 (n, A); NaN beyond the last row.

        Raises:
            InputError: rows have times, the clip has no rate.
        """
        where = np.asarray(frames, float)
        if self.times is not None:
            if fps is None:
                raise InputError(f"{self.source}: rows have times, but the clip no rate; give a row a frame")
            where = np.interp(where / fps, self.times, np.arange(len(self.times)), left=0, right=np.inf)
        below = np.minimum(np.floor(where), len(self.values) - 1).astype(int)
        above = np.minimum(below + 1, len(self.values) - 1)
        share = np.minimum(where - below, 1)[:, None].astype(np.float32)
        rows: np.ndarray = self.values[below] * (1 - share) + self.values[above] * share
        rows[where > len(self.values) - 1 + 1e-6] = np.nan
        return rows

    def check_count(self, frames: int, clip: str) -> None:
        """Refuse rows that do not cover the ``frames`` of a clip.

        Raises:
            InputError: says how many there are.
        """
        if self.times is None and len(self.values) < frames:
            rows = counted(len(self.values), "row")
            raise InputError(f"{self.source}: {rows}, but {clip} has {frames} frames; give a row a frame")


def read_actions(path: Path, size: int, names: Sequence[str] = ()) -> Actions:
    """Actions of a CSV (a header allowed; a column ``time`` in seconds if rows are not frames), or an npz.

    Args:
        size: numbers to a frame. names: of these; columns of a CSV with a header are taken by them.

    Raises:
        InputError: no such file, other columns, missing cells, or times that do not rise.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: actions are read from a .csv or an .npz; give one")
    if path.suffix == ".npz":
        found = read_members(path, ARRAYS)
        if not found:
            raise InputError(f"{path}: holds no array 'actions'; save it with np.savez(file, actions=…)")
        return Actions.of(next(iter(found.values())), size, str(path))
    from vflow.data.datasets.points import csv_cells, read_table  # which imports torch

    header = next(([c.strip() for c in cells] for _, cells, heads in csv_cells(path) if heads), [])
    timed = TIME in header
    own = tuple(names) if header and names else tuple(name for name in header if name != TIME)
    table = read_table(path, (*own, TIME) if timed else own).numbers
    actions = Actions.of(table[:, : table.shape[1] - timed], size, str(path))
    if not timed:
        return actions
    times = table[:, -1].astype(float)
    if (np.diff(times) <= 0).any():
        row = int(np.flatnonzero(np.diff(times) <= 0)[0])
        raise InputError(f"{path}: time does not rise after row {row + 1}; put the rows in order")
    return actions._replace(times=times)


def actions_beside(clip: Path, size: int, names: Sequence[str] = ()) -> Actions:
    """Actions of a clip of a folder, from the file of its name.

    Raises:
        InputError: no such file, or as ``read_actions``.
    """
    known = (*media.VIDEO_SUFFIXES, ".gif")
    stem = clip.with_suffix("") if clip.suffix in known else clip
    paths = (stem.with_name(stem.name + suffix) for suffix in SUFFIXES)
    found = next((path for path in paths if path != clip and path.is_file()), None)
    if found is None:
        raise InputError(f"{stem.parent}: no actions of {clip.name} there; add {stem.name}.npz or .csv")
    return read_actions(found, size, names)


def resampled(actions: Actions, clip: media.Clip, fps: float, ahead: int) -> np.ndarray:
    """Rows of a clip's frames at ``fps``, and of ``ahead`` frames after them: float32 (T' + ahead, A).

    Raises:
        InputError: fewer rows than frames, or rows with times and a clip without a rate.
    """
    actions.check_count(len(clip.frames), clip.source)
    kept = media.retime(len(clip.frames), clip.fps, fps)
    same = len(kept) == len(clip.frames) or clip.fps is None
    after = len(clip.frames) - 1 + np.arange(1, ahead + 1) * (1 if same else (clip.fps or fps) / fps)
    return actions.at(np.concatenate([kept, after]), clip.fps)


def actions_sha(path: Path) -> str:
    """SHA-256 of a file of actions, or of all in a folder, one after the other.

    Raises:
        InputError: there is none.
    """
    files = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise InputError(f"{path}: no actions there; give a .csv or an .npz, or a folder of some")
    shas = [file_sha256(file) for file in files]
    return shas[0] if len(shas) == 1 else sha256("".join(shas).encode()).hexdigest()
