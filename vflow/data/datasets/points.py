"""Points for density models: a CSV of numbers, an npz with ``points``, or a named density."""

from __future__ import annotations

import csv
import itertools
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np

from vflow.config.density import Column, ColumnKind
from vflow.data.datasets.splits import HELD_OUT, Split, hash_fraction
from vflow.data.media.arrays import read_members
from vflow.densities import ENERGIES, TARGETS, target
from vflow.errors import InputError, counted
from vflow.randomness import Key, generator

NAMED_LENGTHS = {"train": 1_000_000, "validation": 20_000, "test": 20_000}
MAX_NUMBERS, MAX_COLUMNS = 50_000_000, 4096  # in a file
MIN_ROWS = 2  # of a split
MOST_HELD_OUT, ENOUGH_HELD_OUT = 0.2, 400  # share of few rows for validation, and rows that are enough
LARGEST = float(np.finfo(np.float32).max)


MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}
"""Cells without a value, in small letters."""
EXACT = 1 << 20  # whole numbers up to it leave float32 room for noise within a unit


class Table(NamedTuple):
    """Numbers of a file.

    names: of the columns; ``x1``, ``x2``, … where the file has none.
    numbers: float32 (N, D), of rows without missing cells.
    complete: for each row of the file, True unless a cell is missing, bool (M,).
    """

    names: tuple[str, ...]
    numbers: np.ndarray
    complete: np.ndarray


class Points:
    """Points of one split: ``points`` float32 (N, D), and ``conditions`` (N, F) or None.

    A named density gives points drawn for each split alone. Rows of a file are divided into train and
    validation by hash of the row number: 80 : 20 up to 2,000 rows, then 400 for validation, 95 : 5 from 8,000
    on. "test" is all rows, for a file of its own, and "all" of one to train on.

    Args:
        source: a CSV or npz file, or the name of a density (``two-moons``, ``rings``, …).
        split: "train", "validation" or "test".
        columns: those of a table, by name; none: all.
        drop_missing: leave rows with missing cells out.

    Raises:
        InputError: the file is missing, is not read as numbers, or holds too few rows.
    """

    def __init__(
        self,
        source: str,
        split: Split | Literal["all"],
        columns: Sequence[Column] = (),
        *,
        drop_missing: bool = False,
    ) -> None:
        self.source = source
        self.named = source in TARGETS
        if self.named:
            self._divide(target(source).points(NAMED_LENGTHS[split], source, split).numpy(), ())
            return
        names = tuple(column.name for column in columns)
        self.table = read_table(Path(source), names, drop_missing=drop_missing)
        numbers = self.table.numbers
        if split not in ("test", "all"):
            total = len(numbers)
            numbers = numbers[held_out_rows(total) == (split == "validation")]
            if len(numbers) < MIN_ROWS:
                use = "training" if split == "train" else split
                rows = f"{counted(total, 'row')}, too few for {use}"
                raise InputError(f"{source}: {rows}; give {_least_rows(split)} or more")
        self._divide(numbers, columns)

    @classmethod
    def of(cls, numbers: np.ndarray, columns: Sequence[Column]) -> Self:
        """Points of a table's numbers, float32 (N, columns)."""
        points = cls.__new__(cls)
        points.source, points.named = "rows", False
        points._divide(numbers, columns)
        return points

    def _divide(self, numbers: np.ndarray, columns: Sequence[Column]) -> None:
        given = np.array([column.condition for column in columns], dtype=bool)
        self.whole = np.array([column.kind != "number" for column in columns if not column.condition])
        self.points = numbers[:, ~given] if given.any() else numbers
        self.conditions = numbers[:, given] if given.any() else None

    def dequantized(self, index: np.ndarray | slice, *key: Key) -> np.ndarray:
        """Points at ``index``; to those of whole numbers, noise of [0, 1) is added, a function of ``key``."""
        points = self.points[index]
        if not self.whole.any():
            return points
        noise = generator("dequantisation", *key).random(points.shape, dtype=np.float32)
        return points + np.where(self.whole, noise, np.float32(0))

    def __len__(self) -> int:
        return len(self.points)

    @property
    def dim(self) -> int:
        """D."""
        return int(self.points.shape[1])

    def example(self, index: int, key: tuple[int, ...]) -> np.ndarray:
        """Point ``index``, (D,); the same for every ``key``."""
        return self.points[index]


def unit_vectors(degrees: np.ndarray, names: Sequence[str] = ()) -> np.ndarray:
    """Points of the unit sphere, float32 (N, 3), at latitudes and longitudes in degrees (N, 2).

    Longitudes come first if ``names`` of the columns say so.

    Raises:
        InputError: a latitude beyond 90°, or a longitude beyond 360°.
    """
    if _longitude_first(names):
        degrees = degrees[:, ::-1]
    if (abs(degrees) > (90, 360)).any():
        row = int(np.flatnonzero((abs(degrees) > (90, 360)).any(1))[0]) + 1
        raise InputError(f"row {row} is no place: give latitude and longitude in degrees")
    latitude, longitude = np.radians(degrees.astype(np.float64)).T
    flat = np.cos(latitude)
    points = np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)], 1)
    return points.astype(np.float32)


def places(points: np.ndarray, names: Sequence[str] = ()) -> np.ndarray:
    """Latitudes and longitudes in degrees, (N, 2), of points of the unit sphere (N, 3)."""
    x, y, z = points.T
    degrees = np.degrees(np.stack([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)], 1))
    return degrees[:, ::-1] if _longitude_first(names) else degrees


def _longitude_first(names: Sequence[str]) -> bool:
    return bool(names) and names[0].strip().lower().startswith(("lon", "lng"))


def held_out_rows(rows: int) -> np.ndarray:
    """True for each of the rows of a file that is for validation, bool (rows,)."""
    share = max(HELD_OUT, min(MOST_HELD_OUT, ENOUGH_HELD_OUT / rows))
    return np.array([hash_fraction(f"point-{row}") < share for row in range(rows)])


def _least_rows(split: str) -> int:
    """Rows of the shortest file whose split has ``MIN_ROWS``."""
    lengths = itertools.count(1)
    return next(n for n in lengths if (held_out_rows(n) == (split == "validation")).sum() >= MIN_ROWS)


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
    columns = next((len(row) for row in _Csv(path, (), True) if row is not None), 0)
    if not columns:
        raise InputError(f"{path}: no rows; give rows of numbers, one point a line")
    if columns > MAX_COLUMNS:
        raise InputError(f"{path}: rows of {columns} numbers; give 1 to {MAX_COLUMNS}")
    return columns


def describe_columns(table: Table, conditions: Sequence[str], source: str) -> list[Column]:
    """Columns of a table, those of whole numbers and of 0 and 1 alone marked.

    Args:
        conditions: names of columns that the others are modelled given.

    Raises:
        InputError: no column of that name, or two columns of one name.
    """
    doubled = [name for name, count in Counter(table.names).items() if count > 1]
    if doubled:
        raise InputError(f"{source}: two columns are called {doubled[0]!r}; rename one")
    if unknown := [name for name in conditions if name not in table.names]:
        known = ", ".join(table.names[:20])
        raise InputError(f"{source}: no column {unknown[0]!r} to be a condition; it has {known}")
    if len(set(conditions)) == len(table.names):
        raise InputError(f"{source}: all columns are conditions; leave one to be modelled")
    columns = []
    for name, values in zip(table.names, table.numbers.T, strict=True):
        whole = bool((values == np.rint(values)).all() and abs(values).max() <= EXACT)
        kind: ColumnKind = (
            "binary" if whole and set(np.unique(values)) <= {0, 1} else "whole" if whole else "number"
        )
        columns.append(Column(name=name, kind=kind, condition=name in conditions))
    return columns


def read_points(path: Path) -> np.ndarray:
    """Finite numbers (N, D), float32, of a CSV (comments and a header allowed) or an npz with ``points``.

    Raises:
        InputError: the file is missing or holds something else.
    """
    return read_table(path).numbers


def read_table(path: Path, columns: tuple[str, ...] = (), *, drop_missing: bool = False) -> Table:
    """Numbers of a file, a CSV (comments and a header allowed) or an npz with ``points``.

    Args:
        columns: names of those to read, in their order, from a file with a header; what else it has may be
            text. A file without one has these alone.
        drop_missing: leave rows with missing cells out.

    Raises:
        InputError: the file is missing, holds something else, lacks a column, or has missing cells, which are
            counted by column.
    """
    if _existing(path).suffix == ".npz":
        points = _read_npz(path)
        if points.ndim != 2 or not points.size:
            raise InputError(f"{path}: points have shape {points.shape}; give rows of numbers, (N, D)")
        names, complete = columns or default_names(points.shape[1]), np.ones(len(points), dtype=bool)
        if len(names) != points.shape[1]:
            raise InputError(f"{path}: {points.shape[1]} columns, the model has {len(names)}; give such rows")
    else:
        names, points, complete = _read_csv(_Csv(path, columns, drop_missing))
    if points.shape[1] > MAX_COLUMNS:
        raise InputError(f"{path}: rows of {points.shape[1]} numbers; give 1 to {MAX_COLUMNS}")
    with np.errstate(over="ignore"):
        result = points.astype(np.float32)
    if not np.isfinite(result).all():
        row = int(np.flatnonzero(~np.isfinite(result).all(1))[0])
        raise InputError(f"{path}: row {row + 1} holds a number that is not finite; remove it")
    return Table(names, result, complete)


def default_names(count: int) -> tuple[str, ...]:
    """Names of columns that have none: x1, x2, …"""
    return tuple(f"x{index + 1}" for index in range(count))


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


def _read_csv(rows: _Csv) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Names, numbers (N, D) and completeness of rows; see ``Table``."""
    numbers, complete = array("d"), array("b")
    for row in rows:
        complete.append(row is not None)
        numbers.extend(row or ())
        if len(numbers) > MAX_NUMBERS:
            raise InputError(f"{rows.path}: more than {MAX_NUMBERS:,} numbers, the limit; give fewer rows")
    if not numbers:
        raise InputError(f"{rows.path}: no rows; give rows of numbers, one point a line")
    points = np.frombuffer(numbers, dtype=np.float64)
    return rows.names, points.reshape(-1, len(rows.names)), np.frombuffer(complete, dtype=bool)


def csv_cells(path: Path) -> Iterator[tuple[int, list[str], bool]]:
    """Line number and cells of each line that is neither empty nor a comment, and True for a header.

    A header is a line before all others in which no cell is a number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader, first = csv.reader(file), True
            for row in reader:
                if row and not row[0].startswith("#"):
                    yield reader.line_num, row, first and _is_header(row)
                    first = False
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV of numbers; give a text file, one point a line") from error


class _Csv:
    """Rows of numbers of a file, all as long as the first; None for a row that is left out.

    Attributes:
        names: of the columns, once a row was read.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], drop_missing: bool) -> None:
        self.path, self.columns, self.drop_missing = path, columns, drop_missing
        self.names: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[list[float] | None]:
        width, header, places = 0, list[str](), list[int]()
        missing, first_missing = Counter[int](), 0
        for line, row, is_header in csv_cells(self.path):
            if is_header:
                header = [cell.strip() or f"x{index + 1}" for index, cell in enumerate(row)]
                places = self._places(header)
                continue
            if not width:
                width = len(header) or len(row)
                places = places or self._places(header, width)
                self.names = self.columns or tuple(header) or default_names(width)
            if len(row) != width:
                if any(map(_are_numbers, row)):
                    raise InputError(f"{self.path}: line {line}, {_cell_fault(row, range(len(row)), [])}")
                raise InputError(f"{self.path}: line {line} has {len(row)} columns, not {width}")
            cells = [row[place] for place in places]
            empty = [
                place for place, cell in zip(places, cells, strict=True) if cell.strip().lower() in MISSING
            ]
            if empty:
                first_missing = first_missing or line
                missing.update(empty)
                yield None
            else:
                yield self._numbers(line, cells, places, header)
        if missing and not self.drop_missing:
            found = ", ".join(f"{_column(p, header)}: {missing[p]}" for p in sorted(missing)[:10])
            raise InputError(
                f"{self.path}: missing cells in column {found}; the first in line {first_missing}; fill "
                "them, leave such columns or rows out, or give --drop-missing"
            )

    def _places(self, header: list[str], width: int = 0) -> list[int]:
        """Places of the columns to read."""
        if not self.columns:
            return list(range(len(header) or width))
        if not header:
            if len(self.columns) != width:
                raise InputError(
                    f"{self.path}: rows of {width} columns and no header, the model has "
                    f"{len(self.columns)}: {', '.join(self.columns[:20])}; give a header"
                )
            return list(range(width))
        if absent := [name for name in self.columns if name not in header]:
            raise InputError(f"{self.path}: no column {absent[0]!r}; the model needs it")
        return [header.index(name) for name in self.columns]

    def _numbers(self, line: int, cells: list[str], places: list[int], header: list[str]) -> list[float]:
        try:
            values = [float(cell) for cell in cells]
        except ValueError as error:
            raise InputError(f"{self.path}: line {line}, {_cell_fault(cells, places, header)}") from error
        if not all(abs(value) <= LARGEST for value in values):
            fault = "holds a number that is not finite, or beyond float32"
            raise InputError(f"{self.path}: line {line} {fault}; remove it")
        return values


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


def _column(place: int, header: list[str]) -> str:
    return f"{place + 1} ({header[place][:40]})" if header else f"{place + 1}"


def _cell_fault(cells: list[str], places: Sequence[int], header: list[str]) -> str:
    """Fault of the first cell that is no number, and the remedy."""
    index = next(index for index, cell in enumerate(cells) if not _is_number(cell))
    cell = cells[index].strip()
    if _are_numbers(cell):
        return f"{cell[:40]!r} is no number; write commas between the numbers, and decimal points"
    column = _column(places[index], header)
    return f"column {column}: {cell[:40]!r} is no number; leave that column out, or correct the line"
