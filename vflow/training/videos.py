"""Data module of the video models: clips, bits/dim of each target frame, sampled futures beside the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vflow.config import EnergyScoreConfig, Preset, VideoConfig
from vflow.data.datasets.registry import open_validation, open_video_dataset
from vflow.data.datasets.types import VideoDataset
from vflow.errors import ConfigError
from vflow.models import VideoBatch, VideoModel
from vflow.pipelines.common import sample_noise
from vflow.randomness import normal
from vflow.training.data import Sampler, collate, example
from vflow.training.logging import Samples, grid

STATISTICS_CLIPS, STATISTICS_FRAMES = 512, 4096  # at most, that pixel maps and tables are fitted to
CLIPS = 2  # validation clips in a grid
FUTURES = 4  # sampled rows under each


@dataclass(frozen=True)
class Videos:
    """Training stream of clips, and the fixed validation clips (None: there are none)."""

    sampler: Sampler
    held: VideoDataset | None
    config: VideoConfig
    frames: int
    chunk: int = 8

    @property
    def length(self) -> int:
        return len(self.sampler.dataset)

    @property
    def usable(self) -> int:
        return self.length

    @property
    def targets(self) -> int:
        return self.frames - self.config.min_context

    @property
    def statistics_examples(self) -> int:
        return min(STATISTICS_CLIPS, STATISTICS_FRAMES // self.frames)

    @property
    def held_out(self) -> int:
        return len(self.held) if self.held else 0

    def batch(self, start: int, size: int) -> VideoBatch:
        return self.sampler.batch(start, size)

    def validation(self, indices: Sequence[int]) -> VideoBatch:
        """Clips with the full window."""
        assert self.held
        first = self.config.min_context
        examples = []
        for index in indices:
            frames = np.ascontiguousarray(self.held.example(index, (0, 0)).transpose(0, 3, 1, 2))
            window = np.minimum(np.arange(first, len(frames)), self.config.context)
            examples.append(example(frames, window, first, ("validation", index)))
        return collate(examples)

    def probe(self, count: int) -> VideoBatch:
        """Clips of which only the last frame is a target."""
        assert self.held
        clips = np.stack([self.held.example(i, (0, 0)) for i in range(min(count, self.held_out))])
        frames = torch.from_numpy(np.ascontiguousarray(clips.transpose(0, 1, 4, 2, 3)))
        eps = normal((len(frames), 1, *frames.shape[2:]), "round trip")
        window = torch.full((len(frames), 1), min(frames.shape[1] - 1, self.config.context))
        return VideoBatch(frames, eps, window)

    def bits(self, model: VideoModel, batch: VideoBatch) -> Tensor:
        return model.bits_per_dim(model.log_likelihood(batch))

    def draw(self, model: VideoModel, device: torch.device, cancelled: Callable[[], bool]) -> Samples | None:
        """Futures of the first validation clips, each given its first ``min_context`` frames."""
        assert self.held
        rows, nonfinite, out_of_range = [], 0, 0
        for index in range(min(CLIPS, self.held_out)):
            clip = self.held.example(index, (0, 0))
            future = _futures(model, clip, index, device, cancelled)
            if future is None:
                return None
            frames, bad, outside = future
            rows.append(np.concatenate([clip[None], frames]))
            nonfinite, out_of_range = nonfinite + bad, out_of_range + outside
        every = np.concatenate(rows)
        return Samples(grid(every), nonfinite, out_of_range, animation(every), self.config.fps)


def open_videos(config: VideoConfig, preset: Preset) -> Videos:
    """Both splits of the preset's clips.

    Raises:
        ConfigError, InputError: clips too short for the model, or no data where the preset says.
    """
    data = preset.data
    if data.frames <= config.min_context:
        raise ConfigError(
            f"data.frames = {data.frames} leaves no frame to predict after model.min_context = "
            f"{config.min_context}; use at least {config.min_context + 1}"
        )
    dataset = open_video_dataset(data, config, "train")
    samples = [loss.num_samples for loss in preset.training.losses if isinstance(loss, EnergyScoreConfig)]
    sampler = Sampler(
        dataset,
        preset.training.seed,
        config.min_context,
        config.context,
        data.corruption,
        num_samples=samples[0] if samples else 0,
        picks=config.one_group,
    )
    held = open_validation(lambda: open_video_dataset(data, config, "validation"))
    return Videos(sampler, held, config, data.frames)


def _futures(
    model: VideoModel, clip: np.ndarray, index: int, device: torch.device, cancelled: Callable[[], bool]
) -> tuple[np.ndarray, int, int] | None:
    first = model.config.min_context
    context = torch.from_numpy(np.ascontiguousarray(clip[:first].transpose(0, 3, 1, 2)))
    context = context.expand(FUTURES, *context.shape).contiguous().to(device)
    rollout, frames = model.start(context), [context]
    nonfinite = out_of_range = 0
    for time in range(first, len(clip)):
        if cancelled():
            return None
        eps = sample_noise(model, ("grid", index), range(FUTURES), time)
        rollout, sampled = model.step(rollout, eps, (1.0,) * len(eps))
        frames.append(sampled.frame[:, None])
        nonfinite += int(sampled.nonfinite.sum())
        out_of_range += int(sampled.out_of_range.sum())
    return torch.cat(frames, 1).permute(0, 1, 3, 4, 2).cpu().numpy(), nonfinite, out_of_range


def animation(rows: np.ndarray) -> np.ndarray:
    """Rows of frames, real first, side by side and playing, one line per clip: (T, height, width, C)."""
    per_clip = 1 + FUTURES
    times = rows.reshape(-1, per_clip, *rows.shape[1:]).swapaxes(1, 2)  # (clips, T, 1 + FUTURES, H, W, C)
    return np.stack([grid(times[:, t]) for t in range(rows.shape[1])])
