"""A walk as one picture and as a film."""

from __future__ import annotations

import math

import numpy as np
from einops import rearrange

from vflow.data import media

GAP = 2
SMALLEST, LARGEST = 96, 320
"""Sides of a tile in pixels: smaller ones are enlarged by a whole number, larger ones are reduced."""
COLUMNS = 10
STEPS_PER_SECOND = 8.0


def grid(frames: np.ndarray) -> np.ndarray:
    """All steps side by side, uint8 (H, W, C): clips have a row each, pictures follow each other in rows.

    Args:
        frames: uint8 (steps, H, W, C) or (steps, T, H, W, C).
    """
    if frames.ndim == 5:
        return tiles(_moderate(frames.reshape(-1, *frames.shape[2:])), frames.shape[1])
    rows = math.ceil(len(frames) / COLUMNS)
    return tiles(_moderate(frames), math.ceil(len(frames) / rows))


def film(frames: np.ndarray, fps: float) -> tuple[np.ndarray, float]:
    """Frames uint8 (T, H, W, C) of a film, and its rate: pictures there and back, or all clips at ``fps``."""
    if frames.ndim == 4:
        return np.concatenate([frames, frames[-2:0:-1]]), STEPS_PER_SECOND
    columns = math.ceil(math.sqrt(len(frames)))
    return np.stack([tiles(at_once, columns) for at_once in frames.swapaxes(0, 1)]), fps


def tiles(pictures: np.ndarray, columns: int, between: int = 255) -> np.ndarray:
    """Pictures uint8 (N, H, W, C) in rows of ``columns``, the grey ``between`` them: uint8 (H', W', C)."""
    rows = math.ceil(len(pictures) / columns)
    padding = ((0, rows * columns - len(pictures)), (0, GAP), (0, GAP), (0, 0))
    padded = np.pad(pictures, padding, constant_values=between)
    return rearrange(padded, "(r c) h w k -> (r h) (c w) k", c=columns)[:-GAP, :-GAP]


def _moderate(pictures: np.ndarray) -> np.ndarray:
    """Tiles of a size that people can see and files can hold."""
    height, width, channels = pictures.shape[1:]
    if max(height, width) > LARGEST:
        scale = LARGEST / max(height, width)
        size = max(1, round(height * scale)), max(1, round(width * scale))
        return media.resize(pictures, *size, channels)
    factor = math.ceil(SMALLEST / min(height, width)) if max(height, width) < SMALLEST else 1
    return pictures.repeat(factor, 1).repeat(factor, 2)
