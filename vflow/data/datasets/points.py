"""Points for density models: a CSV of numbers, an npz with ``points``, or a named density on the plane."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from vflow.data.datasets.splits import HELD_OUT, Split, hash_fraction
from vflow.densities.plane import NAMES, plane_density
from vflow.errors import InputError

NAMED_LENGTHS = {"train": 1_000_000, "validation": 20_000, "test": 20_000}
MOST = 200_000_000  # numbers in a file


class Points:
    """Points of one split, float32 (N, D).

    A named density gives points drawn for each split alone. Rows of a file are divided 95 : 5 by hash of the
    row number into train and validation; "test" is all rows, for a file of its own.

    Args:
        source: a CSV or npz file, or the name of a density (``two-moons``, ``rings``, …).
        split: "train", "validation" or "test".

    Raises:
        InputError: the file is missing, is not read as numbers, or holds too few rows.
    """

    def __init__(self, source: str, split: Split) -> None:
        self.source = source
        self.named = source in NAMES
        if self.named:
            self.points = plane_density(source).points(NAMED_LENGTHS[split], source, split).numpy()
            return
        points = read_points(Path(source))
        if split != "test":
            held = np.array([hash_fraction(f"point-{i}") < HELD_OUT for i in range(len(points))])
            points = points[held == (split == "validation")]
        if not len(points):
            raise InputError(f"{source}: too few rows for {split}; give 100 or more")
        self.points = points

    def __len__(self) -> int:
        return len(self.points)

    @property
    def dim(self) -> int:
        """D."""
        return int(self.points.shape[1])

    def example(self, index: int, key: tuple[int, ...]) -> np.ndarray:
        """Point ``index``, (D,); the same for every ``key``."""
        return self.points[index]


def read_points(path: Path) -> np.ndarray:
    """Finite numbers (N, D), float32, of a CSV (one header line allowed) or an npz with ``points``.

    Raises:
        InputError: the file is missing or holds something else.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file or density; densities: {', '.join(NAMES)}")
    points = _read_npz(path) if path.suffix == ".npz" else _read_csv(path)
    if points.ndim != 2 or not points.size:
        raise InputError(f"{path}: points have shape {points.shape}; give rows of numbers, (N, D)")
    if points.size > MOST:
        raise InputError(f"{path}: {points.size} numbers are more than {MOST}; give fewer rows")
    result = points.astype(np.float32)
    if not np.isfinite(result).all():
        row = int(np.flatnonzero(~np.isfinite(result).all(1))[0])
        raise InputError(f"{path}: row {row + 1} holds a number that is not finite; remove it")
    return result


def _read_npz(path: Path) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive["points"], dtype=np.float64)
    except KeyError as error:
        raise InputError(f"{path}: holds no array 'points'; save it with np.savez(file, points=…)") from error
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise InputError(f"{path}: not an npz of numbers; save it with np.savez(file, points=…)") from error


def _read_csv(path: Path) -> np.ndarray:
    rows: list[list[float]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(csv.reader(file), 1):
                if not row or row[0].startswith("#"):
                    continue
                try:
                    rows.append([float(cell) for cell in row])
                except ValueError as error:
                    if rows or number > 1:  # the first line may be a header
                        raise InputError(f"{path}: line {number} is not numbers; remove it") from error
                if rows and len(rows[-1]) != len(rows[0]):
                    raise InputError(f"{path}: line {number} has {len(rows[-1])} columns, not {len(rows[0])}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV of numbers; give a text file, one point a line") from error
    return np.array(rows, dtype=np.float64)
