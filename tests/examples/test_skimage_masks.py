"""Masks of scikit-image's pictures: what they are, and splits that share no pixel."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from examples.mask_parts.skimage_masks import PICTURES, SHARES, SkimageMasks, prepared
from vflow.errors import ConfigError

pytest.importorskip("skimage")


def test_masks_are_binary_and_dark() -> None:
    data = SkimageMasks(32, "validation")
    examples = [data.example(i) for i in range(40)]
    masks = np.stack([e.image for e in examples])
    pictures = np.stack([e.condition for e in examples])
    assert masks.shape == (40, 32, 32, 1)
    assert pictures.shape == (40, 1, 32, 32)
    assert masks.dtype == pictures.dtype == np.uint8
    assert set(np.unique(masks)) == {0, 255}
    inside = masks[..., 0] > 0
    assert pictures[:, 0][inside].mean() + 40 < pictures[:, 0][~inside].mean()


@pytest.mark.parametrize("name", PICTURES)
def test_each_picture_has_things_and_ground(name: str) -> None:
    picture, mask = prepared(name)
    assert picture.shape == mask.shape
    assert picture.min() >= 0 and picture.max() <= 1
    assert 0.05 < mask.mean() < 0.7


def test_splits_divide_the_columns() -> None:
    ends = sorted(SHARES.values())
    assert ends[0][0] == 0 and ends[-1][1] == 1
    assert all(first[1] == second[0] for first, second in pairwise(ends))
    widths = [sum(part.shape[1] for part, _ in SkimageMasks(32, split)._parts) for split in SHARES]
    assert sum(widths) == sum(prepared(name)[0].shape[1] for name in PICTURES)


def test_an_index_is_a_place_and_a_key_its_noise() -> None:
    data = SkimageMasks(32, "validation")
    first, again, other = data.example(3, (0, 0)), data.example(3, (0, 0)), data.example(3, (0, 1))
    assert np.array_equal(first.condition, again.condition)
    assert np.array_equal(first.image, other.image)
    assert not np.array_equal(first.condition, other.condition)


def test_crops_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 38"):
        SkimageMasks(64, "test")
