"""Separation of two groups by a number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def auroc(negatives: Sequence[float], positives: Sequence[float]) -> float:
    """Area under the receiver operating characteristic: P(a positive lies above a negative), ties count half.

    >>> auroc([0.0, 1.0], [1.0, 2.0])
    0.875
    """
    low, high = np.asarray(negatives, float)[:, None], np.asarray(positives, float)[None]
    return float((high > low).mean() + 0.5 * (high == low).mean())
