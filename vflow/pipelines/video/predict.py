"""Many futures of one clip. Noise is named by (seed, content of the context, sample, frame, level).

Every step runs on chunks of one fixed size whose padding rows are the next samples, later thrown away, so
sample k is the same bytes whatever the number of samples, and frame t whatever the number of frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from vflow.config import VideoConfig
from vflow.errors import InputError
from vflow.pipelines.common import (
    CHUNK,
    Counts,
    SamplingSettings,
    Temperature,
    check_range,
    device_of,
    draw_finite,
    to_array,
)
from vflow.pipelines.video.preprocess import Frames, as_clip, fit, to_tensor, video_config
from vflow.pipelines.video.score import score
from vflow.randomness import content_hash, normal

if TYPE_CHECKING:
    from torch import nn

GROUP = 64
"""Samples whose rollouts are in memory together: longer requests run group after group."""
MAX_FRAMES = 1000


@dataclass(frozen=True, kw_only=True)
class PredictSettings(SamplingSettings):
    """Futures to draw: ``num_samples`` of ``num_frames`` frames, 1..1000, each."""

    num_frames: int = 10

    def __post_init__(self) -> None:
        check_range("num_frames", self.num_frames, 1, MAX_FRAMES)
        super().__post_init__()


@dataclass(frozen=True)
class Prepared:
    """A clip as the model takes it.

    Attributes:
        context: uint8 (n, H, W, C), the last frames, in the model's size, channels and rate.
        notes: remarks for people on what was done to the upload.
        bits: bits/dim of the last given frame, None where it cannot be scored.
        far_outside: the clip is unlike the training data (bits/dim far beyond the usual).
    """

    context: np.ndarray
    notes: tuple[str, ...]
    bits: float | None
    far_outside: bool


@dataclass(frozen=True)
class FrameStep:
    """After each predicted frame: its index, uint8 (N, index + 1, H, W, C) so far, and counts so far."""

    index: int
    frames: np.ndarray
    counts: Counts


def prepare(model: nn.Module, frames: Frames, *, seed: int = 0) -> Prepared:
    """Fit ``frames`` to the model in size and time and keep the last ``config.context`` of them.

    Raises:
        InputError: the frames cannot be used, or are fewer than the model's ``min_context``.
    """
    config = video_config(model)
    fitted, notes = _fitted(config, frames)
    context = np.ascontiguousarray(fitted[-config.context :])
    if len(context) < len(fitted):
        notes = (*notes, f"kept the last {len(context)} of {len(fitted)} frames")
    bits = None
    if len(fitted) > config.min_context:
        bits = score(model, fitted[-config.context - 1 :], seed=seed).per_frame[-1]
    return Prepared(context, notes, bits, _far_outside(config, bits))


def _fitted(config: VideoConfig, frames: Frames) -> tuple[np.ndarray, tuple[str, ...]]:
    """All given frames as the model takes them, and what was done to them.

    Raises:
        InputError: the frames cannot be used, or are too few.
    """
    clip = as_clip(frames)
    fitted, notes = fit(config, clip)
    if len(fitted) < config.min_context:
        raise InputError(
            f"{clip.source}: {len(fitted)} frame(s) at {config.fps:g} per second, but the model needs "
            f"at least {config.min_context}; add frames"
        )
    return fitted, notes


def _far_outside(config: VideoConfig, bits: float | None) -> bool:
    """Beyond the usual range of bits/dim (1% to 99%) by more than its width."""
    if bits is None or config.validation_bits is None:
        return False
    low, high = config.validation_bits
    return not low - (high - low) <= bits <= high + (high - low)


def predict(
    model: nn.Module,
    frames: Frames,
    *,
    num_frames: int = 10,
    num_samples: int = 8,
    temperature: Temperature = 1.0,
    seed: int = 0,
) -> np.ndarray:
    """Draw futures of a clip.

    To go on from future k, give ``np.concatenate([frames, futures[k]])`` as the next ``frames``.

    Args:
        model: from ``vflow.load``.
        frames: the past, (T, H, W, C), numpy or torch, uint8 or floats in 0..1, or a ``media.Clip``.
            They are fitted to the model's size; the last ``model.config.context`` count.

    Returns:
        uint8 (num_samples, num_frames, H, W, C) in the model's size and channels.

    Raises:
        InputError: the frames cannot be used. ConfigError: a setting is out of range.
    """
    settings = PredictSettings(
        num_frames=num_frames, num_samples=num_samples, temperature=temperature, seed=seed
    )
    config = video_config(model)
    context = np.ascontiguousarray(_fitted(config, frames)[0][-config.context :])
    futures = np.empty((num_samples, num_frames, *context.shape[1:]), np.uint8)
    for group in groups(model, context, settings):
        futures[group.first : group.first + len(group.frames)] = group.frames
    return futures


class Group(NamedTuple):
    """Finished samples ``first``, ``first + 1``, …: uint8 (n, T, H, W, C)."""

    first: int
    frames: np.ndarray
    counts: Counts


def groups(
    model: nn.Module,
    context: np.ndarray,
    settings: PredictSettings,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    size: int = GROUP,
) -> Iterator[Group]:
    """All samples, ``size`` (in eights) at a time: bounds memory, and changes nothing else.

    ``progress`` is told (frames drawn, of how many).
    """
    total = settings.num_samples * settings.num_frames
    size += -size % CHUNK
    for first in range(0, settings.num_samples, size):
        samples = range(first, min(first + size, settings.num_samples))
        for step in iterate(model, context, settings, samples=samples):
            progress(first * settings.num_frames + len(samples) * (step.index + 1), total)
        yield Group(first, step.frames, step.counts)


def iterate(
    model: nn.Module,
    context: np.ndarray,
    settings: PredictSettings,
    *,
    samples: range | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[FrameStep]:
    """Draw all samples frame by frame; ends early, within a chunk's step, when ``should_stop()`` is true.

    Args:
        context: ``Prepared.context``, uint8 (n, H, W, C).
        samples: which samples to draw, starting at a multiple of 8; None: all of ``settings``.

    Raises:
        InputError: a sample stays non-finite after 8 redraws.
    """
    samples = range(settings.num_samples) if samples is None else samples
    draw = _Draw(model, context, content_hash(context), settings)
    starts = range(samples.start, samples.stop, CHUNK)
    rollouts = [draw.start()] * len(starts)
    frames = np.empty((len(samples), settings.num_frames, *context.shape[1:]), np.uint8)
    counts = Counts()
    for t in range(settings.num_frames):
        for i, start in enumerate(starts):
            if should_stop is not None and should_stop():
                return
            wanted = min(CHUNK, samples.stop - start)
            rollouts[i], chunk, new = draw.step(rollouts[i], start, wanted, t)
            frames[start - samples.start :][:wanted, t] = chunk
            counts = counts.plus(new)
        yield FrameStep(t, frames[:, : t + 1], counts)


@dataclass(frozen=True)
class _Draw:
    """One frame of one chunk of samples."""

    model: Any
    context: np.ndarray
    content: str
    settings: PredictSettings

    def start(self) -> Any:
        clip = to_tensor(self.context, device_of(self.model))
        return self.model.start(clip.expand(CHUNK, *clip.shape))

    def step(self, rollout: Any, start: int, wanted: int, t: int) -> tuple[Any, np.ndarray, Counts]:
        """Advance; frames uint8 (wanted, H, W, C). Rows that are not finite are drawn anew."""
        temperature = self.settings.levels(len(self.model.latent_shapes))
        after, sampled, counts = draw_finite(
            lambda attempts: self.model.step(rollout, self._noise(start, t, attempts), temperature),
            wanted,
            lambda row: f"frame {t} of sample {start + row}",
        )
        return after, to_array(sampled.frame[:wanted]), counts

    def _noise(self, start: int, t: int, attempts: Sequence[int]) -> tuple[torch.Tensor, ...]:
        """Per level (8, C, H, W); a row's first attempt has the plain key."""
        device = device_of(self.model)
        levels = []
        for level, shape in enumerate(self.model.latent_shapes):
            rows = []
            for row, attempt in enumerate(attempts):
                key = (self.settings.seed, self.content, start + row, t, level)
                rows.append(normal(shape, *key, *(("redraw", attempt) if attempt else ())))
            levels.append(torch.stack(rows).to(device))
        return tuple(levels)
