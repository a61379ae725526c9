"""Points from files and named densities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vflow.data.datasets.points import Points, read_points
from vflow.data.datasets.splits import Split
from vflow.errors import InputError


def test_named_densities_differ_from_split_to_split() -> None:
    train, test = Points("eight-gaussians", "train"), Points("eight-gaussians", "test")
    assert train.dim == 2 and len(train) > len(test)
    assert not np.array_equal(train.points[:5], test.points[:5])
    assert np.array_equal(train.example(3, (0,)), train.points[3])


@pytest.mark.parametrize("header", ["", "x,y,z\n", "# made by hand\n", "# made by hand\n\nx,y,z\n"])
def test_a_csv_and_an_npz_give_the_same_points(tmp_path: Path, header: str) -> None:
    numbers = np.random.default_rng(0).normal(size=(200, 3))
    text = header + "\n".join(",".join(map(repr, row)) for row in numbers.tolist())
    (tmp_path / "p.csv").write_text(text)
    np.savez(tmp_path / "p.npz", points=numbers)
    assert np.array_equal(read_points(tmp_path / "p.csv"), read_points(tmp_path / "p.npz"))
    source = str(tmp_path / "p.csv")
    parts = [Points(source, split).points for split in ("train", "validation")]
    assert len(parts[0]) + len(parts[1]) == 200 and 25 < len(parts[1]) < 55
    assert len(Points(source, "test")) == 200


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "1,2\n3\n", "line 2 has 1 columns"),
        ("a.csv", "x,y\n1,2\na,b\n", r"line 3, column 1 \(x\): 'a' is no number; leave that column out"),
        ("a.csv", "x,y,label\n1,2,red\n", r"line 2, column 3 \(label\): 'red' is no number; leave that col"),
        ("a.csv", "1,2,red\n3,4,red\n", r"line 1, column 3: 'red' is no number; leave that column out"),
        ("a.csv", "1.0,,3.0\n1,2,3\n", "missing cells in column 2: 1; the first in line 1; .*--drop-missing"),
        ("a.csv", "x,y,z\n1,NA,3\n1,,nan\n", r"column 2 \(y\): 2, 3 \(z\): 1; the first in line 2"),
        ("a.csv", "x,y\nz,w\n1,2\n", r"line 2, column 1 \(x\): 'z' is no number"),
        ("a.csv", "x,y\n\n1,2\n3,inf\n", "line 4 holds a number that is not finite"),
        ("a.csv", "1,2\n3,1e39\n", "line 2 holds a number that is not finite"),
        ("a.csv", "1.5;2\n3,5;4\n", "line 1, '1.5;2' is no number; write commas between the numbers"),
        ("a.csv", "x;y\n1,5;2,5\n", "line 2, '5;2' is no number; write commas between the numbers"),
        ("a.csv", "1 2\n3 4\n", "line 1, '1 2' is no number; write commas between the numbers"),
        ("a.csv", "", "give rows of numbers"),
        ("a.npz", "no zip", "a.npz: not "),
    ],
)
def test_what_is_not_points_is_refused_in_one_line(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_points(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_an_npz_without_points_and_a_missing_file_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", rows=np.zeros((3, 2)))
    with pytest.raises(InputError, match="no array 'points'"):
        read_points(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"two-moons, .*, sphere, u1, "):
        read_points(tmp_path / "three-moons")


def test_too_few_rows_say_how_many_suffice(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"

    def opened(rows: int, split: Split) -> Points:
        path.write_text("".join(f"{row},{row * row}\n" for row in range(rows)))
        return Points(str(path), split)

    for split, name, least in (("train", "training", 2), ("validation", "validation", 10)):
        assert len(opened(least, split)) == 2  # type: ignore[arg-type]
        with pytest.raises(InputError) as error:
            opened(least - 1, split)  # type: ignore[arg-type]
        rows = "1 row" if least == 2 else "9 rows"
        assert str(error.value) == f"{path}: {rows}, too few for {name}; give {least} or more"
