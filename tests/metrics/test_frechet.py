"""Fréchet distance."""

from __future__ import annotations

import numpy as np
import pytest

from vflow.errors import InputError
from vflow.metrics.frechet import frechet


def test_of_gaussians_that_are_known() -> None:
    random = np.random.default_rng(0)
    first = random.standard_normal((4000, 2))
    second = random.standard_normal((4000, 2)) * (2, 3) + (1, -2)
    # Diagonal covariances: |Δμ|² + Σ (σ₁ − σ₂)² = 1 + 4 + 1 + 4.
    assert frechet(first, second) == pytest.approx(10, rel=0.05)
    assert frechet(first, first) == pytest.approx(0, abs=1e-9)


def test_of_correlated_features_it_is_that_of_the_rotated_ones() -> None:
    random = np.random.default_rng(1)
    first, second = random.standard_normal((2, 300, 5)) * np.arange(1, 6)
    turn, _ = np.linalg.qr(random.standard_normal((5, 5)))
    assert frechet(first @ turn, second @ turn) == pytest.approx(frechet(first, second), rel=1e-9)
    mixed = first @ random.standard_normal((5, 5))
    assert frechet(mixed, second) == pytest.approx(frechet(second, mixed), rel=1e-9)
    few = frechet(mixed[:3], second[:4])  # fewer rows than features: singular covariances
    assert np.isfinite(few)
    assert few > 0


def test_what_has_no_distance() -> None:
    with pytest.raises(InputError, match="two or more"):
        frechet(np.zeros((1, 2)), np.zeros((3, 2)))
    with pytest.raises(InputError, match="NaN or infinite"):
        frechet(np.full((2, 2), np.nan), np.zeros((3, 2)))
