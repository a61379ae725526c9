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
from vflow.errors import InputError, counted
from vflow.models import Sampled
from vflow.pipelines.common import (
    CHUNK,
    Counts,
    Temperature,
    device_of,
    draw_finite,
    sample_noise,
    temperature_or_suggested,
    to_array,
)
from vflow.pipelines.video.actions import Plan, plan_rows
from vflow.pipelines.video.preprocess import Frames, as_clip, fit, pad, to_tensor, video_config
from vflow.pipelines.video.score import score
from vflow.randomness import Key, content_hash
from vflow.tasks.video.settings import PredictSettings

if TYPE_CHECKING:
    from torch import nn

GROUP = 64
"""Samples whose rollouts are in memory together: longer requests run group after group."""


@dataclass(frozen=True)
class Prepared:
    """A clip as the model takes it.

    Attributes:
        context: uint8 (n, H, W, C), the frames to start from, in a size that the model takes, its channels
            and rate.
        rest: uint8 (T, H, W, C), the frames of the clip after these.
        notes: remarks for people on what was done to the upload.
        bits: bits/dim of the last given frame, None where it cannot be scored.
        far_outside: the clip is unlike the training data (bits/dim far beyond the usual).
        actions: float32 (n + F, A), of ``context`` and of F frames after it; None: none were given.
    """

    context: np.ndarray
    rest: np.ndarray
    notes: tuple[str, ...]
    bits: float | None
    far_outside: bool
    actions: np.ndarray | None = None


@dataclass(frozen=True)
class FrameStep:
    """A predicted frame of the samples from ``first`` on.

    Attributes:
        frames: all frames so far, uint8 (N, index + 1, H, W, C). counts: of this one.
    """

    index: int
    frames: np.ndarray
    counts: Counts
    first: int = 0
    size: int = 1


def prepare(
    model: nn.Module,
    frames: Frames,
    *,
    start: int | None = None,
    seed: int = 0,
    actions: Plan | None = None,
    num_frames: int = 0,
) -> Prepared:
    """Fit ``frames`` to the model in size and time and keep the last ``config.context`` of them.

    Frames keep their size where the model takes it.

    Args:
        start: keep those from this one on in place of the last, counted from 0 at the model's rate.
        actions: rows of numbers that come with the clip's frames and ``num_frames`` after those kept.

    Raises:
        InputError: the frames cannot be used, or are fewer than the model's ``min_context``; or the model
            takes no such actions.
    """
    config = video_config(model)
    fitted, notes = fit_context(config, frames, keep_size=True)
    end = len(fitted) if start is None else min(start + config.context, len(fitted))
    begin = max(0, end - config.context) if start is None else start
    context = np.ascontiguousarray(fitted[begin:end])
    if len(context) < config.min_context:
        most = len(fitted) - config.min_context
        raise InputError(f"start {start}: too late in a clip of {len(fitted)} frames; {most} at most")
    rows, remarks = plan_rows(config, as_clip(frames), actions, num_frames, end)
    notes = (*notes, *remarks)
    if len(context) < len(fitted):
        which = f"{len(context)} of {len(fitted)} frames, from frame {start + 1} on" if start else None
        place = "last" if start is None else "first"
        notes = (*notes, f"used {which or f'the {place} {len(context)} of {len(fitted)} frames'}")
    bits = None
    if end > config.min_context:
        bits = score(model, fitted[max(0, end - config.context - 1) : end], seed=seed).per_frame[-1]
    rows = None if rows is None else rows[begin:]
    return Prepared(context, fitted[end:], notes, bits, _far_outside(config, bits), rows)


def fit_context(
    config: VideoConfig, frames: Frames, *, keep_size: bool = False
) -> tuple[np.ndarray, tuple[str, ...]]:
    """All given frames as the model takes them, and what was done to them.

    Args:
        keep_size: frames keep their size where the model takes it.

    Raises:
        InputError: the frames cannot be used, or are too few.
    """
    clip = as_clip(frames)
    fitted, notes = fit(config, clip, keep_size=keep_size)
    if len(fitted) < config.min_context:
        found = f"{counted(len(fitted), 'frame')} at {config.fps:g} per second"
        raise InputError(
            f"{clip.source}: {found}, but the model needs at least {config.min_context}; add frames"
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
    temperature: Temperature | None = None,
    seed: int = 0,
    actions: Plan | None = None,
) -> np.ndarray:
    """Draw futures of a clip.

    To go on from future k, give ``np.concatenate([frames, futures[k]])`` as the next ``frames``.

    Args:
        model: from ``vflow.load``.
        frames: the past, (T, H, W, C), numpy, torch or a list of pictures, uint8 or floats in 0..1, or a
            ``vflow.data.media.Clip``, whose frame rate counts. They are fitted to the model's size, unless it
            takes theirs (``model.config.keeps_size``); the last ``model.config.context`` count.
        num_frames: frames ahead, 1..1000.
        num_samples: futures, 1..10000.
        temperature: scale of the noise, 0..2; one number, or one per level, fine to coarse. None: as the
            checkpoint suggests (``model.config.temperature``); 1 draws from the model's own distribution.
        seed: names the noise, ≥ 0; the same seed and frames give the same futures.
        actions: for a model that takes some (``model.config.actions``), rows of numbers (T, A), one for each
            of ``frames`` and then one for each frame to come; the last goes on where they end early.

    Returns:
        uint8 (num_samples, num_frames, H, W, C) in the size of the fitted frames and the model's channels.

    Raises:
        InputError: the frames cannot be used, or a sample stays non-finite after 8 redraws. ConfigError: a
            setting is out of range. CheckpointError: no video model.

    Examples:
        >>> frames = read_image("apps/examples/shapes-circle.png").frames
        >>> futures = vflow.predict(vflow.load("shapes-guided"), frames, num_frames=2, num_samples=3)
        >>> futures.shape
        (3, 2, 64, 64, 3)
    """
    config = video_config(model)
    settings = PredictSettings.of(
        num_frames=num_frames,
        num_samples=num_samples,
        temperature=temperature_or_suggested(temperature, config),
        seed=seed,
    )
    fitted = fit_context(config, frames, keep_size=True)[0]
    context = np.ascontiguousarray(fitted[-config.context :])
    rows = plan_rows(config, as_clip(frames), actions, num_frames)[0]
    if rows is not None:
        rows = rows[len(fitted) - len(context) :]
    futures = np.empty((num_samples, num_frames, *context.shape[1:]), np.uint8)
    for group in groups(model, context, settings, actions=rows):
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
    size: int = GROUP,
    actions: np.ndarray | None = None,
) -> Iterator[Group]:
    """All samples, ``size`` (in eights) at a time: bounds memory, and changes nothing else.

    ``actions`` are ``Prepared.actions``.
    """
    for samples in sample_groups(settings, size):
        counts = Counts()
        for step in iterate(model, context, settings, samples=samples, actions=actions):
            counts = counts.plus(step.counts)
        yield Group(step.first, step.frames, counts)


def sample_groups(settings: PredictSettings, size: int = GROUP) -> list[range]:
    """Samples that are drawn together, ``size`` (in eights) at a time."""
    size += -size % CHUNK
    count = settings.num_samples
    return [range(first, min(first + size, count)) for first in range(0, count, size)]


def iterate(
    model: Any,
    context: np.ndarray,
    settings: PredictSettings,
    *,
    samples: range | None = None,
    should_stop: Callable[[], bool] | None = None,
    actions: np.ndarray | None = None,
) -> Iterator[FrameStep]:
    """Draw all samples frame by frame; ends early, within a chunk's step, when ``should_stop()`` is true.

    Sides that do not halve often enough are padded by repeated edges, and frames cropped again.

    Args:
        context: ``Prepared.context``, uint8 (n, H, W, C).
        samples: which samples to draw, starting at a multiple of 8; None: all of ``settings``.
        actions: ``Prepared.actions``.

    Raises:
        InputError: a sample stays non-finite after 8 redraws.
    """
    samples = range(settings.num_samples) if samples is None else samples
    key, temperature = (settings.seed, content_hash(context)), settings.levels(len(model.latent_shapes))
    clip = pad(to_tensor(context, device_of(model)), model.size_multiple)
    height, width = context.shape[1:3]
    starts = range(samples.start, samples.stop, CHUNK)
    rows = None
    if actions is not None:
        rows = torch.from_numpy(actions).to(clip.device).expand(CHUNK, *actions.shape)
    rollouts = [model.start(clip.expand(CHUNK, *clip.shape), rows)] * len(starts)
    frames = np.empty((len(samples), settings.num_frames, *context.shape[1:]), np.uint8)
    for t in range(settings.num_frames):
        counts = Counts()
        for i, start in enumerate(starts):
            if should_stop is not None and should_stop():
                return
            wanted = min(CHUNK, samples.stop - start)
            rollouts[i], sampled, new = _step(model, rollouts[i], key, start, wanted, t, temperature)
            frames[start - samples.start :][:wanted, t] = to_array(sampled.frame[:wanted, :, :height, :width])
            counts = counts.plus(new)
        yield FrameStep(t, frames[:, : t + 1], counts, samples.start)


def _step(
    model: Any,
    rollout: Any,
    key: tuple[Key, ...],
    first: int,
    wanted: int,
    t: int,
    temperature: Sequence[float],
) -> tuple[Any, Sampled, Counts]:
    """Frame ``t`` of the 8 samples from ``first`` on; of those ``wanted`` none is left that is not finite."""

    def attempt(attempts: Sequence[int]) -> tuple[Any, Sampled]:
        shapes = model.latent_shapes_at(*rollout.frame.shape[2:])
        eps = sample_noise(model, key, range(first, first + CHUNK), t, attempts, shapes)
        stepped: tuple[Any, Sampled] = model.step(rollout, eps, temperature)
        return stepped

    return draw_finite(attempt, wanted, lambda row: f"frame {t + 1} of sample {first + row + 1}")
