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


def spread_starts(points: np.ndarray, count: int, *key: int | str) -> np.ndarray:
    """``count`` of points (N, D) far from one another, the starts of k-means++, a function of ``key``."""
    return np.stack(_starts(points, count, generator(*key)))


def _starts(points: np.ndarray, count: int, random: np.random.Generator) -> list[np.ndarray]:
    centres = [points[random.integers(len(points))]]
    nearest = _distances(points, centres[0])
    while len(centres) < count:
        share = nearest / nearest.sum() if nearest.any() else None
        centres.append(points[random.choice(len(points), p=share)])
        nearest = np.minimum(nearest, _distances(points, centres[-1]))
    return centres


def _lloyd(points: np.ndarray, count: int, random: np.random.Generator) -> tuple[float, np.ndarray]:
    """Sum of squared distances, and centres (count, D)."""
    centres = _starts(points, count, random)
    for _ in range(ROUNDS):
        own = np.stack([_distances(points, centre) for centre in centres], 1).argmin(1)
        moved = [points[own == k].mean(0) if (own == k).any() else centres[k] for k in range(count)]
        if np.array_equal(moved, centres):
            break
        centres = moved
    return float(np.min([_distances(points, centre) for centre in centres], 0).sum()), np.stack(centres)


def _distances(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Squared distances (N,); one centre at a time, so that memory does not grow with their number."""
    squared: np.ndarray = ((points - centre) ** 2).sum(-1)
    return squared
