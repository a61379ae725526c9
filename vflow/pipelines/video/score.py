"""Bits per dimension of a clip's frames, each given the frames before it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from vflow.config.ranges import check_range, check_seed, check_whole
from vflow.errors import ConfigError, InputError, counted
from vflow.models import VideoBatch
from vflow.pipelines.common import device_of, log_mean_exp
from vflow.pipelines.video.actions import Plan, plan_rows
from vflow.pipelines.video.preprocess import Frames, as_clip, fit, to_tensor, video_config
from vflow.randomness import content_hash, normal

if TYPE_CHECKING:
    from torch import nn

    from vflow.config import VideoConfig


SEGMENT = 16
"""Targets scored in one pass: bounds memory whatever the length of the clip."""
MAX_DRAWS = 1024


def check_finite(checkpoint: str | None, clip: str, bits: np.ndarray | float) -> None:
    """Refuse bits that are not finite.

    Raises:
        InputError: naming the checkpoint and the clip.
    """
    if not np.isfinite(bits).all():
        raise InputError(
            f"{checkpoint}: gives {clip} no finite bits/dim, as after training that diverged; "
            "use an earlier checkpoint"
        )


class Score(float):
    """Mean bits/dim, a number, with the terms of the mean.

    Attributes:
        per_frame: bits/dim of every frame; None where no trained conditional exists (too few frames before).
        context: first frame inside the mean.
        draws: K of the importance-weighted bound over the dequantisation noise, and that of augmented
            dimensions; 1 is the plain bound.
        seed: names the noise.
        notes: remarks for people on what was done to the frames.
    """

    per_frame: tuple[float | None, ...]
    context: int
    draws: int
    seed: int
    notes: tuple[str, ...]

    def __new__(
        cls,
        per_frame: tuple[float | None, ...],
        context: int,
        draws: int,
        seed: int,
        notes: tuple[str, ...] = (),
    ) -> Self:
        inside = [bits for bits in per_frame[context:] if bits is not None]
        self = super().__new__(cls, sum(inside) / len(inside))
        self.per_frame, self.context, self.draws, self.seed = per_frame, context, draws, seed
        self.notes = notes
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:  # what copies are made from
        return self.per_frame, self.context, self.draws, self.seed, self.notes

    @property
    def bits_per_dim(self) -> float:
        return float(self)

    def to_json(self) -> dict[str, Any]:
        """The object that ``vflow score --json`` prints; numbers that are not finite become None."""
        return {
            "bits_per_dim": _finite(self),
            "per_frame": [_finite(bits) for bits in self.per_frame],
            "draws": self.draws,
            "seed": self.seed,
        }


def _finite(bits: float | None) -> float | None:
    return None if bits is None or not math.isfinite(bits) else float(bits)


def score(
    model: nn.Module,
    frames: Frames,
    *,
    context: int | None = None,
    num_frames: int | None = None,
    draws: int = 1,
    seed: int = 0,
    actions: Plan | None = None,
) -> Score:
    """Upper bound on the code length of ``frames`` in bits per dimension, averaged over frames.

    Frame t is scored given the min(t, n) frames before it, n being the model's window. The bound is
    −log₂ mean_k p(x + u_k) / q(u_k | x) per dimension, over ``draws`` draws of the dequantisation noise; of
    a flow with augmented dimensions, u_k holds theirs, too.

    Args:
        model: from ``vflow.load``.
        frames: (T, H, W, C), numpy or torch, uint8 or floats in 0..1, or a ``media.Clip``.
        context: first frame inside the mean; None starts at the first frame that can be scored.
        num_frames: score only so many frames from the first one; None scores all.
        draws: K, 1..1024; more come nearer to the code length, and take as many times as long.
        seed: names the noise.
        actions: rows of numbers that come with the frames, (T, A), for a model that takes some; frames are
            then scored given their own and earlier rows.

    Returns:
        The mean, a float, with the terms of each frame (``per_frame``).

    Raises:
        InputError: too few frames. ConfigError: ``context``, ``num_frames``, ``draws`` or ``seed`` out of
            range.
        CheckpointError: no video model.

    Examples:
        >>> frames = read_clip("apps/examples/push-00000.mp4").frames
        >>> bits = vflow.score(vflow.load("push"), frames, num_frames=4)
        >>> 0 < bits < 2, bits.per_frame[:2]
        (True, (None, None))
    """
    found = scores(
        model, frames, (draws,), context=context, num_frames=num_frames, seed=seed, actions=actions
    )
    return found[0]


def scores(
    model: nn.Module,
    frames: Frames,
    draws: Sequence[int],
    *,
    context: int | None = None,
    num_frames: int | None = None,
    seed: int = 0,
    actions: Plan | None = None,
) -> list[Score]:
    """``score`` for each K in ``draws``, all of the same draws, which are made once."""
    fitted, notes = fit_scored(model, frames, num_frames)
    rows, remarks = plan_rows(video_config(model), as_clip(frames), actions)
    first = video_config(model).min_context
    check_seed(seed)
    for count in draws:
        check_range("draws", count, 1, MAX_DRAWS, whole=True)
    if context is not None:
        check_whole("context", context)
    if context is not None and not 0 <= context < len(fitted):
        most = len(fitted) - 1
        raise ConfigError(f"context must be between 0 and {most} for {len(fitted)} frames, got {context}")
    start = first if context is None else context
    found = _per_frame(model, fitted, draws, seed, rows)
    notes = (*notes, *remarks)
    return [Score(bits, start, count, seed, notes) for count, bits in zip(draws, found, strict=True)]


def fit_scored(
    model: nn.Module, frames: Frames, num_frames: int | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Frames to score, uint8 (T, H, W, C) in the model's size, channels and rate, and remarks.

    These frames name the noise, so a clip cut to its first frames scores as the shorter clip does.

    Raises:
        InputError: too few frames. ConfigError: ``num_frames`` out of range.
    """
    config, clip = video_config(model), as_clip(frames)
    fitted, notes = fit(config, clip)
    if len(fitted) != len(clip.frames):
        notes = (*notes, "frames are numbered as resampled")
    first = config.min_context
    if len(fitted) <= first:
        found, before = counted(len(fitted), "frame"), counted(first, "frame")
        raise InputError(f"{clip.source}: {found}; give {first + 1} or more; scores start after {before}")
    if num_frames is not None:
        check_whole("num_frames", num_frames)
    if num_frames is None or num_frames >= len(fitted):
        return fitted, notes
    if num_frames <= first:
        raise ConfigError(f"num_frames must be at least {first + 1}, got {num_frames}")
    return fitted[:num_frames], (*notes, f"looked at the first {num_frames} of {len(fitted)} frames")


def _per_frame(
    model: nn.Module, frames: np.ndarray, draws: Sequence[int], seed: int, actions: np.ndarray | None
) -> list[tuple[float | None, ...]]:
    """Bits/dim of each of (T, H, W, C) for each K of ``draws``; None for frames before ``min_context``."""
    config = video_config(model)
    key = content_hash(frames)
    bits: list[list[float | None]] = [[None] * config.min_context for _ in draws]
    for targets in segments(config.min_context, len(frames)):
        nats = [
            frame_nats(density(model, frames, targets, (seed, key, k), actions)) for k in range(max(draws))
        ]
        for count, found in zip(draws, bits, strict=True):
            found += [float(b) for b in -log_mean_exp(nats[:count]) / (math.log(2) * frames[0].size)]
    return [tuple(found) for found in bits]


def segments(first: int, count: int, segment: int = SEGMENT) -> Iterator[range]:
    """Frames ``first`` … ``count`` − 1, ``segment`` at a time."""
    return (range(start, min(start + segment, count)) for start in range(first, count, segment))


NoiseKey = tuple[int, str, int]
"""Name of the noise: seed, content hash of the clip, draw."""


def frame_nats(density: torch.Tensor) -> torch.Tensor:
    """Log-likelihood of each frame, float64 (t,), from that of its pixels (t, H, W)."""
    return density.double().sum((1, 2))


@torch.no_grad()
def density(
    model: Any, frames: np.ndarray, targets: range, key: NoiseKey, actions: np.ndarray | None = None
) -> torch.Tensor:
    """Log-likelihoods in nats of ``targets``, frames that follow each other, given the frames before them.

    Args:
        frames: uint8 (T, H, W, C), in the model's size.
        actions: float32 (T or more, A), of these frames; None: they are drawn without.

    Returns:
        Shared out over the pixels of each frame, float32 (len(targets), H, W) on the CPU.
    """
    config, device = video_config(model), device_of(model)
    # Frames in the window carry their own noise too, so that where a segment starts changes nothing.
    begin = max(0, targets.start - config.context - config.min_context)
    first = begin + config.min_context
    clip = to_tensor(frames[begin : targets.stop], device)[None]
    noisy = range(first, targets.stop)
    eps = torch.stack([noise(frames.shape, key, t) for t in noisy])
    window = torch.tensor([min(t - begin, config.context) for t in noisy])
    batch = VideoBatch(clip, eps[None].to(device), window[None].to(device))
    if config.augmented:
        batch = batch._replace(augmented_eps=augmented(config, key, noisy)[None].to(device))
    if actions is not None:
        batch = batch._replace(actions=torch.from_numpy(actions[begin : targets.stop])[None].to(device))
    return model.density_map(batch)[0, targets.start - first :].cpu()


def augmented(config: VideoConfig, key: NoiseKey, frames: Iterable[int]) -> torch.Tensor:
    """The noise of the augmented dimensions of some frames: (frames, D)."""
    return torch.cat([normal((1, config.augmented), "score", "augmented", *key, t) for t in frames])


def noise(shape: tuple[int, ...], key: NoiseKey, t: int) -> torch.Tensor:
    """The dequantisation noise of frame ``t`` of a clip of ``shape`` (T, H, W, C): (C, H, W)."""
    seed, content, draw = key
    return normal((shape[3], *shape[1:3]), "score", seed, content, draw, t)
