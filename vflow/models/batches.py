"""What goes into a VideoFlow and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

Pyramid = tuple[Tensor, ...]


class VideoBatch(NamedTuple):
    """One training batch; ``first`` is the model's ``min_context``, targets are frames first … T−1.

    frames: uint8 (B, T, C, H, W), context first.
    eps: float32 (B, T − first, C, H, W), standard normal: dequantisation noise of the targets.
    window: int64 (B, T − first), past frames each target may see, 1 … min(t, context).
    past: uint8 (B, T − 1, C, H, W), what targets see of frames 0 … T − 2 if not the frames themselves.
    """

    frames: Tensor
    eps: Tensor
    window: Tensor
    past: Tensor | None = None


class Rollout(NamedTuple):
    """State of a sampling run: the newest frame and the history of the last n, newest last."""

    frame: Tensor  # uint8 (B, C, H, W)
    history: Pyramid  # per level (B, n, C_l, H_l, W_l), absent frames zero
    present: Tensor  # (B, n) in {0, 1}
    motion: Tensor | None  # int64 (B,), displacement that led to the newest frame; None: not modelled


class Given(NamedTuple):
    """What one frame is coded given: B frames, each with its own window of the past."""

    windows: Pyramid  # per level (B, n, C_l, H_l, W_l); with motion n + 1, the moved frame last
    features: Sequence[Tensor | None]  # per level (B, F_l, H_l, W_l), for the couplings
    reference: Tensor  # uint8 (B, C, H, W), the frame before, moved if motion is modelled


class Sampled(NamedTuple):
    """One sampled frame and what was found in it before rounding."""

    frame: Tensor  # uint8 (B, C, H, W)
    raw: Tensor  # float32 (B, C, H, W), grey levels, before rounding; a value v fills [v, v + 1)
    nonfinite: Tensor  # int64 (B,), values that are NaN or infinite
    out_of_range: Tensor  # int64 (B,), values more than 0.1 grey levels outside 0 … 256
