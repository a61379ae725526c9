"""Fidelity of predicted video: PSNR, SSIM, best of N, diversity, and predictors that need no model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import NamedTuple, Self

import numpy as np
import torch

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


def diversity(samples: np.ndarray) -> float:
    """Mean over pairs of samples (N, …) of the root-mean-square difference, in grey levels.

    NaN for one sample. One pair at a time is held in float64.
    """
    pairs = itertools.combinations(samples, 2)
    apart = [math.sqrt(np.square(one.astype(np.float64) - other).mean()) for one, other in pairs]
    return float(np.mean(apart)) if apart else math.nan


class Baselines(NamedTuple):
    """Fitted on training clips: the mean frame, and per pixel, channel and horizon a line a + b·x."""

    mean: np.ndarray  # float32 (H, W, C)
    offset: np.ndarray  # float32 (T, H, W, C)
    slope: np.ndarray  # float32 (T, H, W, C)

    @classmethod
    def fit(cls, clips: Iterable[np.ndarray], context: int) -> Self:
        """Least squares over uint8 clips (context + T, H, W, C), each read once."""
        count, sums = 0, None
        for clip in clips:
            y = clip[context:].astype(np.float64) / 255
            x = np.broadcast_to(clip[context - 1].astype(np.float64) / 255, y.shape)
            terms = np.stack([x, y, x * x, x * y])
            sums = terms if sums is None else sums + terms
            count += 1
        if sums is None:
            raise ValueError("no clips to fit on")
        x, y, xx, xy = sums / count
        slope = (xy - x * y) / np.maximum(xx - x * x, 1e-6)
        offset, mean = 255 * (y - slope * x), 255 * y.mean(0)
        return cls(mean.astype(np.float32), offset.astype(np.float32), slope.astype(np.float32))

    def predict(self, context: np.ndarray) -> dict[str, np.ndarray]:
        """Frames 1 … T after ``context`` uint8 (n, H, W, C), by predictor: name → float32 (T, H, W, C)."""
        last = context[-1].astype(np.float32)
        shape = self.offset.shape
        return {
            "copy last": np.broadcast_to(last, shape),
            "training mean": np.broadcast_to(self.mean, shape),
            "per-pixel regression": self.offset + self.slope * last,
        }
