"""Calibration of posteriors, and distances between samples: inverse problems."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

WIDTHS = (0.2, 0.5, 1.0, 2.0)  # of the kernels of MMD
LEVELS = 100  # confidences at which calibration is measured


def calibration_error(samples: np.ndarray, truth: np.ndarray) -> float:
    """Median over confidences of |share of truths inside the interval − confidence|, worst dimension counts.

    The interval of confidence q lies between the (1 − q)/2 and (1 + q)/2 quantiles of the samples (Ardizzone
    et al. 2018, 4.2).

    Args:
        samples: float (N, S, D), S samples for each of N observations. truth: float (N, D).
    """
    ranks = (samples < truth[:, None]).mean(1)  # (N, D), uniform where calibrated
    confidences = (np.arange(LEVELS) + 0.5) / LEVELS
    inside = 2 * np.abs(ranks[..., None] - 0.5) <= confidences  # (N, D, LEVELS)
    return float(np.median(np.abs(inside.mean(0) - confidences), axis=-1).max())


def mmd(a: Tensor, b: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of samples (N, D) and (M, D) under inverse multiquadratic kernels.

    Gretton et al. 2012, the biased estimate; Σ h² / (h² + ‖a − b‖²) over four widths h (Tolstikhin et al.
    2018).
    """

    def kernel(first: Tensor, second: Tensor) -> Tensor:
        squared = (first[:, None] - second).square().sum(2)
        return torch.stack([h * h / (h * h + squared) for h in WIDTHS]).sum(0).mean()

    return kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)
