"""Fréchet distance between two sets of features.

It is FVD or FID only on the features of I3D or Inception; on others it has no such name, and figures on the
features of different networks, or on different numbers of pictures, do not compare.
"""

from __future__ import annotations

import numpy as np

from vflow.errors import InputError


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) of Gaussians fitted to features (N, D) and (M, D).

    Raises:
        InputError: fewer than two rows on a side, or features that are not finite.
    """
    if min(len(first), len(second)) < 2:
        raise InputError("a Fréchet distance needs two or more images on each side; raise --limit")
    one, two = first.astype(np.float64), second.astype(np.float64)
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        raise InputError("features: some are NaN or infinite; give a network that takes values in 0..1")
    covariances = [np.atleast_2d(np.cov(x, rowvar=False)) for x in (one, two)]
    root = _root(covariances[0])
    # The eigenvalues of Σ₁^½ Σ₂ Σ₁^½ are those of Σ₁ Σ₂, and this matrix is symmetric.
    mixed = np.linalg.eigvalsh(root @ covariances[1] @ root)
    traces = sum(np.trace(covariance) for covariance in covariances)
    apart = ((one.mean(0) - two.mean(0)) ** 2).sum()
    return float(max(0.0, apart + traces - 2 * np.sqrt(np.maximum(mixed, 0)).sum()))


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
