"""Effects of a walk in words, measured from its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEAST_AREA = 0.003
"""Share of a frame: what moves less is too small to say where it is."""
MOVED = 0.15
"""Of the range of pixels, summed over channels: by how much a pixel differs that has changed."""


class Effect(NamedTuple):
    """Words for both ends of a walk."""

    first: str
    last: str

    def __str__(self) -> str:
        return " ↔ ".join(self)


# What is measured: words for less and for more of it, and the change that people see.
DRAWN = (
    ("thin", "bold", 0.25),
    ("narrow", "wide", 0.12),
    ("low", "tall", 0.12),
    ("leaning right", "leaning left", 0.15),
)
SEEN = (
    ("dark", "bright", 0.04),
    ("cold", "warm", 0.04),
    ("green", "magenta", 0.02),
    ("pale", "colourful", 0.04),
)
PLACED = (("left", "right", 0.05), ("up", "down", 0.05))


def effect(walks: Sequence[np.ndarray]) -> Effect | None:
    """Effect that walks along one direction have in common; None if it is not clear.

    Drawings (one channel, ink is bright) are told by ink, width, height and slant; pictures by brightness and
    colours; clips also by where that is, at their end, which changes.

    Args:
        walks: from several starts, uint8 (steps, H, W, C) or (steps, T, H, W, C) each; two steps or more.
    """
    clip, last = walks[0].ndim == 5, [each[:, -1] if each.ndim == 5 else each for each in walks]
    if last[0].shape[-1] == 1:
        words, measured = [*DRAWN], [_drawn(each) for each in last]
    else:
        words = [*SEEN, *PLACED] if clip else [*SEEN]
        measured = [np.concatenate([_seen(each), _placed(each)]) if clip else _seen(each) for each in last]
    changes = np.stack(measured) / [unit for *_, unit in words]  # (walks, properties)
    size, agree = np.abs(changes.mean(0)), np.ptp(np.sign(changes), axis=0) == 0
    order = np.argsort(-size * agree)[:2]
    clear = [at for at in order if agree[at] and size[at] >= max(1.0, size[order[0]] / 2)]
    if not clear:
        return None
    ends = [words[at][:2][:: 1 if changes[0, at] > 0 else -1] for at in clear]
    return Effect(" and ".join(end[0] for end in ends), " and ".join(end[1] for end in ends))


def _moments(weight: np.ndarray) -> np.ndarray:
    """Sum, centre (x, y), spread (x, y) and shear of weights (steps, H, W): (6, steps)."""
    rows, columns = np.mgrid[: weight.shape[1], : weight.shape[2]]
    total = weight.sum((1, 2)) + 1e-9
    x, y = ((weight * places).sum((1, 2)) / total for places in (columns, rows))
    dx, dy = columns - x[:, None, None], rows - y[:, None, None]
    xx, yy, xy = ((weight * part).sum((1, 2)) / total + 1e-9 for part in (dx * dx, dy * dy, dx * dy))
    return np.stack([total, x, y, np.sqrt(xx), np.sqrt(yy), xy / yy])


def _drawn(steps: np.ndarray) -> np.ndarray:
    """Changes of log ink, log width, log height and slant."""
    ink, _, _, width, height, slant = _moments(steps[..., 0] / 255)
    along = np.stack([np.log(ink), np.log(width), np.log(height), slant])
    change: np.ndarray = along[:, -1] - along[:, 0]
    return change


def _seen(steps: np.ndarray) -> np.ndarray:
    """Changes of brightness, warmth, magenta against green, and colourfulness, of the range of pixels."""
    pixels = steps / 255
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    red, green, blue = np.moveaxis(pixels - luma[..., None], -1, 0)
    along = np.stack([luma, red - blue, -green, np.hypot(red, blue)]).mean((2, 3))
    change: np.ndarray = along[:, -1] - along[:, 0]
    return change


def _placed(steps: np.ndarray) -> np.ndarray:
    """Move of what differs from the median over steps, first to last, in widths and heights of the frame."""
    pixels = steps / 255
    moved = np.abs(pixels - np.median(pixels, 0)).sum(-1)
    moved = np.where(moved > MOVED, moved, 0)
    if min((moved[end] > 0).mean() for end in (0, -1)) < LEAST_AREA:
        return np.zeros(2)
    change: np.ndarray = np.diff(_moments(moved[[0, -1]])[1:3])[:, 0]
    return change / [steps.shape[2], steps.shape[1]]
