"""k-means finds the clusters that points were drawn from."""

from __future__ import annotations

import numpy as np

from vflow.clusters import k_means
from vflow.randomness import generator


def test_centres_are_those_of_the_clusters() -> None:
    true = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 11.0], [30.0, 30.0]])
    noise = generator("clusters").normal(size=(5, 200, 2))
    points = (true[:, None] + noise).reshape(-1, 2)
    found = k_means(points, 5, "test")
    distance = np.linalg.norm(found[:, None] - true, axis=-1)
    assert sorted(distance.argmin(1)) == [0, 1, 2, 3, 4] and distance.min(1).max() < 0.3
    assert np.array_equal(found, k_means(points, 5, "test"))


def test_points_that_are_all_alike_have_equal_centres() -> None:
    assert np.array_equal(k_means(np.ones((6, 3)), 4, 0), np.ones((4, 3)))
