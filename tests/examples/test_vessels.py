"""Simulated vessels: masks, pictures, and what they depend on."""

from __future__ import annotations

import numpy as np

from examples.mask_parts.vessels import Vessels


def test_masks_are_binary_and_neither_empty_nor_full() -> None:
    data = Vessels(32)
    examples = [data.example(i) for i in range(30)]
    masks = np.stack([e.image for e in examples])
    assert masks.shape == (30, 32, 32, 1)
    assert set(np.unique(masks)) == {0, 255}
    assert 0.03 < (masks > 0).mean() < 0.4
    assert all(e.condition.shape == (1, 32, 32) and e.condition.dtype == np.uint8 for e in examples)


def test_vessels_are_darker_than_what_is_around_them() -> None:
    data = Vessels(32)
    examples = [data.example(i) for i in range(20)]
    inside = np.concatenate([e.condition[0][e.image[..., 0] > 0] for e in examples])
    outside = np.concatenate([e.condition[0][e.image[..., 0] == 0] for e in examples])
    assert inside.mean() + 10 < outside.mean()


def test_key_changes_the_picture_and_split_the_vessels() -> None:
    data = Vessels(16)
    first, again, other = data.example(3, (0, 0)), data.example(3, (0, 0)), data.example(3, (0, 1))
    assert np.array_equal(first.condition, again.condition)
    assert np.array_equal(first.image, other.image)
    assert not np.array_equal(first.condition, other.condition)
    assert not np.array_equal(first.image, Vessels(16, "test").example(3).image)
