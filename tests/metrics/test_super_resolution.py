"""Intervals of enlarged photos."""

from __future__ import annotations

import numpy as np
import pytest

from vflow.metrics.super_resolution import Errors, fit_interval, interval, interval_figures


def picture(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Eight variants of a picture, one half flat, and a truth twice as far off as they say."""
    deviation = np.where(np.arange(96) < 48, 0.5, 8.0) * np.ones((96, 1))
    mean = np.where(np.arange(96) < 48, 100, 100 + 60 * (np.arange(96) % 4 < 2)) * np.ones((96, 1))
    variants = mean + deviation * random.normal(size=(8, 96, 96))
    return variants.astype(np.float32), (mean + 2 * deviation * random.normal(size=(96, 96))).astype(
        np.float32
    )


def test_fitted_intervals_hold_nine_of_ten_of_other_pictures() -> None:
    random = np.random.default_rng(0)
    reach, floor = fit_interval([Errors.of(*picture(random)) for _ in range(3)])
    assert 2.8 < reach < 4.2
    variants, truth = picture(random)
    low, high = interval(variants, reach, floor)
    found = interval_figures(low, high, truth)
    assert found["interval_inside"] == pytest.approx(0.9, abs=0.02)
    assert found["interval_inside_steep"] == pytest.approx(0.9, abs=0.04)
    assert found["interval_width_ratio"] < 0.8  # a constant interval must be wide everywhere


def test_the_floor_widens_where_variants_agree() -> None:
    same = np.full((8, 16, 16), 100, np.float32)
    low, high = interval(same, 2.0, 3.0)
    assert low == pytest.approx(94 * np.ones((16, 16))) and high == pytest.approx(106 * np.ones((16, 16)))
