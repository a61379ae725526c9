"""MNIST: its digits with labels, and two of them bouncing in 64×64 (moving digits, Denton & Fergus 2018)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vflow.data.datasets.splits import HELD_OUT, Split, hash_fraction
from vflow.data.datasets.types import ImageExample
from vflow.errors import InputError
from vflow.randomness import generator

SIDE = 64
DIGIT = 28
DIGITS = 10  # labels are 0..9
MAX_POSITION = SIDE - DIGIT  # positions run over 0..MAX_POSITION
MIN_SPEED, MAX_SPEED = 2, 5  # px per frame along each axis
_FILES = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
LENGTHS = {"train": 50_000, "validation": 2_500, "test": 1_000}


class MovingDigits:
    """Clips of two bouncing digits, generated on the fly; the brighter pixel shows where they overlap.

    Each digit moves by a whole 2 to 5 px per frame along each axis. A step that would cross a wall ends at
    it; there both parts of the velocity are drawn anew, and the digit leaves inward. MNIST's training digits
    are divided 95 : 5 by hash of their index into train and validation; its test digits serve "test".

    Args:
        frames: per example.
        channels: 1, or 3 equal ones.
        split: "train", "validation" or "test".
        root: folder of the IDX files, or of MNIST/raw with them; None takes the variable VFLOW_DATA.

    Raises:
        InputError: the digits are not there, damaged or of another kind; the message says what to do.
    """

    def __init__(self, *, frames: int, channels: int, split: Split, root: str | Path | None = None) -> None:
        self.frames, self.channels, self.split = frames, channels, split
        self.digits = _digits(split, root)[0]

    def __len__(self) -> int:
        return LENGTHS[self.split]

    def example(self, index: int, key: tuple[int, ...]) -> np.ndarray:
        """Example ``index`` of (split, key): uint8 (frames, 64, 64, channels)."""
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        return np.repeat(draw_digits(*self.parts(index, key)), self.channels, axis=-1)

    def parts(self, index: int, key: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Both digits of an example, uint8 (2, 28, 28), and their top-left corners, int64 (2, frames, 2)."""
        random = generator("moving-digits", self.split, *key, index)
        digits = self.digits[random.integers(len(self.digits), size=2)]
        return digits, np.stack([trajectory(self.frames, random) for _ in digits])


def draw_digits(digits: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Frames, uint8 (T, 64, 64, 1), of digits (N, 28, 28) with their top-left corners in (N, T, 2)."""
    frames = np.zeros((corners.shape[1], SIDE, SIDE, 1), np.uint8)
    for digit, path in zip(digits, corners, strict=True):
        for frame, (y, x) in zip(frames, path, strict=True):
            part = frame[y : y + DIGIT, x : x + DIGIT, 0]
            np.maximum(part, digit, out=part)
    return frames


class MnistImages:
    """MNIST's digits with their labels, divided as for ``MovingDigits``.

    Args:
        split: "train", "validation" or "test".
        root: folder of the IDX files, or of MNIST/raw with them; None takes the variable VFLOW_DATA.
        shift: largest random displacement of training digits along each axis, in pixels.

    Raises:
        InputError: the digits are not there, damaged or of another kind; the message says what to do.
    """

    def __init__(self, *, split: Split, root: str | Path | None = None, shift: int = 0) -> None:
        self.shift = shift if split == "train" else 0
        self.images, self.labels = _digits(split, root)

    def __len__(self) -> int:
        return len(self.images)

    def example(self, index: int, key: tuple[int, ...]) -> ImageExample:
        """Digit ``index``, moved as ``key`` says: uint8 (28, 28, 1) and its label, int64 ()."""
        image = self.images[index]
        if self.shift:
            random = generator("digits", *key, index)
            top, left = random.integers(2 * self.shift + 1, size=2)
            image = np.pad(image, self.shift)[top : top + DIGIT, left : left + DIGIT]
        return ImageExample(image[..., None], self.labels[index])


def _digits(split: Split, root: str | Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one split."""
    images, labels = load_mnist(root, train=split != "test")
    if split == "test":
        return images, labels
    held = np.array([hash_fraction(f"mnist-train-{i}") < HELD_OUT for i in range(len(images))])
    kept = held == (split == "validation")
    return images[kept], labels[kept]


def trajectory(frames: int, random: np.random.Generator) -> np.ndarray:
    """Top-left corners (y, x) of one digit, int64 (frames, 2), within 0..36."""
    start = random.integers(MAX_POSITION + 1, size=2)
    return np.stack([start, *_path(start, _velocity(start, random), frames - 1, random)])


def next_corners(corners: np.ndarray, frames: int, random: np.random.Generator) -> np.ndarray:
    """One future of a digit, int64 (frames, 2), given two or more of its corners: the true process.

    Away from walls the last two corners tell the velocity; at a wall it is drawn.
    """
    last = corners[-1]
    velocity = _velocity(last, random) if _at_wall(last) else last - corners[-2]
    return np.stack(list(_path(last, velocity, frames, random)))


def _path(
    position: np.ndarray, velocity: np.ndarray, frames: int, random: np.random.Generator
) -> Iterator[np.ndarray]:
    """Corners after ``position``."""
    for _ in range(frames):
        position = np.clip(position + velocity, 0, MAX_POSITION)
        if _at_wall(position):
            velocity = _velocity(position, random)
        yield position


def _at_wall(position: np.ndarray) -> bool:
    return bool(np.any((position == 0) | (position == MAX_POSITION)))


def _velocity(position: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A random velocity (y, x) that leads away from any wall that ``position`` touches."""
    speed, sign = random.integers(MIN_SPEED, MAX_SPEED + 1, size=2), random.choice((-1, 1), size=2)
    return speed * np.where(position == 0, 1, np.where(position == MAX_POSITION, -1, sign))


def load_mnist(root: str | Path | None, *, train: bool) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (N, 28, 28), and labels, int64 (N,), of MNIST's training or test set, or of own digits.

    Args:
        root: folder that holds the four IDX files, or MNIST/raw with them, or MNIST itself; None takes the
            environment variable VFLOW_DATA.

    Raises:
        InputError: the IDX files are absent or damaged, or hold other images or labels than digits have.
    """
    from torchvision.datasets.mnist import read_image_file, read_label_file

    given = root if root is not None else os.environ.get("VFLOW_DATA")
    if not given:
        need = "digits need MNIST; give its folder with --data, or set VFLOW_DATA"
        raise InputError(f"{need}. {_fetch('data')}")
    folder = Path(given)
    raw = _idx_folder(folder)
    if folder.name == "MNIST" and raw.parent == folder:
        folder = folder.resolve().parent
    paths = [raw / f"{'train' if train else 't10k'}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
    try:
        images, labels = read_image_file(str(paths[0])).numpy(), read_label_file(str(paths[1])).numpy()
    except (OSError, ValueError, RuntimeError, AssertionError, TypeError, IndexError, KeyError) as error:
        raise InputError(f"{raw}: damaged IDX files; delete them. {_fetch(str(folder))}") from error
    height, width = images.shape[1:]
    if (height, width) != (DIGIT, DIGIT):
        raise InputError(f"{paths[0]}: images of {width}×{height} pixels; give images of {DIGIT}×{DIGIT}")
    if len(images) != len(labels):
        raise InputError(f"{paths[1]}: {len(labels)} labels for {len(images)} images; give one for each")
    if len(labels) and labels.max() >= DIGITS:
        raise InputError(f"{paths[1]}: holds the label {labels.max()}; give labels 0 to {DIGITS - 1}")
    return images, labels


def _idx_folder(root: Path) -> Path:
    """Folder of the four IDX files: MNIST/raw or raw in ``root``, or ``root`` itself.

    Raises:
        InputError: they are in none of these.
    """
    places = [root / "MNIST" / "raw", root / "raw", root]
    missing = [[name for name in _FILES if not (place / name).is_file()] for place in places]
    for place, names in zip(places, missing, strict=True):
        if not names:
            return place
    place, names = min(zip(places, missing, strict=True), key=lambda found: len(found[1]))
    if len(names) < len(_FILES):
        rest = f"put {', '.join(_FILES)} there, unpacked"
        raise InputError(f"{place}: no {names[0]} beside the other IDX files; {rest}")
    absent = f"no IDX files ({', '.join(_FILES)}), nor MNIST/raw with them"
    raise InputError(f"{root}: {absent}. {_fetch(str(root))}")


def _fetch(folder: str) -> str:
    call = f"from torchvision.datasets import MNIST; MNIST({folder!r}, download=True)"
    return f'To fetch it: python -c "{call}"'
