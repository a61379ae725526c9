"""Clusters of points by k-means."""

from __future__ import annotations

import numpy as np

from vflow.randomness import generator

STARTS, ROUNDS = 10, 100


def k_means(points: np.ndarray, count: int, *key: int | str) -> np.ndarray:
    """Centres, float64 (count, D), of points (N, D): Lloyd's iteration, the best of ten starts.

    Starts are those of k-means++ (Arthur & Vassilvitskii 2007), functions of ``key``.
    """
    points = points.astype(np.float64)
    fits = [_lloyd(points, count, generator(*key, start)) for start in range(STARTS)]
    return min(fits, key=lambda fit: fit[0])[1]


def _lloyd(points: np.ndarray, count: int, random: np.random.Generator) -> tuple[float, np.ndarray]:
    """Sum of squared distances, and centres (count, D)."""
    centres = points[random.integers(len(points))][None]
    while len(centres) < count:
        nearest = ((points[:, None] - centres) ** 2).sum(-1).min(1)
        share = nearest / nearest.sum() if nearest.any() else None
        centres = np.concatenate([centres, points[random.choice(len(points), 1, p=share)]])
    for _ in range(ROUNDS):
        distance = ((points[:, None] - centres) ** 2).sum(-1)
        own = distance.argmin(1)
        moved = [points[own == k].mean(0) if (own == k).any() else centres[k] for k in range(count)]
        if np.array_equal(moved, centres):
            break
        centres = np.stack(moved)
    return float(((points[:, None] - centres) ** 2).sum(-1).min(1).sum()), centres
