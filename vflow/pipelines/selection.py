"""Choice of a shipped model by what is in an image or clip: pixels alone, in a fraction of a second.

A frame becomes statistics of its values, gradients, frequencies and places (``features``). Their squared
Mahalanobis distance from those of a model's training frames, that of its texture alone, and the largest
deviation of one of them say how unlike it is. All are two-sided: what is flatter than the training data is as
far away as what is busier.
``scripts/fit_selection.py`` measures the statistics and the limits, and how well they separate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np

from vflow import catalog
from vflow.data import media
from vflow.errors import CheckpointError, InputError
from vflow.pipelines.digits import handwriting

SIDE = 64
MAX_FRAMES = 8
MARGIN = 1.15
REFERENCES = Path(__file__).with_suffix(".npz")
SAME_DATA = {
    "enlarge": "colorizer",
    "colorizer-regions": "colorizer",
    "shapes-guided": "shapes",
}
"""Checkpoint → the one whose statistics serve for it: it was trained on the same data."""
DIGITS = "digits"
"""Model of digits, whose strokes tell them (``vflow.pipelines.digits.handwriting``)."""
GENERALIST = "any"
"""Model of clips of any kind, for those that no other knows."""
CLIP_FAMILIES = ("videoflow", "nowcast")
FEWEST_BITS = {"push": GENERALIST}
"""Best model of the futures of its data → the one that spends fewer bits on them."""
KNOWN = 1.6
"""Unlikeness up to which a clip counts as known when a model is chosen: strange film has 3 and more."""
Purpose = Literal["futures", "bits"]


def features(frame: np.ndarray) -> np.ndarray:
    """Statistics of a frame, uint8 (H, W, C), float64 (D,)."""
    rgb = media.resize(frame[None], SIDE, SIDE, 3)[0].astype(np.float64) / 255
    grey = rgb.mean(-1)
    blocks = rgb.reshape(4, SIDE // 4, 4, SIDE // 4, 3).mean((1, 3)).ravel()
    histogram = np.sqrt(np.histogram(grey, 16, (0, 1))[0] / grey.size)
    chroma = rgb.max(-1) - rgb.min(-1)
    steep = np.abs(np.diff(grey, axis=1))
    shares = [(steep < 0.5 / 255).mean(), (steep > 0.1).mean()]
    gradients, peaks = [], []
    for scale in (1, 2, 4):
        small = grey.reshape(SIDE // scale, scale, SIDE // scale, scale).mean((1, 3))
        down, across = np.diff(small, axis=0), np.diff(small, axis=1)
        gradients += [np.abs(down).mean(), np.abs(across).mean()]
        peaks += [*sorted((_kurtosis(down), _kurtosis(across))), _patchiness(down[:, :-1], across[:-1])]
    power = np.abs(np.fft.rfft2(grey - grey.mean())) ** 2 / grey.size
    rows, columns = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None]
    rings = np.minimum((np.hypot(rows, columns) * 12).astype(int), 5)
    bands = [power[rings == ring].mean() for ring in range(6)]
    edges = cv2.Laplacian(grey, cv2.CV_64F)
    peaked = (edges**4).mean() / ((edges**2).mean() ** 2 + 1e-9)
    logs = np.log([*(g + 1e-3 for g in gradients), *(b + 1e-5 for b in bands), peaked + 1])
    return np.concatenate([blocks, histogram, [chroma.mean(), chroma.std()], shares, logs, peaks])


TEXTURE = slice(-22, None)
"""Of the features: gradients, frequencies, and how these are spread over the frame."""


def _kurtosis(values: np.ndarray) -> float:
    """Logarithm of one more than the kurtosis: edges among flat parts are peaked, noise is not."""
    centred = values - values.mean()
    return float(np.log((centred**4).mean() / ((centred**2).mean() ** 2 + 1e-9) + 1))


def _patchiness(down: np.ndarray, across: np.ndarray) -> float:
    """Logarithm of the spread of the gradient's length over patches of 4×4, in units of its mean."""
    length = np.hypot(down, across)
    rows, columns = (side // 4 for side in length.shape)
    patches = length[: 4 * rows, : 4 * columns].reshape(rows, 4, columns, 4).mean((1, 3))
    return float(np.log(patches.std() / (patches.mean() + 1e-3) + 0.05))


def view(name: str, frame: np.ndarray) -> np.ndarray:
    """A frame, uint8 (H, W, C), as the model sees it: photos without colour."""
    in_grey = SAME_DATA.get(name, name) == "colorizer"
    return media.resize(frame[None], SIDE, SIDE, 1 if in_grey else 3)[0]


class Reference(NamedTuple):
    """Statistics of a model's training frames.

    Attributes:
        mean, spread: of each feature, float64 (D,). precision: inverse covariance, float64 (D, D); of the
            texture alone, float64 (22, 22).
        limits: of the squared distances, and of the largest deviation of one feature, float64 (3,).
    """

    mean: np.ndarray
    spread: np.ndarray
    precision: np.ndarray
    texture_precision: np.ndarray
    limits: np.ndarray

    @classmethod
    def fitted(cls, training: np.ndarray, validation: np.ndarray) -> Reference:
        """From features, float64 (N, D) each. About 1% of the validation frames lie beyond the limits, before
        these are widened by ``MARGIN`` for data from elsewhere."""
        covariance = np.cov(training.T)
        variance = np.diag(covariance) + 1e-4
        shrunk = 0.9 * covariance + np.diag(0.1 * variance)
        inverse = np.linalg.inv(shrunk), np.linalg.inv(shrunk[TEXTURE, TEXTURE])
        reference = cls(training.mean(0), np.sqrt(variance), *inverse, np.ones(3))
        limits = np.quantile(reference.deviations(validation), 0.99, axis=0)
        unlike = reference._replace(limits=limits).unlikeness(validation)
        return reference._replace(limits=MARGIN * limits * max(1.0, float(np.quantile(unlike, 0.99))))

    def deviations(self, values: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distance, that of the texture, and largest deviation: (N, D) → (N, 3)."""
        centred = values - self.mean
        texture = centred[:, TEXTURE]
        distance = ((centred @ self.precision) * centred).sum(1)
        texture_distance = ((texture @ self.texture_precision) * texture).sum(1)
        return np.stack([distance, texture_distance, np.abs(centred / self.spread).max(1)], axis=1)

    def unlikeness(self, values: np.ndarray) -> np.ndarray:
        """Deviations in units of their limits, of features float64 (N, D) → (N,): over 1 is unlike."""
        return (self.deviations(values) / self.limits).max(1)


def unlikeness(name: str, frame: np.ndarray, reference: Reference | None = None) -> float:
    """Unlikeness of a frame, uint8 (H, W, C), to a model's training frames, in units of its limits.

    Digits are told by their strokes; other models by ``reference``, which is the table's when not given.
    """
    if name != DIGITS:
        known = references()[name] if reference is None else reference
        return float(known.unlikeness(features(view(name, frame))[None])[0])
    try:
        return handwriting.unlikeness(frame)
    except InputError:
        return float("inf")


@lru_cache(maxsize=1)
def references() -> dict[str, Reference]:
    """Statistics by the name of a shipped model, one for each kind of data but digits."""
    with np.load(REFERENCES) as saved:
        names = dict.fromkeys(key.split("/")[0] for key in saved.files)
        return {name: Reference(*(saved[f"{name}/{part}"] for part in Reference._fields)) for name in names}


def unlikenesses(frames: np.ndarray, names: Iterable[str]) -> dict[str, float]:
    """Unlikeness of frames, uint8 (T, H, W, C), to what each of the models ``names`` was trained on.

    The median over up to eight frames; over 1 is unlike. Models whose training data are unknown are left out.
    """
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, MAX_FRAMES).astype(int))]
    known = {name: data for name in names if (data := SAME_DATA.get(name, name)) in (DIGITS, *references())}
    of_data = {
        data: float(np.median([unlikeness(data, frame) for frame in chosen]))
        for data in dict.fromkeys(known.values())
    }
    return {name: of_data[data] for name, data in known.items()}


class Choice(NamedTuple):
    """Checkpoint chosen for a clip; ``known``: it was trained on data like this."""

    name: str
    known: bool


def choose(frames: np.ndarray, purpose: Purpose = "futures", names: Sequence[str] | None = None) -> Choice:
    """Choose the checkpoint that suits a clip best, for drawing its futures or for spending few bits on it.

    Args:
        frames: uint8 (T, H, W, C).
        names: checkpoints to choose from; those of clips that ship when not given.

    Raises:
        CheckpointError: no model knows such clips, and there is none for clips of any kind.
    """
    names = catalog.shipped(CLIP_FAMILIES) if names is None else names
    fitting = {
        name: unlike
        for name, unlike in unlikenesses(frames, names).items()
        if unlike <= KNOWN and name not in SAME_DATA
    }
    if fitting:
        best = min(fitting, key=lambda name: fitting[name])
        other = FEWEST_BITS.get(best, best) if purpose == "bits" else best
        return Choice(other if other in names else best, True)
    if GENERALIST not in names:
        raise CheckpointError(
            f"{catalog.AUTO}: no model here has seen such clips; train one, or name {', '.join(names)}"
        )
    return Choice(GENERALIST, False)
