"""Files of points that the Lab does not take as they are: what of them it offers, and what it then reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apps.ui.lab.files import parts, take
from vflow.data.datasets.points import read_points
from vflow.errors import InputError

TABLE = "city,lat,lon\nParis,48.9,2.4\nRome,41.9,12.5\n"


def csv(folder: Path, text: str) -> Path:
    (folder / "table.csv").write_text(text)
    return folder / "table.csv"


@pytest.mark.parametrize(
    ("text", "label", "why"),
    [
        (TABLE, "Leave out city", "table.csv has 1 column of text."),
        ("Paris,48.9,2.4\nRome,41.9,12.5\n", "Leave out x1", "table.csv has 1 column of text."),
        ("a,b,c\n1,2,3\n4,5,6\n", "Take a and b alone", "table.csv has 3 columns of numbers."),
        ("name,a,b,c\nP,1,,3\nR,4,5,6\n", "Take a and b alone", "table.csv has 3 columns of numbers."),
    ],
)
def test_two_columns_of_a_table(tmp_path: Path, text: str, label: str, why: str) -> None:
    (found,) = parts(csv(tmp_path, text))
    assert (found.label, found.why) == (label, why)


def test_what_is_taken(tmp_path: Path) -> None:
    table = csv(tmp_path, TABLE)
    made = take(table, parts(table)[0], tmp_path)
    assert read_points(made) == pytest.approx(np.array([[48.9, 2.4], [41.9, 12.5]]))
    table = csv(tmp_path, TABLE + "Oslo,,10.7\n")
    with pytest.raises(InputError, match=r"table.csv: line 4 lacks a number; fill it, or leave the line out"):
        take(table, parts(table)[0], tmp_path)


@pytest.mark.parametrize("text", ["x,y\n1,2\n3,4\n", "1,2\n3,4\n", "name,x\na,1\n", "name\na\n", ""])
def test_nothing_is_offered_of_what_fits_or_cannot(tmp_path: Path, text: str) -> None:
    assert parts(csv(tmp_path, text)) == []


def test_arrays_of_an_npz(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    points = np.random.default_rng(0).normal(size=(9, 2))
    np.savez(path, xy=points, names=np.array(["a", "b"]), frames=np.zeros((3, 4, 2)))
    (found,) = parts(path)
    assert (found.array, found.label) == ("xy", "Take xy")
    assert read_points(take(path, found, tmp_path)) == pytest.approx(points, abs=1e-6)
    np.savez(path, xy=points, uv=points)
    assert [each.array for each in parts(path)] == ["xy", "uv"]
    np.savez(path, xy=points, points=points)
    assert parts(path) == []
    path.write_text("no npz")
    with pytest.raises(InputError, match=r"run\.npz: not a"):
        parts(path)
