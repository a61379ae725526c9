"""The shipped models and the held-out clips they are measured on."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import vflow
from scripts.acceptance.registry import NotHere
from vflow.checkpoint import checkpoint_folder, find_checkpoints
from vflow.data.datasets.shapes import DIRECTIONS, Shapes
from vflow.data.media import list_media, read_clip
from vflow.models import VideoModel
from vflow.pipelines.evaluate.report import Progress, Settings
from vflow.registry import families, resolve

GIVEN = 3  # frames that futures of push and grasp start from
WINDOW = 20  # frames of a window of grasp


@cache
def loaded(name: str) -> Any:
    """A checkpoint of this repository, on the device named by ``VFLOW_DEVICE`` (default: cpu)."""
    if name not in find_checkpoints():
        raise NotHere(f"checkpoints/{name} is not there yet")
    return vflow.load(name, device=os.environ.get("VFLOW_DEVICE", "cpu"), allow_hub=False)


def shipped_model(name: str) -> VideoModel:
    """A video model of this repository."""
    model = loaded(name)
    assert isinstance(model, VideoModel), f"{name} is no video model"
    return model


def evaluated(model: Any, settings: Settings) -> dict[str, Any]:
    """Figures of ``vflow evaluate``."""
    evaluate = resolve(families()[model.config.family].evaluate)
    return dict(evaluate(model, settings, silent).figures)


def size(name: str) -> float:
    """Size of a checkpoint's weights, in MB."""
    return (checkpoint_folder(name) / "model.safetensors").stat().st_size / 1e6


def shape_clips(count: int) -> list[np.ndarray]:
    """``count`` clips of the test split, uint8 (5, 64, 64, 3): shapes evenly spaced, directions in turn."""
    data = Shapes(split="test")
    shapes = len(data) // len(DIRECTIONS)
    chosen = np.linspace(0, shapes - 1, count).astype(int)
    return [data.example(int(s) * len(DIRECTIONS) + i % len(DIRECTIONS)) for i, s in enumerate(chosen)]


def data(name: str, split: str) -> Path:
    """``VFLOW_DATA``/name/split."""
    folder = Path(os.environ.get("VFLOW_DATA", "")) / name / split
    if not os.environ.get("VFLOW_DATA") or not folder.is_dir():
        raise NotHere(f"needs {name}/{split}: VFLOW_DATA=the folder that holds {name}")
    return folder


@cache
def push_clips(split: str) -> np.ndarray:
    """All clips of push/``split``, uint8 (N, 20, 64, 64, 3)."""
    return np.stack([read_clip(path).frames for path in list_media(data("push", split))])


def grasp_clips(split: str) -> list[np.ndarray]:
    """All episodes of grasp/``split``, uint8 (T, 64, 64, 3) each."""
    return [read_clip(path).frames for path in list_media(data("grasp", split))]


def grasp_windows() -> list[np.ndarray]:
    """Consecutive windows of 20 frames from all test episodes: uint8 (20, 64, 64, 3)."""
    clips = grasp_clips("test")
    starts = [range(0, len(clip) - WINDOW + 1, WINDOW) for clip in clips]
    return [clip[at : at + WINDOW] for clip, some in zip(clips, starts, strict=True) for at in some]


def silent(stage: str) -> Progress:
    """Progress callback that does nothing."""
    return lambda done, total: None
