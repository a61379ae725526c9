"""Points for density models: a CSV of numbers, an npz with ``points``, or a named density."""

from __future__ import annotations

import csv
import itertools
import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from vflow.data.datasets.splits import HELD_OUT, Split, hash_fraction
from vflow.data.media.arrays import read_members
from vflow.densities import ENERGIES, TARGETS, target
from vflow.errors import InputError, counted

NAMED_LENGTHS = {"train": 1_000_000, "validation": 20_000, "test": 20_000}
MAX_NUMBERS, MAX_COLUMNS = 50_000_000, 4096  # in a file
MIN_ROWS = 2  # of a split
MOST_HELD_OUT, ENOUGH_HELD_OUT = 0.2, 400  # share of few rows for validation, and rows that are enough
LARGEST = float(np.finfo(np.float32).max)


class Points:
    """Points of one split, float32 (N, D).

    A named density gives points drawn for each split alone. Rows of a file are divided into train and
    validation by hash of the row number: 80 : 20 up to 2,000 rows, then 400 for validation, 95 : 5 from 8,000
    on. "test" is all rows, for a file of its own, and "all" of one to train on.

    Args:
        source: a CSV or npz file, or the name of a density (``two-moons``, ``rings``, …).
        split: "train", "validation" or "test".

    Raises:
        InputError: the file is missing, is not read as numbers, or holds too few rows.
    """

    def __init__(self, source: str, split: Split | Literal["all"]) -> None:
        self.source = source
        self.named = source in TARGETS
        if self.named:
            self.points = target(source).points(NAMED_LENGTHS[split], source, split).numpy()
            return
        points = read_points(Path(source))
        if split not in ("test", "all"):
            total = len(points)
            points = points[_held_out(total) == (split == "validation")]
            if len(points) < MIN_ROWS:
                use = "training" if split == "train" else split
                rows = f"{counted(total, 'row')}, too few for {use}"
                raise InputError(f"{source}: {rows}; give {_least_rows(split)} or more")
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


def _held_out(rows: int) -> np.ndarray:
    """True for each of the rows of a file that is for validation, bool (rows,)."""
    share = max(HELD_OUT, min(MOST_HELD_OUT, ENOUGH_HELD_OUT / rows))
    return np.array([hash_fraction(f"point-{row}") < share for row in range(rows)])


def _least_rows(split: str) -> int:
    """Rows of the shortest file whose split has ``MIN_ROWS``."""
    lengths = itertools.count(1)
    return next(n for n in lengths if (_held_out(n) == (split == "validation")).sum() >= MIN_ROWS)


def count_columns(source: str) -> int:
    """D of the points that ``source`` names: of a CSV by its first row.

    Raises:
        InputError: no such file or density, or no row of numbers in it.
    """
    if source in TARGETS:
        return target(source).dim
    path = _existing(Path(source))
    if path.suffix == ".npz":
        return int(read_points(path).shape[1])
    columns = _csv_columns(path)
    if not 1 <= columns <= MAX_COLUMNS:
        raise InputError(f"{path}: rows of {columns} numbers; give 1 to {MAX_COLUMNS}")
    return columns


def count_rows(source: str) -> int | None:
    """N of a file of points, a CSV's by its lines, so a little more with comments; None: endless, a density.

    Raises:
        InputError: no such file.
    """
    if source in TARGETS or source in ENERGIES:
        return None
    path = _existing(Path(source))
    if path.suffix == ".npz":
        return len(read_points(path))
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def read_points(path: Path) -> np.ndarray:
    """Finite numbers (N, D), float32, of a CSV (comments and a header allowed) or an npz with ``points``.

    Raises:
        InputError: the file is missing or holds something else.
    """
    points = _read_npz(_existing(path)) if path.suffix == ".npz" else _read_csv(_existing(path))
    if points.ndim != 2 or not points.size:
        raise InputError(f"{path}: points have shape {points.shape}; give rows of numbers, (N, D)")
    if points.shape[1] > MAX_COLUMNS:
        raise InputError(f"{path}: rows of {points.shape[1]} numbers; give 1 to {MAX_COLUMNS}")
    with np.errstate(over="ignore"):
        result = points.astype(np.float32)
    if not np.isfinite(result).all():
        row = int(np.flatnonzero(~np.isfinite(result).all(1))[0])
        raise InputError(f"{path}: row {row + 1} holds a number that is not finite; remove it")
    return result


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: no such file or density; densities: {', '.join((*TARGETS, *ENERGIES))}")
    return path


def _read_npz(path: Path) -> np.ndarray:
    arrays = read_members(path, ["points"])
    if "points" not in arrays:
        raise InputError(f"{path}: holds no array 'points'; save it with np.savez(file, points=…)")
    points = arrays["points"]
    if points.dtype.kind not in "iufb":
        raise InputError(f"{path}: points are {points.dtype}, not numbers; save them as floats")
    return points


def _csv_columns(path: Path) -> int:
    for row in _csv_rows(path):
        return len(row)
    raise InputError(f"{path}: no rows; give rows of numbers, one point a line")


def _read_csv(path: Path) -> np.ndarray:
    numbers = array("d")
    columns = 0
    for row in _csv_rows(path):
        columns = columns or len(row)
        numbers.extend(row)
        if len(numbers) > MAX_NUMBERS:
            raise InputError(f"{path}: more than {MAX_NUMBERS:,} numbers, the limit; give fewer rows")
    return np.frombuffer(numbers, dtype=np.float64).reshape(-1, columns) if columns else np.zeros((0, 0))


def _csv_rows(path: Path) -> Iterator[list[float]]:
    """Rows of numbers, all as long as the first; a row before it in which no cell is a number is a header."""
    columns = 0
    header: list[str] | None = None
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            for row in reader:
                number = reader.line_num
                if not row or row[0].startswith("#"):
                    continue
                try:
                    values = [float(cell) for cell in row]
                except ValueError as error:
                    if not columns and header is None and _is_header(row):
                        header = row
                        continue
                    raise InputError(f"{path}: line {number}, {_cell_fault(row, header or [])}") from error
                columns = columns or len(values)
                if len(values) != columns:
                    raise InputError(f"{path}: line {number} has {len(values)} columns, not {columns}")
                if not all(abs(value) <= LARGEST for value in values):
                    fault = "holds a number that is not finite, or beyond float32"
                    raise InputError(f"{path}: line {number} {fault}; remove it")
                yield values
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV of numbers; give a text file, one point a line") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _are_numbers(cell: str) -> bool:
    """True for several numbers that no commas part: "1,5;2" and "1 2"."""
    parts = re.split(r"[;\s]+", cell.strip())
    return len(parts) > 1 and all(_is_number(part.replace(",", ".")) for part in parts)


def _is_header(row: list[str]) -> bool:
    """True if no cell is a number, nor several."""
    return not any(_is_number(cell) or _are_numbers(cell) for cell in row)


def _cell_fault(row: list[str], header: list[str]) -> str:
    """Fault of the first cell that is no number, and the remedy."""
    index = next(index for index, cell in enumerate(row) if not _is_number(cell))
    name = f" ({header[index].strip()[:40]})" if index < len(header) and header[index].strip() else ""
    cell = row[index].strip()
    if _are_numbers(cell):
        return f"{cell[:40]!r} is no number; write commas between the numbers, and decimal points"
    if not cell:
        return f"column {index + 1}{name} is empty; give a number, or leave out the line or the column"
    return f"column {index + 1}{name}: {cell[:40]!r} is no number; leave that column out, or correct the line"
