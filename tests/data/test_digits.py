"""Moving digits, on a small MNIST made of rectangles."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from vflow.data.digits import FREE, MovingDigits, load_mnist, trajectory
from vflow.errors import InputError
from vflow.randomness import generator


def write_idx(root: Path, train: int = 200, test: int = 20) -> Path:
    """The four IDX files; digit i is a rectangle whose brightness names it."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count, first in (("train", train, 1), ("t10k", test, 230)):
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 4:24, 8:20] = (first + np.arange(count))[:, None, None]
        labels = (np.arange(count) % 10).astype(np.uint8)
        header = struct.pack(">4i", 2051, count, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = struct.pack(">2i", 2049, count)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_idx(tmp_path)


def test_examples_are_functions_of_split_key_and_index(root: Path) -> None:
    first, second = (MovingDigits(frames=12, channels=1, split="train", root=root) for _ in range(2))
    second.example(7, (3,))
    example = first.example(5, (0, 1))
    assert example.shape == (12, 64, 64, 1) and example.dtype == np.uint8
    assert np.array_equal(second.example(5, (0, 1)), example)
    for index, key in ((6, (0, 1)), (5, (0, 2)), (5, (1, 1))):
        assert not np.array_equal(first.example(index, key), example)
    colour = MovingDigits(frames=12, channels=3, split="train", root=root).example(5, (0, 1))
    assert np.array_equal(colour, np.repeat(example, 3, -1))


def test_a_longer_clip_begins_like_a_shorter_one_when_one_digit_moves() -> None:
    assert np.array_equal(trajectory(40, generator("t", 0))[:9], trajectory(9, generator("t", 0)))


def test_digits_bounce_with_whole_speeds_from_two_to_five() -> None:
    speeds: set[int] = set()
    for seed in range(40):
        path = trajectory(200, generator("bounce", seed))
        assert path.min() >= 0 and path.max() <= FREE
        steps = np.diff(path, axis=0)
        inner = np.all((path[1:] > 0) & (path[1:] < FREE), axis=1)  # steps that no wall has cut
        speeds |= set(np.abs(steps[inner]).ravel().tolist())
        for before, after, where in zip(steps[:-1], steps[1:], path[1:-1], strict=True):
            hit = (where == 0) | (where == FREE)
            assert np.all(after[where == 0] > 0) and np.all(after[where == FREE] < 0)
            cut = np.any(np.abs(after) < 2)
            if not hit.any() and not cut:
                free = (where + after > 0) & (where + after < FREE) & (np.abs(before) >= 2)
                assert np.array_equal(before[free], after[free])
    assert speeds == {2, 3, 4, 5}


def test_the_brighter_pixel_shows_where_digits_overlap(root: Path) -> None:
    data = MovingDigits(frames=20, channels=1, split="train", root=root)
    overlaps = 0
    for index in range(30):
        for frame in data.example(index, (0,))[..., 0]:
            values, counts = np.unique(frame[frame > 0], return_counts=True)
            assert len(values) <= 2
            assert counts[-1] in (240, 480)  # the brighter one is whole
            overlaps += len(counts) == 2 and counts[0] < 240
    assert overlaps > 10


def test_splits_share_no_digit(root: Path) -> None:
    digits = {}
    for split in ("train", "validation", "test"):
        data = MovingDigits(frames=2, channels=1, split=split, root=root)  # type: ignore[arg-type]
        digits[split] = set(data.digits.max((1, 2)).tolist())
    assert digits["train"] | digits["validation"] == set(range(1, 201))
    assert not digits["train"] & digits["validation"]
    assert digits["test"] == set(range(230, 250))
    assert 1 <= len(digits["validation"]) <= 25


def test_where_mnist_is_looked_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_mnist(root / "MNIST", train=False)[0].shape == (20, 28, 28)
    monkeypatch.setenv("VFLOW_DATA", str(root))
    images, labels = load_mnist(None, train=True)
    assert images.shape == (200, 28, 28) and images.dtype == np.uint8
    assert labels[:11].tolist() == [*range(10), 0]


def test_missing_mnist_says_how_to_fetch_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VFLOW_DATA", raising=False)
    fetch = 'To fetch it: python -c "from torchvision.datasets import MNIST; MNIST({!r}, download=True)"'
    with pytest.raises(InputError) as error:
        MovingDigits(frames=2, channels=1, split="train")
    need = "moving digits need MNIST; give its folder with --data, or set VFLOW_DATA"
    assert str(error.value) == f"{need}. {fetch.format('data')}"
    with pytest.raises(InputError) as error:
        MovingDigits(frames=2, channels=1, split="train", root=tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: no MNIST/raw with the four IDX files. {fetch.format(str(tmp_path))}"
    )


@pytest.mark.parametrize("damage", [b"", b"garbage", struct.pack(">4i", 2051, 200, 28, 28) + bytes(1000)])
def test_damaged_idx_files(root: Path, damage: bytes) -> None:
    (root / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(damage)
    with pytest.raises(InputError) as error:
        load_mnist(root, train=True)
    assert str(error.value).startswith(f"{root}/MNIST/raw: damaged IDX files; delete them. To fetch it: ")
