"""Fidelity of predicted video: PSNR, SSIM, best of N, diversity, and predictors that need no model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple, Self

import numpy as np
import torch

Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Prediction and target (…, H, W, C), broadcast → a figure per frame (…)."""
PSNR_LIMIT = 60.0
"""dB that a frame counts as which is hit exactly."""


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
            "copy last": np.broadcast_to(last, shape),
            "training mean": np.broadcast_to(self.mean, shape),
            "per-pixel regression": self.offset + self.slope * last,
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
