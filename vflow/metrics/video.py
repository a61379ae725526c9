"""Fidelity of predicted video: PSNR, SSIM, best of N, diversity, and predictors that need no model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Self

import cv2
import numpy as np
import torch

Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Prediction and target (…, H, W, C), broadcast → a figure per frame (…)."""
PSNR_LIMIT = 60.0
"""dB that a frame counts as which is hit exactly."""
FIFTH = 5
"""Predicted frame at which futures of film are compared."""
FIFTH_LIMIT = 10 * math.log10(255**2)
"""dB of a mean squared error of 1, which frames at the fifth count as that are nearer."""
STILL = 40.0
"""dB of a copy of the last given frame at the fifth from which a clip counts as still."""
MOVED = 10
"""Grey levels of any channel from which a pixel counts as moved."""
AROUND = 5
"""Side of the square in pixels around a moved one that moves as well."""


def psnr(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """PSNR in dB of each frame, (…, H, W, C) → (…), peak 255; identical frames give infinity."""
    error = (prediction.astype(np.float64) - target.astype(np.float64)) ** 2
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 / error.mean((-3, -2, -1)))


def limited_psnr(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """PSNR of each frame, at most 60 dB, so that means stay finite."""
    return np.minimum(psnr(prediction, target), PSNR_LIMIT)


def ssim(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """SSIM of each frame, (…, H, W, C) → (…), as torchmetrics has it (Gaussian window of 11, range 255)."""
    from torchmetrics.functional.image import structural_similarity_index_measure as measure

    shape = np.broadcast_shapes(prediction.shape, target.shape)
    pair = [np.broadcast_to(x, shape).reshape(-1, *shape[-3:]) for x in (prediction, target)]
    first, second = (torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float32)) for x in pair)
    with torch.autocast("cpu", enabled=False):
        values = torch.as_tensor(measure(first, second, data_range=255.0, reduction="none"))
    return values.reshape(shape[:-3]).double().numpy()


def best_of(samples: np.ndarray, target: np.ndarray) -> tuple[int, np.ndarray]:
    """The sample of (N, T, H, W, C) with the highest mean PSNR over frames: index, PSNR per frame (T,)."""
    scores = psnr(samples, target[None])
    index = int(scores.mean(1).argmax())
    return index, scores[index]


def fidelity(measure: Measure, samples: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
    """``measure`` per frame (T,) of futures (N, T, H, W, C) against what came, (T, H, W, C).

    ``best`` is of the best future, chosen once for the clip by its mean over the frames; ``mean`` is what a
    single future reaches on average, ``of_mean`` what the mean of all futures reaches.
    """
    scores = measure(samples, target[None])
    best = scores[scores.mean(1).argmax()]
    return {"best": best, "mean": scores.mean(0), "of_mean": measure(samples.mean(0), target)}


def at_fifth(futures: np.ndarray, target: np.ndarray, others: Mapping[str, np.ndarray]) -> dict[str, float]:
    """PSNR in dB at the fifth frame of futures (N, T, H, W, C) and of each of ``others`` (T, H, W, C).

    ``best`` is of the future with the least mean squared error over frames 1 to 5, ``mean`` what a single
    one has on average, ``of_mean`` that of their mean. Mean squared errors under 1 count as 1.
    """
    errors = np.square(futures[:, :FIFTH].astype(np.float32) - target[:FIFTH]).mean((2, 3, 4))
    every = np.minimum(psnr(futures[:, FIFTH - 1], target[FIFTH - 1]), FIFTH_LIMIT)
    single = {"of_mean": futures.mean(0), **others}
    return {
        "best": float(every[errors.mean(1).argmin()]),
        "mean": float(every.mean()),
        **{
            name: min(float(psnr(frames[FIFTH - 1], target[FIFTH - 1])), FIFTH_LIMIT)
            for name, frames in single.items()
        },
    }


def moved(last: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Pixels of ``target`` (T, H, W, C) where things have moved since the frame ``last``: bool (T, H, W)."""
    changed = (np.abs(target.astype(np.int16) - last) >= MOVED).any(-1).astype(np.uint8)
    return np.stack([cv2.dilate(one, np.ones((AROUND, AROUND), np.uint8)) for one in changed]) > 0


def gradient_energy(frames: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Sum over the pixels ``where`` (…, H, W) of squared differences to the next: (…, H, W, C) → (…)."""
    values = frames.astype(np.float32)
    down = np.square(np.diff(values, axis=-3)).sum(-1) * where[..., :-1, :]
    across = np.square(np.diff(values, axis=-2)).sum(-1) * where[..., :-1]
    return np.asarray(down.sum((-2, -1)) + across.sum((-2, -1)))


def faulty(futures: np.ndarray, last: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Frames of futures (N, T, H, W, C) that are blank, frozen or noise: bool (3, N, T).

    Blank: a tenth of the spread of the true frame ``target`` (T, H, W, C), or less. Frozen: changed since the
    frame ``last`` by a tenth or less of what the true frame has, where things have moved; never where none
    have. Noise: four times the gradient energy of the true frame and of the last, or more.
    """
    everywhere = np.ones(target.shape[:-1], bool)
    where = moved(last, target)
    change, true_change = (
        (np.square(frames.astype(np.float32) - last).sum(-1) * where).sum((-2, -1))
        for frames in (futures, target)
    )
    energy = np.maximum(gradient_energy(target, everywhere), gradient_energy(last, everywhere[0]))
    return np.stack(
        [
            futures.std((2, 3, 4)) <= 0.1 * target.std((1, 2, 3)),
            (change <= 0.01 * true_change) & where.any((1, 2)),
            gradient_energy(futures, everywhere) >= 4 * np.maximum(energy, 1),
        ]
    )


def diversity(samples: np.ndarray) -> float:
    """Mean over pairs of samples (N, …) of the root-mean-square difference, in grey levels.

    NaN for one sample. One pair at a time is held in float64.
    """
    pairs = itertools.combinations(samples, 2)
    apart = [math.sqrt(np.square(one.astype(np.float64) - other).mean()) for one, other in pairs]
    return float(np.mean(apart)) if apart else math.nan


class Baselines(NamedTuple):
    """Predictors fitted on training clips, of one future and of many.

    Of one: the mean frame, and per pixel, channel and horizon a line a + b·x. Of many: the changes that
    followed the training frames nearest to the last given one.
    """

    mean: np.ndarray  # float32 (H, W, C)
    offset: np.ndarray  # float32 (T, H, W, C)
    slope: np.ndarray  # float32 (T, H, W, C)
    clips: tuple[np.ndarray, ...]  # uint8 (1 + T, H, W, C), from the last given frame on

    @classmethod
    def fit(cls, clips: Iterable[np.ndarray], context: int) -> Self:
        """Least squares over uint8 clips (context + T, H, W, C), each read once and kept."""
        kept, sums = list[np.ndarray](), None
        for clip in clips:
            kept.append(clip[context - 1 :])
            y = clip[context:].astype(np.float64) / 255
            x = np.broadcast_to(clip[context - 1].astype(np.float64) / 255, y.shape)
            terms = np.stack([x, y, x * x, x * y])
            sums = terms if sums is None else sums + terms
        if sums is None:
            raise ValueError("no clips to fit on")
        x, y, xx, xy = sums / len(kept)
        slope = (xy - x * y) / np.maximum(xx - x * x, 1e-6)
        offset, mean = 255 * (y - slope * x), 255 * y.mean(0)
        return cls(mean.astype(np.float32), offset.astype(np.float32), slope.astype(np.float32), tuple(kept))

    def predict(self, context: np.ndarray) -> dict[str, np.ndarray]:
        """Frames 1 … T after ``context`` uint8 (n, H, W, C), by predictor: name → float32 (T, H, W, C)."""
        last = context[-1].astype(np.float32)
        shape = self.offset.shape
        return {
            "copy_last": np.broadcast_to(last, shape),
            "training_mean": np.broadcast_to(self.mean, shape),
            "regression": self.offset + self.slope * last,
        }

    def continuations(self, context: np.ndarray, num_samples: int) -> np.ndarray:
        """Futures uint8 (N, T, H, W, C) after ``context`` uint8 (n, H, W, C), the nearest neighbour's first.

        Each is the last given frame plus the changes of a training clip; the clips whose frame differs least
        from it (mean square) are taken, as many as there are, up to ``num_samples``.
        """
        last = context[-1].astype(np.int16)
        errors = [np.square((clip[0] - last).astype(np.float32)).mean() for clip in self.clips]
        nearest = [self.clips[index] for index in np.argsort(errors, kind="stable")[:num_samples]]
        return np.stack([(last + clip[1:] - clip[0]).clip(0, 255).astype(np.uint8) for clip in nearest])
