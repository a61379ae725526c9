"""Made input data: tiny clips, photos, digits, radar and points, the same in every tree and on every run."""

from __future__ import annotations

import csv
import struct
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np
from PIL import Image


def clip(number: int, frames: int = 9, side: int = 64) -> np.ndarray:
    """A bright square on textured grey, two pixels further with each frame: uint8 (T, side, side, 3)."""
    random = np.random.default_rng(number)
    made = np.repeat(random.integers(90, 130, (1, side, side, 3), dtype=np.uint8), frames, 0)
    top, left = random.integers(0, side - 2 * frames - 12, 2)
    color = random.integers(150, 256, 3)
    for t, frame in enumerate(made):
        frame[top + t : top + t + 12, left + 2 * t : left + 2 * t + 12] = color
    return made


def photo(number: int, height: int = 112, width: int = 128) -> np.ndarray:
    """Coloured waves with a sharp box: uint8 (height, width, 3)."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / a + y / b + c) for a, b, c in random.uniform(5, 20, (3, 3))]
    image = np.clip(128 + 80 * np.stack(waves, -1) + random.normal(0, 4, (height, width, 3)), 0, 255)
    top, left = random.integers(0, height // 2, 2)
    image[top : top + 30, left : left + 40] = random.integers(0, 256, 3)
    return image.astype(np.uint8)


def digit(number: int, label: int) -> np.ndarray:
    """A ring or strokes, others for each class: uint8 (28, 28)."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[:28, :28] - 14 + random.uniform(-1.5, 1.5, (2, 1, 1))
    angle = label * np.pi / 10
    stroke = np.abs(np.cos(angle) * x + np.sin(angle) * y) < 2
    ring = np.abs(np.hypot(x, y) - 3 - label % 5) < 1.5
    return (255 * ((stroke & (np.hypot(x, y) < 10)) | (ring if label % 2 else False))).astype(np.uint8)


def radar(number: int, frames: int, height: int, width: int) -> np.ndarray:
    """Showers that drift: uint8 (T, height, width), grey levels of rain rates."""
    random = np.random.default_rng(number)
    count = height * width // 4000
    centers, sizes = random.uniform(0, 1, (count, 2)) * (height, width), random.uniform(6, 20, count)
    drift = random.uniform(-2, 2, 2)
    made = np.zeros((frames, height, width))
    for t, frame in enumerate(made):
        for (top, left), size in zip(centers + t * drift, sizes, strict=True):
            reach = int(3 * size)
            y0, x0 = max(0, int(top) - reach), max(0, int(left) - reach)
            part = frame[y0 : max(0, int(top) + reach), x0 : max(0, int(left) + reach)]
            y, x = np.mgrid[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]]
            part += 150 * np.exp(-((y - top) ** 2 + (x - left) ** 2) / (2 * size**2))
    return np.clip(made, 0, 255).astype(np.uint8)


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """An npz without times, so that the same arrays give the same bytes."""
    with ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(ZipInfo(f"{name}.npy"), "w") as file:
                np.lib.format.write_array(file, array)


def write_clips(folder: Path) -> None:
    """``train`` with 20 clips, and ``test`` with 2."""
    for split, numbers in (("train", range(20)), ("test", range(20, 22))):
        (folder / split).mkdir(parents=True)
        for number in numbers:
            write_npz(folder / split / f"{number:02d}.npz", frames=clip(number))


def write_photos(folder: Path) -> None:
    """``train`` with 24 photos, and ``val`` with 2."""
    for split, numbers in (("train", range(24)), ("val", range(24, 26))):
        (folder / split).mkdir(parents=True)
        for number in numbers:
            Image.fromarray(photo(number)).save(folder / split / f"{number:02d}.png")


def write_digits(folder: Path) -> None:
    """Four IDX files as of MNIST: 400 digits to train, 40 to test."""
    folder.mkdir()
    for part, start, count in (("train", 0, 400), ("t10k", 400, 40)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = np.stack([digit(start + i, i % 10) for i in range(count)])
        (folder / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">4i", 0x803, count, 28, 28) + images.tobytes()
        )
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2i", 0x801, count) + labels.tobytes()
        )


def write_radar(folder: Path) -> None:
    """``train`` with two small events, and ``test`` with one as large as the verification reads."""
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True)
    for number, name in enumerate(("fmi_20170509", "other")):
        write_npz(folder / "train" / f"{name}.npz", frames=radar(number, 14, 144, 144))
    write_npz(folder / "test" / "event.npz", frames=radar(2, 38, 416, 464))


def write_points(path: Path) -> None:
    """A CSV of 300 rows of three dependent numbers."""
    random = np.random.default_rng(0)
    first = random.normal(size=(300, 3))
    first[:, 1] += first[:, 0] ** 2
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(first.round(4).tolist())


WRITERS: dict[str, Callable[[Path], None]] = {
    "clips": write_clips,
    "photos": write_photos,
    "mnist": write_digits,
    "radar": write_radar,
    "points.csv": write_points,
}


def made(name: str) -> str:
    """Path of made data, or of a folder in them, below the working folder; written on first use."""
    root = Path("made") / name.partition("/")[0]
    if not root.exists():
        root.parent.mkdir(exist_ok=True)
        WRITERS[root.name](root)
    return f"made/{name}"


def one_clip() -> str:
    """A clip of the size of most video models."""
    return made("clips/test/20.npz")


def one_photo() -> str:
    """A photo."""
    return made("photos/val/24.png")
