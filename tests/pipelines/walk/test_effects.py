"""Effects of walks are read off their pictures: each is told of pictures that are made to have it."""

from __future__ import annotations

import numpy as np
import pytest

from vflow.pipelines.walk.effects import Effect, effect

STEPS = 5
THIN, TALL = slice(12, 16), slice(6, 22)


def drawing(x: slice, y: slice, slant: float = 0.0) -> np.ndarray:
    """A bar of ink, uint8 (28, 28, 1), that leans left."""
    made = np.zeros((28, 28, 1), np.uint8)
    for row in range(y.start, y.stop):
        shift = round(slant * (row - 14))
        made[row, x.start + shift : x.stop + shift] = 255
    return made


def scene(x: int, y: int) -> np.ndarray:
    """A clip of two frames, uint8 (2, 32, 32, 3), that ends with a red square at a place on grey."""
    clip = np.full((2, 32, 32, 3), 128, np.uint8)
    clip[-1, y : y + 6, x : x + 6] = 200, 20, 20
    return clip


def plain(*color: int) -> np.ndarray:
    """A picture of one colour, uint8 (8, 8, 3)."""
    return np.full((8, 8, 3), color, np.uint8)


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        (drawing(THIN, slice(9, 19)), drawing(THIN, slice(4, 24)), "low ↔ tall"),
        (drawing(slice(8, 20), slice(4, 24)), drawing(THIN, slice(4, 24)), "wide ↔ narrow"),
        (drawing(THIN, TALL, 0.4), drawing(THIN, TALL, -0.4), "leaning left ↔ leaning right"),
        (scene(2, 12), scene(24, 12), "left ↔ right"),
        (scene(12, 24), scene(12, 2), "down ↔ up"),
        (plain(90, 120, 160), plain(160, 120, 90), "cold ↔ warm"),
        (plain(100, 100, 100), plain(130, 95, 70), "cold and pale ↔ warm and colourful"),
        (plain(60, 60, 60), plain(90, 90, 90), "dark ↔ bright"),
        (plain(60, 60, 60), plain(62, 62, 62), "None"),
        (scene(12, 12), scene(12, 12), "None"),
    ],
)
def test_words(first: np.ndarray, last: np.ndarray, told: str) -> None:
    away = scene(12, 12) if first.ndim == 4 else first
    walk = np.stack([first, *[away] * (STEPS - 2), last])
    assert str(effect([walk])) == told
    assert told == "None" or str(effect([walk[::-1]])) == " ↔ ".join(reversed(told.split(" ↔ ")))


def test_only_what_starts_have_in_common() -> None:
    bolder = np.stack([plain(grey, grey, grey) for grey in (60, 90)])
    assert effect([bolder, bolder]) == Effect("dark", "bright")
    assert effect([bolder, bolder[::-1]]) is None
