"""Files of points that the Lab does not take as they are, and what of them it can take."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import numpy as np

from vflow.data.datasets.points import MISSING, csv_cells, default_names
from vflow.data.media import write_npz
from vflow.data.media.arrays import read_members
from vflow.errors import InputError, counted

from .job import DRAWING

LOOKED_AT = 200
"""Rows of a CSV whose cells tell its columns of text."""


class Part(NamedTuple):
    """Points that can be taken of a file.

    Attributes:
        label: says so on a button. why: the file is not taken as it is. what: is taken.
        places: of two columns of a CSV. array: of an npz, by name.
    """

    label: str
    why: str
    what: str
    places: tuple[int, int] = (0, 1)
    array: str = ""


def parts(path: Path) -> list[Part]:
    """Points that can be taken of a file; none where it is taken as it is, or nothing in it fits.

    Raises:
        InputError: it cannot be read.
    """
    return _arrays(path) if path.suffix.lower() == ".npz" else _columns(path)


def _arrays(path: Path) -> list[Part]:
    read_members(path, ())  # refuses what is no npz
    with ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
    if "points" in names:
        return []
    found = read_members(path, names)
    return [
        Part(f"Take {name}", f"{path.name} holds no array 'points'.", name, array=name)
        for name, array in found.items()
        if array.ndim == 2 and array.shape[1] == 2 and array.dtype.kind in "iuf"
    ]


def _columns(path: Path) -> list[Part]:
    names, text = tuple[str, ...](), set[int]()
    for _, row, is_header in islice(csv_cells(path), LOOKED_AT):
        names = names or (tuple(cell.strip() for cell in row) if is_header else default_names(len(row)))
        if not is_header:
            text |= {place for place, cell in enumerate(row) if not _is_number_or_missing(cell)}
    numbers = [place for place in range(len(names)) if place not in text]
    if len(names) == len(numbers) == 2 or len(numbers) < 2:
        return []
    first, second = numbers[:2]
    what = f"{names[first]} and {names[second]}"
    why, label = f"{path.name} has {counted(len(numbers), 'column')} of numbers.", f"Take {what} alone"
    if len(numbers) == 2:
        why = f"{path.name} has {counted(len(text), 'column')} of text."
        label = f"Leave out {', '.join(names[place] for place in sorted(text) if place < len(names))}"
    return [Part(label, why, what, (first, second))]


def _is_number_or_missing(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell.strip().lower() in MISSING
    return True


def take(path: Path, part: Part, folder: Path) -> Path:
    """File in ``folder`` with a part of a file.

    Raises:
        InputError: a cell is no number.
    """
    if part.array:
        points = read_members(path, [part.array])[part.array]
    else:
        cells = ((line, row) for line, row, is_header in csv_cells(path) if not is_header)
        points = np.array([_numbers(path, line, row, part) for line, row in cells])
    write_npz(folder / DRAWING, points=points)
    return folder / DRAWING


def _numbers(path: Path, line: int, row: list[str], part: Part) -> list[float]:
    try:
        return [float(row[place]) for place in part.places]
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{path.name}: line {line} lacks a number; fill it, or leave the line out"
        ) from error
