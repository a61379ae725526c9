"""Any frames in the form a model was trained on: type, layout, size, rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vflow.config import VideoConfig
from vflow.data import media
from vflow.errors import InputError
from vflow.pipelines.common import as_array, config_of

if TYPE_CHECKING:
    from torch import nn

MIN_SIDE = 8
"""Smaller frames than this hold nothing that could be enlarged to a model's size."""

Frames = Any
"""A ``media.Clip``, or frames (T, H, W, C), numpy, torch or a list of pictures: whole numbers in 0..255 or
floats in 0..1."""


def video_config(model: nn.Module) -> VideoConfig:
    """The model's configuration.

    Raises:
        CheckpointError: the model does not predict video.
    """
    return config_of(model, VideoConfig)


def as_clip(frames: Frames) -> media.Clip:
    """``frames`` as a clip of uint8 (T, H, W, 3).

    Raises:
        InputError: not frames, channels not last, or values that are not finite or out of range.
    """
    if isinstance(frames, media.Clip):
        return frames
    return media.Clip(frames=media.as_frames(as_array(frames, "frames")), fps=None, source="frames")


def fit(
    config: VideoConfig, clip: media.Clip, *, keep_size: bool = False
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Frames uint8 (T', H, W, C) in the model's size, channels and rate, and remarks on what was done.

    Args:
        keep_size: frames keep their size where the model takes it (``config.keeps_size``).

    Raises:
        InputError: the clip has no frames or they are smaller than 8 pixels a side.
    """
    height, width = clip.frames.shape[1:3]
    if min(height, width) < MIN_SIDE:
        raise InputError(
            f"{clip.source}: {width}×{height} pixels; give frames of at least {MIN_SIDE}×{MIN_SIDE}"
        )
    glow, size = config.glow, (height, width)
    if not (keep_size and config.keeps_size(height, width)):
        size = (glow.height, glow.width)
    frames = media.fit(clip, height=size[0], width=size[1], channels=glow.channels, fps=config.fps)
    notes = list(clip.notes)
    if (height, width) != size:
        notes.append(f"fitted from {width}×{height} to the model's {glow.width}×{glow.height}")
    if len(frames) != len(clip.frames):
        notes.append(f"resampled from {clip.fps:g} to {config.fps:g} frames per second")
    return frames, tuple(notes)


def pad(frames: torch.Tensor, multiple: int) -> torch.Tensor:
    """Frames (T, C, H, W), edges repeated below and on the right until ``multiple`` divides both sides."""
    below, right = (-side % multiple for side in frames.shape[2:])
    if not below and not right:
        return frames
    padded = torch.nn.functional.pad(frames.float(), (0, right, 0, below), mode="replicate")
    return padded.to(frames.dtype)


def to_tensor(frames: np.ndarray, device: torch.device) -> torch.Tensor:
    """uint8 (T, H, W, C) array → uint8 (T, C, H, W) tensor on ``device``."""
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))).to(device)
