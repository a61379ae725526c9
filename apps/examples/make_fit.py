"""Measures `fit.npz`, from which the app judges whether an upload resembles a model's training data.

Statistics come from training frames, thresholds and the printed figures from validation frames: AUROC of a
model's validation frames against each kind of other input, and shares of both that are told rightly.
Run from the repository: python -m apps.examples.make_fit DATA (MNIST, photos, push, grasp, rain).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from apps.ui.shared.fit import SIDE, Reference, features, unlikeness, view
from vflow.data import media
from vflow.data.datasets.digits import MnistImages
from vflow.data.datasets.folder import VideoFolder
from vflow.data.datasets.photos import Photos
from vflow.data.datasets.rain import event_names
from vflow.data.datasets.shapes import Shapes
from vflow.data.datasets.splits import Split
from vflow.data.rain import read_npz
from vflow.errors import InputError

FOLDER = Path(__file__).resolve().parent
COUNTS: dict[Split, int] = {"train": 600, "validation": 120}
Frames = list[np.ndarray]


def _indices(total: int, count: int) -> list[int]:
    return np.random.default_rng(0).permutation(total)[:count].tolist()


def shapes(data: Path, split: Split) -> Frames:
    """Frames of moving shapes."""
    clips = Shapes(frames=3, split=split)
    return [clips.example(i, (0, i))[-1] for i in _indices(len(clips), COUNTS[split])]


def push(data: Path, split: Split) -> Frames:
    """Frames of robot-arm video."""
    clips = VideoFolder(data / "push" / "train", frames=2, size=(SIDE, SIDE), channels=3, fps=10, split=split)
    return [clips.example(i, (0, i))[-1] for i in _indices(len(clips), COUNTS[split])]


def grasp(data: Path, split: Split) -> Frames:
    """Frames of a humanoid's camera; eight episodes are held out."""
    folder, size = data / "grasp" / "train", (SIDE, SIDE)
    clips = VideoFolder(folder, frames=2, size=size, channels=3, fps=10, split=split, held_out=8)
    rows = np.resize(_indices(len(clips), min(len(clips), COUNTS[split])), COUNTS[split])
    return [clips.example(int(row), (0, number))[-1] for number, row in enumerate(rows)]


def digits(data: Path, split: Split) -> Frames:
    """Handwritten digits."""
    pictures = MnistImages(split=split, root=data)
    return [pictures.example(i, (0, i)).image for i in _indices(len(pictures), COUNTS[split])]


def photos(data: Path, split: Split) -> Frames:
    """Photographs, each cut to a square."""
    pictures = Photos(data / "photos", size=SIDE // 2, split=split)
    frames = [pictures.original(i) for i in _indices(len(pictures), COUNTS[split])]
    return [media.resize(frame[None], 2 * SIDE, 2 * SIDE, 3)[0] for frame in frames]


def rain(data: Path, split: Split) -> Frames:
    """Squares of rain radar with some rain in them; one event is held out."""
    held = "fmi_20170509"
    names = [name for name in event_names(data / "rain" / "train") if (name == held) == (split != "train")]
    events = [read_npz(data / "rain" / "train" / f"{name}.npz").frames for name in names]
    random, frames = np.random.default_rng(0), list[np.ndarray]()
    while len(frames) < COUNTS[split]:
        event, side = events[len(frames) % len(events)], int(random.choice((128, 256, 512)))
        row, column = (int(random.integers(length - side + 1)) for length in event.shape[1:])
        frame = event[random.integers(len(event)), row : row + side, column : column + side]
        if (frame > 0).mean() > 0.02:
            frames.append(frame[..., None].repeat(3, -1))
    return frames


def noise(data: Path, split: Split) -> Frames:
    """Uniform noise, coarse and fine, and blank frames."""
    random = np.random.default_rng(0)
    frames = []
    for number in range(COUNTS[split] // 2):
        side = (64, 32, 16, 8)[number % 4]
        fine = random.integers(0, 256, (1, side, side, 3), np.uint8)
        frames.append(media.resize(fine, SIDE, SIDE, 3)[0])
        frames.append(np.full((SIDE, SIDE, 3), random.integers(0, 256, 3), np.uint8))
    return frames


SOURCES: dict[str, Callable[[Path, Split], Frames]] = {
    "shapes": shapes,
    "push": push,
    "grasp": grasp,
    "digits": digits,
    "colorizer": photos,
    "rain": rain,
}


def auroc(near: list[float], far: list[float]) -> float:
    """Area under the receiver operating characteristic: P(far > near), ties count half."""
    low, high = np.array(near)[:, None], np.array(far)[None]
    return float((high > low).mean() + 0.5 * (high == low).mean())


def seen(name: str, frames: Frames) -> np.ndarray:
    """Features of frames as the model ``name`` sees them, float64 (N, D), but for those it cannot take."""
    values = []
    for frame in frames:
        try:
            values.append(features(view(name, frame)))
        except InputError:
            continue
    return np.array(values)


class Separation(NamedTuple):
    """Figures of a model's statistics: one input kind after the other against its own.

    Attributes:
        kept: share of its own frames that are judged to fit.
        auroc: of its own frames against each other kind of input.
        told: share of each other kind of input that is judged not to fit.
    """

    kept: float
    auroc: dict[str, float]
    told: dict[str, float]


def separation(name: str, training: np.ndarray, inputs: dict[str, Frames]) -> Separation:
    """Figures of statistics of ``training``, features (N, D) of a model's training frames.

    ``inputs``: validation frames of each kind, the model's own among them: half of them set the limits, the
    figures are of the others.
    """
    half = len(inputs[name]) // 2
    reference = Reference.fitted(training, seen(name, inputs[name][:half]))
    near = [unlikeness(name, reference, frame) for frame in inputs[name][half:]]
    far = {
        other: [unlikeness(name, reference, frame) for frame in frames]
        for other, frames in inputs.items()
        if other != name
    }
    return Separation(
        float(np.mean(np.array(near) <= 1)),
        {other: auroc(near, values) for other, values in far.items()},
        {other: float(np.mean(np.array(values) > 1)) for other, values in far.items()},
    )


def inputs_of(data: Path) -> dict[str, Frames]:
    """Validation frames of each kind, and noise."""
    validation = {name: source(data, "validation") for name, source in SOURCES.items()}
    return {**validation, "noise": noise(data, "validation")}


def main(data: Path) -> None:
    """Measure, print and write."""
    inputs, arrays = inputs_of(data), dict[str, np.ndarray]()
    for name in SOURCES:
        training = seen(name, SOURCES[name](data, "train"))
        found = separation(name, training, inputs)
        for other, area in found.auroc.items():
            figures = f"AUROC {area:.4f}, told {found.told[other]:.1%}, own kept {found.kept:.1%}"
            print(f"{name} against {other}: {figures}", flush=True)
        fitted = Reference.fitted(training, seen(name, inputs[name]))
        arrays |= {f"{name}/{part}": array for part, array in fitted._asdict().items()}
    media.write_npz(FOLDER / "fit.npz", **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
