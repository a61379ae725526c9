"""Moving digits, on a small MNIST made of rectangles."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.data.sample_media import write_mnist
from vflow.config import DataConfig, DigitsConfig, VideoFlowConfig
from vflow.data.datasets.digits import (
    MAX_POSITION,
    MnistImages,
    MovingDigits,
    load_mnist,
    next_corners,
    trajectory,
)
from vflow.data.datasets.registry import open_image_dataset, open_video_dataset
from vflow.errors import ConfigError, InputError
from vflow.randomness import generator


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_mnist(tmp_path)


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


def test_futures_of_a_path_keep_its_velocity_up_to_the_next_wall() -> None:
    for seed in range(60):
        path = trajectory(12, generator("whole", seed))
        future = next_corners(path[:5], 7, generator("future", seed))
        walls = ((path == 0) | (path == MAX_POSITION)).any(1)[4:]
        known = int(walls.argmax()) if walls.any() else 7  # frames from the fifth to the first at a wall
        assert np.array_equal(future[:known], path[5 : 5 + known])
        assert future.min() >= 0 and future.max() <= MAX_POSITION
    at_wall = np.array([[3, 4], [0, 7]])
    drawn = {tuple(next_corners(at_wall, 1, generator("turn", seed))[0]) for seed in range(200)}
    assert {y for y, _ in drawn} == {2, 3, 4, 5} and {x for _, x in drawn} == {2, 3, 4, 5, 9, 10, 11, 12}


def test_digits_bounce_with_whole_speeds_from_two_to_five() -> None:
    speeds: set[int] = set()
    for seed in range(40):
        path = trajectory(200, generator("bounce", seed))
        assert path.min() >= 0 and path.max() <= MAX_POSITION
        steps = np.diff(path, axis=0)
        inner = np.all((path[1:] > 0) & (path[1:] < MAX_POSITION), axis=1)  # steps that no wall has cut
        speeds |= set(np.abs(steps[inner]).ravel().tolist())
        for before, after, where in zip(steps[:-1], steps[1:], path[1:-1], strict=True):
            hit = (where == 0) | (where == MAX_POSITION)
            assert np.all(after[where == 0] > 0) and np.all(after[where == MAX_POSITION] < 0)
            cut = np.any(np.abs(after) < 2)
            if not hit.any() and not cut:
                free = (where + after > 0) & (where + after < MAX_POSITION) & (np.abs(before) >= 2)
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
    need = "digits need MNIST; give its folder with --data, or set VFLOW_DATA"
    assert str(error.value) == f"{need}. {fetch.format('data')}"
    with pytest.raises(InputError) as error:
        MovingDigits(frames=2, channels=1, split="train", root=tmp_path)
    message = str(error.value)
    assert message.startswith(f"{tmp_path}: no IDX files (train-images-idx3-ubyte, ")
    assert message.endswith(f"), nor MNIST/raw with them. {fetch.format(str(tmp_path))}")


@pytest.mark.parametrize("damage", [b"", b"garbage", struct.pack(">4i", 2051, 200, 28, 28) + bytes(1000)])
def test_damaged_idx_files(root: Path, damage: bytes) -> None:
    (root / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(damage)
    with pytest.raises(InputError) as error:
        load_mnist(root, train=True)
    assert str(error.value).startswith(f"{root}/MNIST/raw: damaged IDX files; delete them. To fetch it: ")


def test_idx_files_may_lie_in_the_folder_itself(root: Path, tmp_path: Path) -> None:
    flat = tmp_path / "own"
    shutil.copytree(root / "MNIST" / "raw", flat)
    for train in (True, False):
        for given, expected in zip(load_mnist(flat, train=train), load_mnist(root, train=train), strict=True):
            assert np.array_equal(given, expected) and given.dtype == expected.dtype
    (flat / "t10k-labels-idx1-ubyte").rename(flat / "t10k-labels-idx1-ubyte.gz")
    with pytest.raises(InputError, match=r"own: no t10k-labels-idx1-ubyte beside the other .* unpacked$"):
        load_mnist(flat, train=True)


def test_own_digits_of_another_kind_are_refused(root: Path) -> None:
    raw = root / "MNIST" / "raw"
    images, labels = raw / "train-images-idx3-ubyte", raw / "train-labels-idx1-ubyte"
    whole = labels.read_bytes()
    for content, fault in (
        (whole[:-1] + bytes([12]), "holds the label 12; give labels 0 to 9"),
        (struct.pack(">2i", 2049, 7) + whole[8:15], "7 labels for 200 images; give one for each"),
    ):
        labels.write_bytes(content)
        with pytest.raises(InputError) as error:
            load_mnist(root, train=True)
        assert str(error.value) == f"{labels}: {fault}"
    labels.write_bytes(whole)
    images.write_bytes(struct.pack(">4i", 2051, 200, 32, 30) + bytes(200 * 32 * 30))
    for opened in (
        lambda: MnistImages(split="train", root=root),
        lambda: MovingDigits(frames=2, channels=1, split="train", root=root),
    ):
        with pytest.raises(InputError) as error:
            opened()
        assert str(error.value) == f"{images}: images of 30×32 pixels; give images of 28×28"


def test_single_digits_keep_their_labels_and_splits(root: Path) -> None:
    seen: dict[str, set[int]] = {}
    for split in ("train", "validation", "test"):
        data = MnistImages(split=split, root=root)  # type: ignore[arg-type]
        moving = MovingDigits(frames=2, channels=1, split=split, root=root)  # type: ignore[arg-type]
        assert np.array_equal(data.images, moving.digits)
        first = 230 if split == "test" else 1
        for index in range(len(data)):
            image, label = data.example(index, (0, 0))
            assert image.shape == (28, 28, 1) and image.dtype == np.uint8 and label.dtype == np.int64
            assert label == (image.max() - first) % 10
            seen.setdefault(split, set()).add(int(image.max()))
    assert seen["train"] | seen["validation"] == set(range(1, 201))
    assert not seen["train"] & seen["validation"]


def test_training_digits_move_by_key_if_asked(root: Path) -> None:
    plain, moved = MnistImages(split="train", root=root), MnistImages(split="train", root=root, shift=1)
    corners = set()
    for epoch in range(60):
        image = moved.example(4, (0, epoch)).image
        assert np.array_equal(image, moved.example(4, (0, epoch)).image)
        corners.add(tuple(np.argwhere(image[..., 0])[0].tolist()))
        assert np.count_nonzero(image) == 240
    assert corners == {(y, x) for y in (3, 4, 5) for x in (7, 8, 9)}
    assert np.array_equal(plain.example(4, (0, 1)).image, plain.example(4, (0, 2)).image)
    held = MnistImages(split="validation", root=root, shift=1)
    assert np.array_equal(held.example(0, (0, 0)).image[..., 0], held.images[0])


def test_open_images_and_open_dataset_keep_kinds_apart(root: Path) -> None:
    config = DataConfig(name="digits", path=str(root), shift=2)
    data = open_image_dataset(config, DigitsConfig(), "train")
    assert isinstance(data, MnistImages) and data.shift == 2
    with pytest.raises(
        ConfigError, match=r"data.name = digits does not suit a model of kind videoflow; set it"
    ):
        open_video_dataset(config, VideoFlowConfig(), "train")
    with pytest.raises(
        ConfigError, match=r"data.name = photos does not suit a model of kind digits; set it to"
    ):
        open_image_dataset(DataConfig(name="photos"), DigitsConfig(), "train")
