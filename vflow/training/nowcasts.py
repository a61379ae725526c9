"""Training the nowcasting flow: windows of radar sequences, bits/dim, members beside what really happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from vflow.config import NowcastConfig, Preset
from vflow.data.datasets.rain import RainWindows, Window, event_names
from vflow.errors import ConfigError
from vflow.models import Nowcast, NowcastBatch
from vflow.models.nowcast import planes
from vflow.randomness import normal
from vflow.training.data import DataModule, Samples
from vflow.training.logging import grid

EPOCH = 4096  # windows
HELD_OUT = 256
CASES, MEMBERS = 3, 3  # rows of a picture of progress: cases, and members below each


@dataclass(frozen=True)
class Nowcasts(DataModule[RainWindows, NowcastBatch]):
    """The training stream of windows and the fixed windows of the events held out (None: there are none)."""

    num_samples: int
    subsample: int
    chunk: ClassVar[int] = 8

    @property
    def frames(self) -> int:
        return self.train.config.glow.channels

    @property
    def targets(self) -> int:
        return self.frames

    def batch(self, start: int, size: int) -> NowcastBatch:
        places = self.places(start, size)
        batch = _stack(
            [self.train.example(index, (self.seed, epoch)) for epoch, index in places],
            [("train", self.seed, epoch, index) for epoch, index in places],
        )
        if not self.num_samples:
            return batch
        shape = (self.num_samples, batch.targets[0].numel())
        noise = [normal(shape, "guesses", self.seed, epoch, index) for epoch, index in places]
        scored = -(-size // self.subsample)
        return batch._replace(sample_eps=torch.stack(noise), scored=scored)

    def validation(self, indices: Sequence[int]) -> NowcastBatch:
        assert self.held
        return _stack([self.held.example(i, (0, 0)) for i in indices], [("validation", i) for i in indices])

    def bits(self, model: Nowcast, batch: NowcastBatch) -> Tensor:
        return model.bits_per_dim(model(batch), self.targets)[:, None]

    def draw(self, model: Nowcast, device: torch.device, cancelled: Callable[[], bool]) -> Samples | None:
        """Per case the frames that came, and members drawn at temperature 1."""
        rows: list[np.ndarray] = []
        nonfinite = out_of_range = 0
        for case in range(min(CASES, self.held_out)):
            if cancelled():
                return None
            batch = self.validation([case])
            batch = batch._replace(**{name: getattr(batch, name).to(device) for name in batch._fields[:4]})
            size = batch.targets.shape[2:]
            shapes = model.latent_shapes_at(*size)
            eps = [
                torch.stack([normal(shape, "grid", case, member, level) for member in range(MEMBERS)]).to(
                    device
                )
                for level, shape in enumerate(shapes)
            ]
            with torch.no_grad():
                made = model.generate(model.condition_targets(batch).repeat(MEMBERS), eps, [1.0] * len(eps))[
                    0
                ]
            nonfinite += int((~made.isfinite()).sum())
            out_of_range += int((made > 256).sum())
            members = made.nan_to_num().clamp(0, 255).to(torch.uint8)
            rows += [*torch.cat([batch.targets, members]).flatten(0, 1).cpu().numpy()]
        pictures = np.stack(rows).reshape(-1, self.frames, *size, 1)
        return Samples(grid(pictures), nonfinite, out_of_range)


def open_nowcasts(config: NowcastConfig, preset: Preset) -> Nowcasts:
    """Windows of the preset's radar sequences; events named in ``data.held_out_events`` are for validation.

    Raises:
        ConfigError, InputError: no sequences where the preset says, or none left to train on.
    """
    data, training = preset.data, preset.training
    if data.name != "rain" or data.path is None:
        raise ConfigError("data: a model of kind nowcast needs name rain and a path; add --data FOLDER")
    names, held_out = event_names(data.path), data.held_out_events
    unknown = sorted(set(held_out) - set(names))
    if unknown:
        raise ConfigError(
            f"data.held_out_events: no {unknown[0]}.npz in {data.path}; name some of {', '.join(names)} "
            f"(--set 'data.held_out_events=[{names[-1]}]', or in a recipe the stage's set)"
        )
    seen = [name for name in names if name not in held_out]
    if not seen:
        raise ConfigError("data.held_out_events names all sequences; leave at least one to train on")
    held = RainWindows(data.path, config, held_out, HELD_OUT, vary=False) if held_out else None
    train = RainWindows(data.path, config, seen, EPOCH, vary=True)
    scores = [loss for loss in training.losses if loss.kind == "crps"]
    num_samples, subsample = (scores[0].num_samples, scores[0].subsample) if scores else (0, 1)
    return Nowcasts(train, held, training.seed, num_samples, subsample)


def _stack(windows: list[Window], keys: list[tuple[int | str, ...]]) -> NowcastBatch:
    given = np.stack([planes(*window.given) for window in windows])
    targets = np.stack([window.targets for window in windows])
    observed = np.stack([window.observed for window in windows])
    noise = [normal(window.targets.shape, *key) for window, key in zip(windows, keys, strict=True)]
    condition, levels, mask = (torch.from_numpy(array) for array in (given, targets, observed))
    return NowcastBatch(condition, levels, mask, torch.stack(noise))
