"""Digits are told from what is none by their strokes, on paper as well as on black."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vflow.data import media
from vflow.pipelines.digits.handwriting import TABLE, unlikeness
from vflow.pipelines.selection import unlikenesses

EXAMPLES = Path(__file__).parents[3] / "apps" / "examples"


@pytest.mark.parametrize("name", ["two", "four", "seven"])
def test_a_photographed_digit_is_one(name: str) -> None:
    """In uneven light, blurred and noisy."""
    digit = media.read_image(EXAMPLES / f"digit-{name}.png").frames[0].astype(float)
    light = np.linspace(0.6, 1, digit.shape[1])[None, :, None]
    noise = np.random.default_rng(0).normal(0, 5, digit.shape)
    photo = np.clip(cv2.GaussianBlur(digit, (0, 0), 1.5).reshape(digit.shape) * light + noise, 0, 255)
    assert unlikenesses(photo.astype(np.uint8)[None], ["digits"])["digits"] <= 1


@pytest.mark.parametrize("text", ["M", "W", "E", "K", "#"])
def test_a_letter_is_none(text: str) -> None:
    page = np.zeros((200, 200), np.uint8)
    cv2.putText(page, text, (50, 150), cv2.FONT_HERSHEY_SIMPLEX, 4, 255, 14, cv2.LINE_AA)
    assert unlikeness(page) > 1


def test_the_table_is_small() -> None:
    assert TABLE.stat().st_size < 300_000
