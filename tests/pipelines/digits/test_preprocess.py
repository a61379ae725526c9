"""Any picture of a digit becomes one like MNIST's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from vflow.errors import InputError
from vflow.pipelines.digits.preprocess import prepare_digit


def pen(text: str = "5", side: int = 200, thick: int = 14, ink: int = 255, paper: int = 0) -> np.ndarray:
    """A printed digit on a square, uint8 (side, side)."""
    image = np.full((side, side), paper, np.uint8)
    scale = side / 50
    cv2.putText(
        image, text, (side // 4, 3 * side // 4), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, thick, cv2.LINE_AA
    )
    return image


def photo(seed: int = 0) -> np.ndarray:
    """The same on paper, lit from one side, grainy, larger than the digit."""
    random = np.random.default_rng(seed)
    ink = np.zeros((300, 420))
    ink[60:260, 150:350] = pen()
    light = 210 - 70 * np.linspace(0, 1, 420) - 40 * np.linspace(0, 1, 300)[:, None]
    picture = light * (1 - 0.7 * ink / 255) + random.normal(0, 4, ink.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


def centre(image: np.ndarray) -> np.ndarray:
    return np.array([(image.sum(1 - axis) @ np.arange(28)) / image.sum() for axis in (0, 1)])


@pytest.mark.parametrize("text", list("0123456789"))
def test_form(text: str) -> None:
    image = prepare_digit(pen(text))
    assert image.shape == (28, 28)
    assert image.dtype == np.uint8
    rows, columns = (np.flatnonzero((image > 60).any(axis)) for axis in (1, 0))
    assert 19 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20
    assert np.abs(centre(image) - 14).max() <= 0.55
    assert image.max() >= 250


@pytest.mark.parametrize("text", list("0123456789"))
def test_what_is_prepared_stays_as_it_is(text: str) -> None:
    image = prepare_digit(pen(text))
    assert np.abs(prepare_digit(image).astype(int) - image).max() <= 3
    assert np.abs(prepare_digit(255 - image).astype(int) - image).max() <= 3


def test_where_how_large_and_which_way_round_do_not_matter() -> None:
    image = prepare_digit(pen()).astype(int)
    moved = np.roll(pen(), (-30, 20), (0, 1))
    large = cv2.resize(pen(), None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    framed = np.pad(pen(), ((400, 10), (0, 700)))
    colour = np.stack([pen(ink=40, paper=230)] * 3, -1)
    for other in (moved, 255 - pen(), large, framed, colour, pen(ink=120, paper=60)):
        assert np.abs(prepare_digit(other) - image).mean() < 4
    assert np.array_equal(prepare_digit(pen()[..., None]), image)
    assert np.array_equal(prepare_digit(pen() / 255), image)
    assert np.array_equal(prepare_digit(torch.from_numpy(pen())), image)


def test_uneven_light_and_grain_go() -> None:
    image = prepare_digit(photo())
    assert np.abs(image.astype(int) - prepare_digit(pen())).mean() < 12
    assert (image == 0).mean() > 0.6


def test_dust_goes_and_strokes_stay() -> None:
    dusty = pen()
    dusty[5:8, 5:8] = 255
    assert np.array_equal(prepare_digit(dusty), prepare_digit(pen()))
    apart = np.zeros((100, 100), np.uint8)
    apart[20:80, 30:36] = apart[20:26, 44:60] = 255
    assert np.ptp(np.nonzero(prepare_digit(apart) > 100)[1]) >= 8


def test_thin_pens_are_broadened() -> None:
    thin, image = prepare_digit(pen(thick=1, side=600)), prepare_digit(pen(thick=42, side=600))
    assert (thin > 127).sum() > 0.3 * (image > 127).sum()


def test_nothing_is_cut_off() -> None:
    hammer = np.zeros((120, 60), np.uint8)
    hammer[10:110, 28:32] = 255
    hammer[90:110, 5:55] = 255  # its mass lies at one end
    image = prepare_digit(hammer)
    assert image[:, 14].astype(bool).sum() >= 19


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((28, 28), np.uint8),
        np.full((40, 60, 3), 255, np.uint8),
        np.full((1, 1), 9, np.uint8),
        np.clip(np.random.default_rng(0).normal(200, 6, (90, 120)), 0, 255).astype(np.uint8),
        np.where(np.random.default_rng(0).random((180, 240)) < 0.01, 255, 0).astype(np.uint8),
    ],
    ids=["black", "white", "dot", "blank paper", "stars"],
)
def test_no_ink(image: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"note\.png: no ink in it; draw one digit that stands out"):
        prepare_digit(image, "note.png")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((2, 28, 28, 3), np.uint8), r"shape \(2, 28, 28, 3\) is not one image; give H×W"),
        (np.zeros((28, 28, 2), np.uint8), r"shape \(28, 28, 2\) is not one image"),
        (np.full((28, 28), np.nan), "784 of 784 values are NaN"),
        (np.full((28, 28), 300), "whole numbers from 300 to 300"),
    ],
)
def test_not_a_picture(image: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare_digit(image)
