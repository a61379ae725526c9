"""Surprisal of a clip: bits of every pixel of every frame, given the frames before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from vflow.errors import ConfigError, InputError
from vflow.models import VideoBatch
from vflow.pipelines.common import device_of
from vflow.pipelines.video.actions import Plan, plan_rows
from vflow.pipelines.video.preprocess import Frames, as_clip, to_tensor, video_config
from vflow.pipelines.video.score import (
    SEGMENT,
    NoiseKey,
    augmented,
    density,
    fit_scored,
    frame_nats,
    noise,
    segments,
)
from vflow.pipelines.video.stats import ClipStatistics
from vflow.randomness import content_hash
from vflow.tasks.video.settings import MAX_SCORED, QUANTILE

if TYPE_CHECKING:
    from torch import nn


class FittedClip(NamedTuple):
    """A clip in the model's form, uint8 (T, H, W, C), remarks on what was done to it, and its actions."""

    frames: np.ndarray
    notes: tuple[str, ...]
    actions: np.ndarray | None = None


@dataclass(frozen=True)
class Surprisal:
    """Surprisal of a clip's frames and pixels, and which of them are out of the ordinary.

    Attributes:
        frames: uint8 (T, H, W, C), as the model saw them.
        maps: bits of each pixel, float32 (T, H, W), one draw of the noise that ``vflow.score`` has; over a
            frame they sum to its bits. NaN in the frames before ``min_context``, which have no trained
            conditional.
        frame_swap: the swap of two frames that saves most bits; None where the clip is too short for one.
        statistics: of validation clips; without them nothing is flagged.
        quantile: frames beyond this share of validation frames are flagged.
        seed: names the noise.
        notes: remarks for people.
    """

    frames: np.ndarray
    maps: np.ndarray
    frame_swap: FrameSwap | None
    statistics: ClipStatistics | None = None
    quantile: float = QUANTILE
    seed: int = 0
    notes: tuple[str, ...] = ()

    @cached_property
    def bits(self) -> np.ndarray:
        """Bits of each frame, float64 (T,), NaN where it cannot be scored."""
        return self.maps.sum((1, 2), dtype=np.float64)

    @cached_property
    def per_frame(self) -> np.ndarray:
        """Bits/dim of each frame, float64 (T,), NaN where it cannot be scored."""
        return self.bits / self.frames[0].size

    @property
    def first(self) -> int:
        """The first frame that is scored."""
        return int(np.isfinite(self.per_frame).argmax())

    @cached_property
    def excess(self) -> np.ndarray:
        """The maps less the validation mean, where there is one: float32 (T, H, W)."""
        return self.maps if self.statistics is None else self.maps - self.statistics.mean_map

    @property
    def threshold(self) -> float | None:
        """Bits/dim beyond which a frame is flagged; None without ``statistics``."""
        return None if self.statistics is None else self.statistics.frame_quantile(self.quantile)

    @cached_property
    def flagged(self) -> tuple[int, ...]:
        """Frames beyond the validation quantile."""
        if (threshold := self.threshold) is None:
            return ()
        return tuple(int(t) for t in np.flatnonzero(self.per_frame > threshold))

    @property
    def out_of_order(self) -> FrameSwap | None:
        """The frame swap, where it saves more bits than in nearly all validation clips."""
        if self.statistics is None or self.frame_swap is None:
            return None
        usual = self.statistics.frame_swap_quantile(self.quantile)
        return self.frame_swap if self.frame_swap.saved > max(0.0, usual) else None

    def to_json(self) -> dict[str, Any]:
        """Figures per frame, what they are compared with, and what is flagged; frames count from 1."""
        known, swap = self.per_frame[self.first :], self.frame_swap
        compared = None
        if self.statistics is not None:
            compared = {
                "data": self.statistics.about,
                "mean": self.statistics.mean,
                "quantile": self.quantile,
                "threshold": self.threshold,
                "frame_swap_threshold": self.statistics.frame_swap_quantile(self.quantile),
            }
        return {
            "bits_per_dim": float(known.mean()),
            "per_frame": [float(b) if math.isfinite(b) else None for b in self.per_frame],
            "draws": 1,
            "seed": self.seed,
            "validation": compared,
            "flagged": [t + 1 for t in self.flagged],
            "frame_swap": swap and {"first": swap.first + 1, "second": swap.second + 1, "saved": swap.saved},
            "out_of_order": self.out_of_order is not None,
        }


def surprisal(
    model: nn.Module,
    frames: Frames,
    *,
    statistics: ClipStatistics | None = None,
    quantile: float = QUANTILE,
    num_frames: int | None = None,
    seed: int = 0,
    actions: Plan | None = None,
) -> Surprisal:
    """Bits of every pixel of ``frames`` given the frames before, and what is surprising about them.

    The figures per frame are those of ``vflow.score`` with one draw of the noise.

    Args:
        model: from ``vflow.load``.
        frames: (T, H, W, C), numpy or torch, uint8 or floats in 0..1, or a ``media.Clip``.
        statistics: from ``vflow.load_clip_statistics``; without them nothing is flagged.
        quantile: frames beyond this share of validation frames are flagged, from 0.5 to below 1.
        num_frames: look only at so many frames from the first one; None: all.
        seed: names the noise.
        actions: as of ``vflow.score``: what does not fit them is then surprising, too.

    Returns:
        Bits per frame (``per_frame``) and pixel (``maps``), and frames that are ``flagged``, counted from 0.

    Raises:
        InputError: too few or too many frames. ConfigError: ``quantile`` or ``num_frames`` out of range.
        CheckpointError: no video model.

    Examples:
        >>> frames, model = read_clip("apps/examples/push-00000.mp4").frames[:6], vflow.load("push")
        >>> found = vflow.surprisal(model, frames, statistics=vflow.load_clip_statistics("push", model))
        >>> found.maps.shape, len(found.per_frame)
        ((6, 64, 64), 6)
    """
    check_quantile(quantile)
    ready = prepare(model, frames, num_frames, actions)
    return finalize(model, ready, list(iterate(model, ready, seed)), statistics, quantile, seed)


def measure_clips(
    model: nn.Module,
    clips: Sequence[np.ndarray],
    about: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ClipStatistics:
    """Statistics of the surprisal of ``clips``, for comparison with the frames of another clip.

    Args:
        clips: uint8 (T, H, W, C) each.
        about: what they are, for people.
        progress: called with the clips done and their number.
    """
    total, count = 0.0, 0
    frames: list[float] = []
    saved: list[float] = []
    for done, clip in enumerate(clips, 1):
        found = surprisal(model, clip)
        scored = np.isfinite(found.per_frame)
        total = total + found.maps[scored].sum(0, dtype=np.float64)
        count += int(scored.sum())
        frames += found.per_frame[scored].tolist()
        saved += [] if found.frame_swap is None else [found.frame_swap.saved]
        progress(done, len(clips))
    mean_map, rising, swaps = (
        np.asarray(x, np.float32) for x in (total / count, sorted(frames), sorted(saved))
    )
    return ClipStatistics(mean_map, rising, swaps, about)


def check_quantile(quantile: float) -> None:
    """Refuse a quantile out of range.

    Raises:
        ConfigError: says the range.
    """
    if not 0.5 <= quantile < 1:
        raise ConfigError(f"quantile must be at least 0.5 and below 1, got {quantile:g}")


def prepare(
    model: nn.Module, frames: Frames, num_frames: int | None = None, actions: Plan | None = None
) -> FittedClip:
    """The clip, or its first ``num_frames`` frames, in the model's size, channels and rate.

    Raises:
        InputError: too few or too many frames. ConfigError: ``num_frames`` out of range.
    """
    fitted, notes = fit_scored(model, frames, num_frames)
    if len(fitted) > MAX_SCORED:
        source = as_clip(frames).source
        raise InputError(f"{source}: {len(fitted)} frames; the limit is {MAX_SCORED}; give --num-frames")
    rows, remarks = plan_rows(video_config(model), as_clip(frames), actions)
    return FittedClip(fitted, (*notes, *remarks), rows)


def iterate(model: nn.Module, ready: FittedClip, seed: int, segment: int = SEGMENT) -> Iterator[np.ndarray]:
    """Maps of the frames that can be scored, in order, ``segment`` frames at a time: float32 (t, H, W) bits.

    Args:
        ready: from ``prepare``.
    """
    key = seed, content_hash(ready.frames), 0
    for targets in segments(video_config(model).min_context, len(ready.frames), segment):
        nats = density(model, ready.frames, targets, key, ready.actions).double()
        yield (-nats / math.log(2)).float().numpy()


def finalize(
    model: nn.Module,
    ready: FittedClip,
    maps: Sequence[np.ndarray],
    statistics: ClipStatistics | None,
    quantile: float,
    seed: int,
) -> Surprisal:
    """Surprisal from the maps of segments, of all frames or only the first ones, and the best frame swap."""
    first = video_config(model).min_context
    known = np.concatenate(maps)
    frames = ready.frames[: first + len(known)]
    whole = np.concatenate([np.full((first, *known.shape[1:]), np.nan, np.float32), known])
    bits = whole.sum((1, 2), dtype=np.float64)
    key = (seed, content_hash(ready.frames), 0)
    frame_swap = best_frame_swap(model, frames, bits, key, ready.actions)
    return Surprisal(frames, whole, frame_swap, statistics, quantile, seed, ready.notes)


CANDIDATES = 2
"""Frame swaps whose likelihood is computed."""


class FrameSwap(NamedTuple):
    """Frames ``first`` < ``second``, and the bits saved when they trade places (negative: added)."""

    first: int
    second: int
    saved: float


def candidates(frames: np.ndarray, count: int = CANDIDATES) -> list[tuple[int, int]]:
    """The ``count`` swaps that most shorten the clip's path through pixel space, Σ |x_t − x_{t−1}|.

    Args:
        frames: uint8 (T, H, W, C).
    """
    length = len(frames)
    x = frames.reshape(length, -1).astype(np.int16)
    d = np.zeros((length + 2, length + 2))  # the way begins and ends at frames at no distance from any
    d[1:-1, 1:-1] = [np.abs(x - one).sum(1, dtype=np.int64) for one in x]
    at = np.arange(1, length + 1)
    kept = d[at - 1, at] + d[at, at + 1]
    # Put frame j into the place of frame i: it then lies between frames i − 1 and i + 1.
    placed = d[at - 1][:, at] + d[at + 1][:, at]
    saved = kept[:, None] + kept - placed - placed.T
    saved -= 2 * np.where(np.abs(at[:, None] - at) == 1, d[1:-1, 1:-1], 0)  # neighbours stay neighbours
    first, second = np.triu_indices(length, 1)
    best = np.argsort(-saved[first, second], kind="stable")[:count]
    return [(int(first[k]), int(second[k])) for k in best]


def best_frame_swap(
    model: Any, frames: np.ndarray, bits: np.ndarray, key: NoiseKey, actions: np.ndarray | None = None
) -> FrameSwap | None:
    """The swap of two frames that saves most bits, or adds fewest.

    Args:
        frames: uint8 (T, H, W, C), in the model's size.
        bits: of each frame, (T,); NaN for those that cannot be scored.
        key: names the noise; frames keep theirs wherever they stand.
        actions: of each place in the clip, (T, A).

    Returns:
        None where there is nothing to compare.
    """
    config = video_config(model)
    found = []
    for first, second in candidates(frames):
        order = np.arange(len(frames))
        order[[first, second]] = second, first
        reach = config.context + 1
        seen = {*range(first, first + reach), *range(second, second + reach)}
        touched = sorted(t for t in seen if config.min_context <= t < len(frames))
        if touched:
            after = _bits(model, frames, order, touched, key, actions)
            found.append(FrameSwap(first, second, float(bits[touched].sum() - after.sum())))
    return max(found, key=lambda frame_swap: frame_swap.saved, default=None)


@torch.no_grad()
def _bits(
    model: Any,
    frames: np.ndarray,
    order: np.ndarray,
    targets: list[int],
    key: NoiseKey,
    actions: np.ndarray | None,
) -> np.ndarray:
    """Bits of the frames at the positions ``targets`` of the clip in ``order``, float64 (targets,)."""
    config, device = video_config(model), device_of(model)
    n = config.context
    places = np.array([[*(max(0, t - n + k) for k in range(n)), t] for t in targets])
    rows = order[places]
    clips = to_tensor(frames[rows.flatten()], device).unflatten(0, rows.shape)
    coded = rows[:, -1].tolist()
    eps = torch.stack([noise(frames.shape, key, t) for t in coded])[:, None].to(device)
    window = torch.tensor([[min(t, n)] for t in targets], device=device)
    batch = VideoBatch(clips, eps, window)
    if config.augmented:
        batch = batch._replace(augmented_eps=augmented(config, key, coded)[:, None].to(device))
    if actions is not None:
        batch = batch._replace(actions=torch.from_numpy(actions[places]).to(device))
    density = model.density_map(batch)[:, -1].cpu()
    return -frame_nats(density).numpy() / math.log(2)
