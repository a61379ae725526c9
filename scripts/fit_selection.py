"""Measures vflow/pipelines/selection.npz, by which a model is chosen for an upload or an input.

Statistics come from training frames, thresholds and the printed figures from validation frames: AUROC of a
model's validation frames against each kind of other input, and shares of both that are told rightly.
Run from the repository: python -m scripts.fit_selection DATA (MNIST, photos, push, grasp, rain).
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from vflow.data import media
from vflow.data.datasets.digits import MnistImages
from vflow.data.datasets.folder import VideoFolder
from vflow.data.datasets.photos import Photos
from vflow.data.datasets.rain import event_names
from vflow.data.datasets.shapes import Shapes
from vflow.data.datasets.splits import Split
from vflow.data.rain import read_npz
from vflow.pipelines.selection import DIGITS, REFERENCES, SIDE, Reference, features, unlikeness, view

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
    clips = VideoFolder(data / "push" / "train", frames=2, size=(SIDE, SIDE, 3), fps=10, split=split)
    return [clips.example(i, (0, i))[-1] for i in _indices(len(clips), COUNTS[split])]


def grasp(data: Path, split: Split) -> Frames:
    """Frames of a humanoid's camera; eight episodes are held out."""
    folder, size = data / "grasp" / "train", (SIDE, SIDE, 3)
    clips = VideoFolder(folder, frames=2, size=size, fps=10, split=split, held_out=8)
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
    DIGITS: digits,
    "colorizer": photos,
    "rain": rain,
}


CLIPS = ("shapes", "push", "grasp", "rain")
"""Models whose clips may come cropped or from a codec."""


def as_found(frames: Frames) -> Frames:
    """Frames of clips as people have them: of six, one is cropped, and one went through a lossy codec."""
    random = np.random.default_rng(1)
    return [[_same, _cropped, _same, _same, _coded, _same][n % 6](f, random) for n, f in enumerate(frames)]


def _same(frame: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return frame


def _cropped(frame: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A part of 80 to 95% of the sides."""
    height, width = (int(side * random.uniform(0.8, 0.95)) for side in frame.shape[:2])
    top, left = random.integers(frame.shape[0] - height + 1), random.integers(frame.shape[1] - width + 1)
    return frame[top : top + height, left : left + width]


def _coded(frame: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The frame as H.264 leaves it, at a constant rate factor of 18 to 34."""
    written = io.BytesIO()
    with av.open(written, "w", format="mp4") as container:
        stream = container.add_stream("libx264", 10)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = (side // 2 * 2 for side in frame.shape[:2])
        stream.pix_fmt, stream.options = "yuv420p", {"crf": str(random.integers(18, 35))}
        picture = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(frame[: stream.height, : stream.width]), format="rgb24"
        )
        container.mux([*stream.encode(picture), *stream.encode(None)])
    written.seek(0)
    with av.open(written, "r") as coded:
        return next(coded.decode(video=0)).to_ndarray(format="rgb24")


def auroc(near: Sequence[float], far: Sequence[float]) -> float:
    """Area under the ROC curve: P(far > near), where ties count half.

    >>> auroc([0.0, 1.0], [1.0, 2.0])
    0.875
    """
    low, high = np.asarray(near, float)[:, None], np.asarray(far, float)[None]
    return float((high > low).mean() + 0.5 * (high == low).mean())


def seen(name: str, frames: Frames) -> np.ndarray:
    """Features of frames as the model ``name`` sees them, float64 (N, D)."""
    return np.array([features(view(name, frame)) for frame in frames])


def training_features(name: str, data: Path) -> np.ndarray | None:
    """Features of a model's training frames, float64 (N, D); None of digits, which strokes tell."""
    return None if name == DIGITS else seen(name, frames_of(name, data, "train"))


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


def separation(name: str, training: np.ndarray | None, inputs: dict[str, Frames]) -> Separation:
    """Figures of statistics of ``training``, as ``training_features`` gives it.

    ``inputs``: validation frames of each kind, the model's own among them: half of them set the limits, the
    figures are of the others.
    """
    half = len(inputs[name]) // 2
    reference = None if training is None else Reference.fitted(training, seen(name, inputs[name][:half]))
    near = [unlikeness(name, frame, reference) for frame in inputs[name][half:]]
    far = {
        other: [unlikeness(name, frame, reference) for frame in frames]
        for other, frames in inputs.items()
        if other != name
    }
    return Separation(
        float(np.mean(np.array(near) <= 1)),
        {other: auroc(near, values) for other, values in far.items()},
        {other: float(np.mean(np.array(values) > 1)) for other, values in far.items()},
    )


def frames_of(name: str, data: Path, split: Split) -> Frames:
    """Frames that the model ``name`` knows, clips as people have them."""
    frames = SOURCES[name](data, split)
    return as_found(frames) if name in CLIPS else frames


def inputs_of(data: Path) -> dict[str, Frames]:
    """Validation frames of each kind, and noise."""
    validation = {name: frames_of(name, data, "validation") for name in SOURCES}
    return {**validation, "noise": noise(data, "validation")}


def main(data: Path) -> None:
    """Measure, print and write."""
    inputs, arrays = inputs_of(data), dict[str, np.ndarray]()
    for name in SOURCES:
        training = training_features(name, data)
        found = separation(name, training, inputs)
        for other, area in found.auroc.items():
            figures = f"AUROC {area:.4f}, told {found.told[other]:.1%}, own kept {found.kept:.1%}"
            print(f"{name} against {other}: {figures}", flush=True)
        if training is None:
            continue
        fitted = Reference.fitted(training, seen(name, inputs[name]))
        arrays |= {f"{name}/{part}": array for part, array in fitted._asdict().items()}
    media.write_npz(REFERENCES, **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
