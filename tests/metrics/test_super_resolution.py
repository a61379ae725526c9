"""Intervals of enlarged photos."""

from __future__ import annotations

import numpy as np
import pytest

from vflow.metrics.super_resolution import LEAST, Spread, deviation


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
    reach = Spread.joined([Spread.of(*picture(random)) for _ in range(3)]).reach()
    assert 2.8 < reach < 4.2
    found = Spread.of(*picture(random)).figures(reach)
    assert found["interval_inside"] == pytest.approx(0.9, abs=0.02)
    assert found["interval_inside_steep"] == pytest.approx(0.9, abs=0.04)
    assert found["interval_width_ratio"] < 0.8  # a constant interval must be wide everywhere


def test_variants_that_agree_have_a_least_deviation() -> None:
    same = np.full((8, 16, 16), 100, np.float32)
    assert deviation(same) == pytest.approx(LEAST * np.ones((16, 16)))
    assert Spread.of(same, same[0], border=4).error.shape == (64,)
