"""Pictures of progress: futures sampled from validation clips, beside what really happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vflow.data.base import FrameDataset
from vflow.models import Rollout, Sampled, VideoFlow
from vflow.randomness import normal

CLIPS = 2  # validation clips in a grid
FUTURES = 4  # sampled rows under each
GAP = 2  # grey pixels between pictures
GREY = 127


@dataclass(frozen=True)
class Samples:
    """Clips × (1 + FUTURES) rows of frames, real first: uint8 (R, T, H, W, C); faults before rounding."""

    rows: np.ndarray
    nonfinite: int
    out_of_range: int


@torch.no_grad()
def draw_samples(
    model: VideoFlow, dataset: FrameDataset, device: torch.device, cancelled: Callable[[], bool]
) -> Samples | None:
    """Futures of the first validation clips at temperature 1 with fixed noise; None when cancelled.

    Each clip gives its first ``min_context`` frames, so the grids of one run can be compared.
    """
    rows, nonfinite, out_of_range = [], 0, 0
    for index in range(min(CLIPS, len(dataset))):
        clip = dataset.example(index, (0, 0))
        future = _futures(model, clip, index, device, cancelled)
        if future is None:
            return None
        frames, bad, outside = future
        rows.append(np.concatenate([clip[None], frames]))
        nonfinite, out_of_range = nonfinite + bad, out_of_range + outside
    return Samples(np.concatenate(rows), nonfinite, out_of_range)


def _futures(
    model: VideoFlow, clip: np.ndarray, index: int, device: torch.device, cancelled: Callable[[], bool]
) -> tuple[np.ndarray, int, int] | None:
    first = model.config.min_context
    context = torch.from_numpy(np.ascontiguousarray(clip[:first].transpose(0, 3, 1, 2)))
    context = context.expand(FUTURES, *context.shape).contiguous().to(device)
    rollout, frames = model.start(context), [context]
    nonfinite = out_of_range = 0
    for time in range(first, len(clip)):
        if cancelled():
            return None
        rollout, sampled = _step(model, rollout, index, time)
        frames.append(sampled.frame[:, None])
        nonfinite += int(sampled.nonfinite.sum())
        out_of_range += int(sampled.out_of_range.sum())
    return torch.cat(frames, 1).permute(0, 1, 3, 4, 2).cpu().numpy(), nonfinite, out_of_range


def _step(model: VideoFlow, rollout: Rollout, index: int, time: int) -> tuple[Rollout, Sampled]:
    eps = tuple(
        _noise(shape, index, time, level).to(rollout.frame.device)
        for level, shape in enumerate(model.latent_shapes)
    )
    return model.step(rollout, eps, (1.0,) * len(eps))


def _noise(shape: tuple[int, int, int], index: int, time: int, level: int) -> Tensor:
    return torch.stack([normal(shape, "grid", index, sample, time, level) for sample in range(FUTURES)])


def grid(rows: np.ndarray) -> np.ndarray:
    """Rows of frames (R, T, H, W, C) as one picture, time to the right: (R·H + gaps, T·W + gaps, C)."""
    padded = np.pad(rows, ((0, 0), (0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=GREY)
    r, t, h, w, c = padded.shape
    return padded.transpose(0, 2, 1, 3, 4).reshape(r * h, t * w, c)[:-GAP, :-GAP]


def animation(rows: np.ndarray) -> np.ndarray:
    """Rows side by side, playing together, one line per clip: (T, height, width, C)."""
    per_clip = 1 + FUTURES
    times = rows.reshape(-1, per_clip, *rows.shape[1:]).swapaxes(1, 2)  # (clips, T, 1 + FUTURES, H, W, C)
    return np.stack([grid(times[:, t]) for t in range(rows.shape[1])])


def write_samples(folder: Path, step: int, samples: Samples, fps: float) -> None:
    """Write step_NNNNNNN.png (all frames) and .gif (the same, playing) to ``folder``."""
    from vflow.data.io import write_png, write_video

    folder.mkdir(parents=True, exist_ok=True)
    write_png(folder / f"step_{step:07d}.png", _three(grid(samples.rows)))
    write_video(folder / f"step_{step:07d}.gif", _three(animation(samples.rows)), fps)


def _three(frames: np.ndarray) -> np.ndarray:
    return frames if frames.shape[-1] == 3 else np.repeat(frames, 3, -1)
