"""Figures of colourings: on cases whose answer is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.pipelines.colorizers import picture
from vflow.metrics.color import (
    STRIP,
    Tints,
    colorfulness,
    diversity,
    flicker,
    judge,
    mean_color_variance,
    means,
    planes,
    reduced,
    rmse,
    spread,
)


def test_error_is_over_pixels_and_both_planes() -> None:
    truth = np.zeros((2, 4, 4))
    truth[0] = 3
    truth[1, :2] = 4
    assert rmse(np.zeros_like(truth), truth) == pytest.approx(np.sqrt((9 + 8) / 2))
    assert rmse(np.stack([truth, truth + 1]), truth).tolist() == [0, 1]


def test_spread_within_and_over() -> None:
    ab = np.random.default_rng(0).normal(0, 3, (50, 2, 16, 16)) + np.arange(50)[:, None, None, None] * 10
    assert spread(ab).mean() == pytest.approx(3, rel=0.02)
    assert diversity(ab) == pytest.approx(np.sqrt(9 + 100 * np.arange(50).var(ddof=1)), rel=0.02)
    assert np.isnan([diversity(ab[:1]), mean_color_variance(ab[:1])]).all()


def test_reduced_is_the_lab_of_the_whole_picture() -> None:
    red = np.full((30, 90, 3), (180, 60, 60), np.uint8)
    assert reduced(red).shape == (2, 64, 64)
    assert np.allclose(reduced(red), planes(red[None, :1, :1])[0, 1:], atol=1e-4)


def test_tints_find_clusters_and_are_repeatable() -> None:
    random = np.random.default_rng(0)
    centres = np.array([[30, 0], [0, 30], [-30, 0], [0, -30], [40, 40]])
    photos = [c[:, None, None] + random.normal(0, 2, (2, 4, 4)) for c in centres.repeat(20, 0)]
    tints = Tints.fit(photos, 5)
    assert np.allclose(np.sort(tints.centres, 0), np.sort(centres, 0), atol=1)
    assert np.array_equal(tints.centres, Tints.fit(photos, 5).centres)
    assert np.allclose(tints.mean, centres.mean(0), atol=0.3)
    guesses = tints.guesses(np.full((2, 4, 4), 40.0))
    assert guesses["grey"] == pytest.approx(40)
    assert guesses["tints"] < 1 < guesses["mean_tint"] < 40
    assert Tints.fit([photos[0]] * 6, 5).centres.shape == (5, 2)
    with pytest.raises(ValueError, match="3 photos for 8 tints"):
        Tints.fit(photos[:3])


def test_the_largest_change_of_lightness_is_found_in_any_strip_of_a_tall_photo() -> None:
    photo = np.full((3 * STRIP + 5, 4, 3), 128, np.uint8)
    other = photo.copy()
    other[-1, 2] = 200
    tints = Tints(np.zeros(2), np.zeros((1, 2)))
    change = abs(planes(other[None])[0, 0, -1, 2] - planes(photo[None])[0, 0, -1, 2])
    assert judge(np.stack([photo, other]), photo, tints).lightness == pytest.approx(change)


def test_verdict() -> None:
    photo = picture(seed=2)
    grey = np.repeat(photo.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
    tints = Tints.fit([reduced(picture(seed=s)) for s in range(3, 13)])
    verdict = judge(np.stack([grey, photo]), photo, tints)
    assert verdict.best == 0
    assert verdict.grey == pytest.approx(np.sqrt((reduced(photo) ** 2).mean()))
    assert verdict.spread == pytest.approx(verdict.true_spread / 2, abs=0.1)
    assert verdict.lightness > 1  # the mean of bytes is not the lightness
    assert np.isnan(judge(photo[None], photo, tints).diversity)
    twice = judge(np.stack([photo, photo]), photo, tints)
    assert (twice.lightness, twice.diversity) == (0, 0)
    both = means([verdict, twice])
    assert both.lightness == verdict.lightness
    assert both.diversity == pytest.approx(verdict.diversity / 2)


def test_variance_is_split_into_mean_colours_and_the_rest() -> None:
    random = np.random.default_rng(0)
    tints = random.normal(0, 3, (400, 2, 1, 1)).repeat(8, 2).repeat(8, 3)
    assert mean_color_variance(tints) == pytest.approx(diversity(tints) ** 2)
    halves = random.normal(0, 4, (400, 2, 1, 1)) * np.where(np.arange(8) < 4, 1, -1)
    assert mean_color_variance(halves.repeat(8, 2)) == pytest.approx(0, abs=1e-9)
    both = tints + halves
    assert mean_color_variance(both) / diversity(both) ** 2 == pytest.approx(9 / 25, rel=0.1)


def test_colorfulness() -> None:
    assert colorfulness(np.full((4, 4, 3), 90, np.uint8)) == 0
    image = np.zeros((2, 2, 3), np.uint8)
    image[0, :, 0] = 100  # half red, half black: rg is 100 or 0, yb is 50 or 0
    expected = np.hypot(50, 25) + 0.3 * np.hypot(50, 25)
    assert colorfulness(image) == pytest.approx(expected)


def test_colours_that_move_with_the_film_do_not_flicker() -> None:
    random = np.random.default_rng(0)
    texture = 4 * (cv2.GaussianBlur(random.uniform(0, 255, (64, 96, 3)), (0, 0), 2) - 127.5) + 128
    moved = np.stack([texture[:48, 10 - 2 * t : 74 - 2 * t] for t in range(4)])
    calm, noisy = (
        np.clip(film, 0, 255).astype(np.uint8) for film in (moved, moved + random.normal(0, 4, moved.shape))
    )
    assert flicker(noisy, noisy) == 1
    assert flicker(calm, noisy) < 0.3
    assert np.isnan(flicker(noisy, np.repeat(calm[:1], 4, 0)))
