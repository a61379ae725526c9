"""The shipped models and the held-out clips they are measured on."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
from torch import nn

import vflow
from scripts.acceptance.registry import NotHere
from vflow.checkpoint import find_checkpoints
from vflow.data.datasets.shapes import DIRECTIONS, Shapes
from vflow.data.media import list_media, read_clip
from vflow.models import VideoModel

GIVEN = 3  # frames that push futures start from


@cache
def loaded(name: str) -> nn.Module:
    """A checkpoint of this repository, on the device that ``VFLOW_DEVICE`` names (default: cpu)."""
    if name not in find_checkpoints():
        raise NotHere(f"checkpoints/{name} is not there yet")
    return vflow.load(name, device=os.environ.get("VFLOW_DEVICE", "cpu"), allow_hub=False)


def shipped_model(name: str) -> VideoModel:
    """A video model of this repository."""
    model = loaded(name)
    assert isinstance(model, VideoModel), f"{name} is no video model"
    return model


def shape_clips(count: int) -> list[np.ndarray]:
    """``count`` clips of the test split, uint8 (5, 64, 64, 3): shapes evenly spaced, directions in turn."""
    data = Shapes(split="test")
    shapes = len(data) // len(DIRECTIONS)
    chosen = np.linspace(0, shapes - 1, count).astype(int)
    return [data.example(int(s) * len(DIRECTIONS) + i % len(DIRECTIONS)) for i, s in enumerate(chosen)]


@cache
def push_clips(split: str) -> np.ndarray:
    """All clips of ``VFLOW_DATA``/push/``split``, uint8 (N, 20, 64, 64, 3)."""
    folder = Path(os.environ.get("VFLOW_DATA", "")) / "push" / split
    if not os.environ.get("VFLOW_DATA") or not folder.is_dir():
        raise NotHere("needs the push clips: VFLOW_DATA=folder with push/train and push/test")
    return np.stack([read_clip(path).frames for path in list_media(folder)])
