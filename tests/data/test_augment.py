"""Stray pixels in past frames."""

from __future__ import annotations

import numpy as np

from vflow.data.augment import MAX_DENSITY, corrupt


def test_strays_fill_part_of_one_rectangle_and_leave_the_input_alone() -> None:
    frames = np.full((4, 3, 32, 32), 90, np.uint8)
    for seed in range(50):
        damaged = corrupt(frames, np.random.default_rng(seed))
        assert damaged.shape == frames.shape and damaged.dtype == np.uint8
        changed = (damaged != frames).any((0, 1))
        assert changed.mean() <= 1 and (damaged != frames).any(1).mean() < MAX_DENSITY + 0.05
    assert (frames == 90).all()


def test_some_strays_stay_and_some_flicker() -> None:
    frames = np.full((4, 3, 32, 32), 90, np.uint8)
    made = [corrupt(frames, np.random.default_rng(seed)) for seed in range(40)]
    stays = [np.array_equal(d[0], d[3]) for d in made if (d != frames).any()]
    assert 0.2 < np.mean(stays) < 0.8


def test_tiny_frames_are_fine() -> None:
    assert corrupt(np.zeros((1, 1, 2, 3), np.uint8), np.random.default_rng(0)).shape == (1, 1, 2, 3)
