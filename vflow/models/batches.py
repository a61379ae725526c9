"""What goes into a VideoFlow and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor

from vflow.bijections.base import Bijection
from vflow.bijections.histogram import LEVELS

Pyramid = tuple[Tensor, ...]


def fold(frames: Tensor) -> Tensor:
    """(B, T, C, H, W) → (B · T, C, H, W), channels-last in memory."""
    return frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def scaled(frames: Tensor) -> Tensor:
    """Bytes → [−1, 1], float32: as networks see frames."""
    return frames.float() / ((LEVELS - 1) / 2) - 1


class VideoBatch(NamedTuple):
    """One training batch; ``first`` is the model's ``min_context``, targets are frames first … T−1.

    frames: uint8 (B, T, C, H, W), context first.
    eps: float32 (B, T − first, C, H, W), standard normal: dequantisation noise of the targets.
    window: int64 (B, T − first), past frames each target may see, 1 … min(t, context).
    corrupted_past: uint8 (B, T − 1, C, H, W), what targets see of frames 0 … T − 2; None: those frames.
    sample_eps: float32 (B, N, D) with D = C · H · W, standard normal: noise of N samples of each clip's last
        frame, all levels one after the other; None where no loss needs samples.
    """

    frames: Tensor
    eps: Tensor
    window: Tensor
    corrupted_past: Tensor | None = None
    sample_eps: Tensor | None = None

    @property
    def first(self) -> int:
        """Frames before the first target."""
        return self.frames.shape[1] - self.eps.shape[1]

    @property
    def targets(self) -> Tensor:
        """The frames whose likelihood is asked for, uint8 (B · targets, C, H, W)."""
        return fold(self.frames[:, self.first :])


class ImageBatch(NamedTuple):
    """One training batch of a conditional image flow.

    images: uint8 (B, C, H, W); the colouriser's are the ab planes, value = round(ab) + 128.
    condition: labels, int64 (B,); for the colouriser float32 (B, 4, 2H, 2W),
        L in 0..100, then mask (0 or 1), a and b of the colour hints (0 where there is none).
    eps: float32 (B, C, H, W), standard normal: dequantisation noise.
    sample_eps: float32 (b, N, D) with D = C · H · W, standard normal: noise of N samples of each of the
        first b images, all levels one after the other; None where no loss needs samples.
    features: features of ``condition`` computed before; None: the model computes it.
    selected: number of leading images that losses on a part of the batch use.
    """

    images: Tensor
    condition: Tensor
    eps: Tensor
    sample_eps: Tensor | None = None
    features: Sequence[Tensor] | None = None
    selected: int = 0


class Rollout(NamedTuple):
    """State of a sampling run: the last n frames and their features or latents, newest last.

    Absent frames are zero.
    """

    frames: Tensor  # uint8 (B, n, C, H, W)
    history: Pyramid  # per level (B, n, C_l, H_l, W_l)
    mask: Tensor  # (B, n) in {0, 1}
    chains: Sequence[Bijection]  # the Glow's, matrices inverted once per run

    @property
    def frame(self) -> Tensor:
        """The newest frame, uint8 (B, C, H, W)."""
        return self.frames[:, -1]


class Condition(NamedTuple):
    """What one frame is coded given: B frames, each with its own window of the past."""

    windows: Pyramid  # per level (B, n, C_l, H_l, W_l); with a guide n + 1, the reference last
    features: Sequence[Tensor | None]  # per level (B, F_l, H_l, W_l), for the couplings
    reference: Tensor  # uint8 (B, C, H, W), the frame before, or what the guide leads to

    def repeated(self, count: int) -> Condition:
        """Each frame's ``count`` times in a row."""
        return Condition(
            tuple(window.repeat_interleave(count, 0) for window in self.windows),
            [None if f is None else f.repeat_interleave(count, 0) for f in self.features],
            self.reference.repeat_interleave(count, 0),
        )


class Sampled(NamedTuple):
    """Sampled images and what was found in them before rounding."""

    frame: Tensor  # uint8 (B, C, H, W)
    raw: Tensor  # float32 (B, C, H, W), grey levels, before rounding; a value v fills [v, v + 1)
    nonfinite: Tensor  # int64 (B,), values that are NaN or infinite
    out_of_range: Tensor  # int64 (B,), values more than 0.1 grey levels outside 0 … 256

    @classmethod
    def of(cls, raw: Tensor) -> Self:
        """Round ``raw`` down to bytes, counting what does not fit."""
        finite = torch.isfinite(raw)
        outside = (raw < -0.1) | (raw > LEVELS + 0.1)
        frame = torch.where(finite, raw, 0).floor().clamp(0, LEVELS - 1).to(torch.uint8)
        return cls(frame, raw, (~finite).flatten(1).sum(1), (outside & finite).flatten(1).sum(1))
