"""Sampling speed of a video model: time per frame as the rollout grows, and relative to scoring."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

import vflow
from scripts.benchmarks.timing import Clock, timed
from scripts.benchmarks.train import Setting
from vflow.data.datasets.shapes import Shapes
from vflow.models import VideoBatch

FUTURES, FRAMES = 8, 20


def sample(checkpoint: str, setting: Setting) -> dict[str, object]:
    """Milliseconds of frame 2, frame 20, all frames, and of one forward pass over the same frames; medians.

    The last is comparable only with affine couplings: a mixture is inverted by a search.
    """
    device, clock = setting.device, setting.clock
    model: Any = vflow.load(checkpoint).to(device)
    given = torch.from_numpy(Shapes().example(0)[: model.config.context]).movedim(-1, 1)
    context = given.expand(FUTURES, *given.shape).to(device)
    frame_s: list[list[float]] = []
    forward_s: list[float] = []
    for turn in range(setting.repeats + 1):  # the first warms up
        seconds, frames = zip(*rollout(model, context, clock), strict=True)
        batch = targets(model, context, torch.stack(frames, 1))
        with torch.no_grad():
            whole = timed(partial(model, batch), clock)
        if turn:
            frame_s.append(list(seconds))
            forward_s.append(whole)
    by_frame = [statistics.median(values) for values in zip(*frame_s, strict=True)]
    total, forward = statistics.median(map(sum, frame_s)), statistics.median(forward_s)
    return {
        "frame_2_ms": round(1e3 * by_frame[1], 2),
        "frame_20_ms": round(1e3 * by_frame[-1], 2),
        "frame_ratio": round(by_frame[-1] / by_frame[1], 3),
        "sampling_ms": round(1e3 * total, 1),
        "forward_ms": round(1e3 * forward, 1),
        "forward_ratio": round(total / forward, 3),
        "checkpoint": checkpoint,
        "futures": FUTURES,
        "frames": FRAMES,
        "threads": setting.threads,
        "clock": clock,
    }


def rollout(model: Any, context: Tensor, clock: Clock) -> Iterator[tuple[float, Tensor]]:
    """Seconds and frames (B, C, H, W) of each step; encoding the context counts to the first."""
    state: Any = None
    temperature = (1.0,) * len(model.latent_shapes)
    for _ in range(FRAMES):
        eps = tuple(torch.randn(FUTURES, *shape, device=context.device) for shape in model.latent_shapes)

        def advance(before: Any = state, eps: tuple[Tensor, ...] = eps) -> None:
            nonlocal state
            state, _ = model.step(model.start(context) if before is None else before, eps, temperature)

        seconds = timed(advance, clock)
        yield seconds, state.frame


def targets(model: Any, context: Tensor, frames: Tensor) -> VideoBatch:
    """The sampled frames to score, each given all the past that the model can see."""
    clip = torch.cat([context[:, -model.config.min_context :], frames], 1)
    first = model.config.min_context
    longest = torch.arange(first, clip.shape[1], device=clip.device).clamp_max(model.config.context)
    eps = torch.randn(*frames.shape, device=clip.device)
    augmented = torch.randn(*frames.shape[:2], model.config.augmented, device=clip.device)
    return VideoBatch(clip, eps, longest.expand(len(clip), -1), augmented_eps=augmented)
