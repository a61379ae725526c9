"""Data module of the video models: clips, bits/dim of each target frame, sampled futures beside the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from vflow.config import DataConfig, EnergyScoreConfig, Preset, VideoConfig
from vflow.data.augment import corrupt
from vflow.data.datasets.folder import VideoFolder
from vflow.data.datasets.registry import open_validation, open_video_dataset
from vflow.data.datasets.types import VideoDataset
from vflow.errors import ConfigError
from vflow.models import VideoBatch, VideoModel
from vflow.pipelines.common import Temperature, augmented_noise, sample_noise
from vflow.randomness import generator, normal
from vflow.training.data import DataModule, Samples, locate
from vflow.training.logging import grid

STATISTICS_CLIPS, STATISTICS_FRAMES = 512, 4096  # at most, that pixel maps and tables are fitted to
FULL_WINDOW = 0.75  # share of targets that see the whole window, the case met in sampling
CLIPS = 2  # validation clips in a grid, usually
FUTURES = 4  # sampled rows under each


@dataclass(frozen=True)
class Videos(DataModule[VideoDataset, VideoBatch]):
    """Training stream of clips, and the fixed validation clips (None: there are none).

    Args:
        num_samples: samples of each clip's last frame for a loss on samples; 0: none.
        temperature: of the sampled futures. shown: validation clips in a grid.
    """

    config: VideoConfig
    data: DataConfig
    num_samples: int = 0
    chunk: ClassVar[int] = 8
    temperature: Temperature = 1.0
    shown: int = CLIPS

    @property
    def frames(self) -> int:
        return self.data.frames

    @property
    def targets(self) -> int:
        return self.frames - self.config.min_context

    @property
    def statistics_examples(self) -> int:
        return min(STATISTICS_CLIPS, STATISTICS_FRAMES // self.frames)

    def batch(self, start: int, size: int) -> VideoBatch:
        return collate([self._example(position) for position in range(start, start + size)])

    def _example(self, position: int) -> VideoBatch:
        """Example at ``position`` of the stream, without a batch dimension."""
        epoch, index = locate(self.seed, position, len(self.train))
        key, first = (self.seed, epoch, index), self.config.min_context
        clip, actions = with_actions(self.train, index, (self.seed, epoch))
        frames = np.ascontiguousarray(clip.transpose(0, 3, 1, 2))
        window = draw_windows(np.arange(first, len(frames)), first, self.config.context, key)
        made = example(frames, window, self.config, ("train", *key))
        if self.num_samples:
            made = made._replace(sample_eps=normal((self.num_samples, frames[0].size), "guesses", *key))
        if self.config.one_group:
            made = made._replace(pick=draw_picks(len(window), key))
        if actions is not None:
            kept = generator("actions", *key).random() >= self.data.action_dropout
            made = made._replace(actions=torch.from_numpy(actions if kept else np.full_like(actions, np.nan)))
        random = generator("corrupt", *key)
        if random.random() >= self.data.corruption:
            return made
        return made._replace(corrupted_past=torch.from_numpy(corrupt(frames[:-1], random)))

    def validation(self, indices: Sequence[int]) -> VideoBatch:
        """Clips with the full window."""
        assert self.held
        first = self.config.min_context
        examples = []
        for index in indices:
            clip, actions = with_actions(self.held, index, (0, 0))
            frames = np.ascontiguousarray(clip.transpose(0, 3, 1, 2))
            window = np.minimum(np.arange(first, len(frames)), self.config.context)
            made = example(frames, window, self.config, ("validation", index))
            given = None if actions is None else torch.from_numpy(actions)
            examples.append(made._replace(actions=given))
        return collate(examples)

    def probe(self, count: int) -> VideoBatch:
        """Clips whose only target is the last frame."""
        assert self.held
        clips = np.stack([self.held.example(i, (0, 0)) for i in range(min(count, self.held_out))])
        frames = torch.from_numpy(np.ascontiguousarray(clips.transpose(0, 1, 4, 2, 3)))
        eps = normal((len(frames), 1, *frames.shape[2:]), "round trip")
        window = torch.full((len(frames), 1), min(frames.shape[1] - 1, self.config.context))
        augmented = augmented_noise(self.config, len(frames), "round trip")
        return VideoBatch(
            frames, eps, window, augmented_eps=None if augmented is None else augmented[:, None]
        )

    def bits(self, model: VideoModel, batch: VideoBatch) -> Tensor:
        return model.bits_per_dim(model.log_likelihood(batch))

    def draw(self, model: VideoModel, device: torch.device, cancelled: Callable[[], bool]) -> Samples | None:
        """Futures of the first validation clips, each given its first ``min_context`` frames."""
        assert self.held
        rows, nonfinite, out_of_range = [], 0, 0
        for index in range(min(self.shown, self.held_out)):
            clip, actions = with_actions(self.held, index, (0, 0))
            future = _futures(model, (clip, actions), self.temperature, index, device, cancelled)
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
    held = open_validation(lambda: open_video_dataset(data, config, "validation"))
    return Videos(dataset, held, preset.training.seed, config, data, samples[0] if samples else 0)


def with_actions(
    data: VideoDataset, index: int, key: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Example ``index`` of the data, and its actions where they have some."""
    return (
        data.with_actions(index, key) if isinstance(data, VideoFolder) else (data.example(index, key), None)
    )


def draw_windows(targets: np.ndarray, shortest: int, context: int, key: tuple[int, ...]) -> np.ndarray:
    """Past frames that each target may see: all of min(t, context), or uniform from ``shortest`` up to it."""
    random = generator("window", *key)
    longest = np.minimum(targets, context)
    drawn = random.integers(shortest, longest, endpoint=True)
    return np.where(random.random(len(targets)) < FULL_WINDOW, longest, drawn)


def draw_picks(targets: int, key: tuple[int, ...]) -> Tensor:
    """A number in [0, 1) for each target, float32 (targets,): stratified, in random order."""
    random = generator("pick", *key)
    picks = (random.permutation(targets) + random.random(targets)) / targets
    return torch.from_numpy(picks.astype(np.float32))


def example(
    frames: np.ndarray, window: np.ndarray, config: VideoConfig, key: tuple[int | str, ...]
) -> VideoBatch:
    """One example, without a batch dimension: ``frames`` uint8 (T, C, H, W), noise named by ``key``."""
    targets = len(frames) - config.min_context
    return VideoBatch(
        torch.from_numpy(frames),
        normal((targets, *frames.shape[1:]), *key),
        torch.from_numpy(window.astype(np.int64)),
        augmented_eps=augmented_noise(config, targets, *key),
    )


def collate(examples: list[VideoBatch]) -> VideoBatch:
    """Stack examples into a batch."""
    batch = VideoBatch(*(torch.stack(tensors) for tensors in zip(*(e[:3] for e in examples), strict=True)))
    for name in ("sample_eps", "pick", "augmented_eps", "actions"):
        given = [getattr(e, name) for e in examples]
        if given[0] is not None:
            batch = batch._replace(**{name: torch.stack(given)})
    if all(e.corrupted_past is None for e in examples):
        return batch
    return batch._replace(
        corrupted_past=torch.stack(
            [e.frames[:-1] if e.corrupted_past is None else e.corrupted_past for e in examples]
        )
    )


def _futures(
    model: VideoModel,
    example: tuple[np.ndarray, np.ndarray | None],
    temperature: Temperature,
    index: int,
    device: torch.device,
    cancelled: Callable[[], bool],
) -> tuple[np.ndarray, int, int] | None:
    (clip, actions), first = example, model.config.min_context
    context = torch.from_numpy(np.ascontiguousarray(clip[:first].transpose(0, 3, 1, 2)))
    context = context.expand(FUTURES, *context.shape).contiguous().to(device)
    rows = None if actions is None else torch.from_numpy(actions).expand(FUTURES, -1, -1).to(device)
    rollout, frames = model.start(context, rows), [context]
    nonfinite = out_of_range = 0
    for time in range(first, len(clip)):
        if cancelled():
            return None
        eps = sample_noise(model, ("grid", index), range(FUTURES), time)
        levels = temperature if isinstance(temperature, tuple) else (temperature,) * len(eps)
        rollout, sampled = model.step(rollout, eps, levels)
        frames.append(sampled.frame[:, None])
        nonfinite += int(sampled.nonfinite.sum())
        out_of_range += int(sampled.out_of_range.sum())
    return torch.cat(frames, 1).permute(0, 1, 3, 4, 2).cpu().numpy(), nonfinite, out_of_range


def animation(rows: np.ndarray) -> np.ndarray:
    """Rows of frames, real first, side by side and playing, one line per clip: (T, height, width, C)."""
    per_clip = 1 + FUTURES
    times = rows.reshape(-1, per_clip, *rows.shape[1:]).swapaxes(1, 2)  # (clips, T, 1 + FUTURES, H, W, C)
    return np.stack([grid(times[:, t]) for t in range(rows.shape[1])])
