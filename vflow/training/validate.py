"""Bits/dim of fixed validation examples, shared out over processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from vflow.data.base import FrameDataset
from vflow.models.videoflow import VideoFlow
from vflow.training.sampler import collate, example, on_device

CHUNK = 8  # examples per forward pass


@dataclass(frozen=True)
class Validation:
    """bits/dim of each target frame: float32 (examples, targets)."""

    bits: np.ndarray

    @property
    def bits_per_dim(self) -> float:
        """Mean over all target frames."""
        return float(self.bits.mean(dtype=np.float64))

    @property
    def typical(self) -> tuple[float, float]:
        """1% and 99% quantile over frames."""
        low, high = np.quantile(self.bits, (0.01, 0.99))
        return float(low), float(high)


@torch.no_grad()
def validate(
    model: VideoFlow,
    dataset: FrameDataset,
    count: int,
    accelerator: Accelerator,
    cancelled: Callable[[], bool],
) -> Validation | None:
    """Score the first ``count`` examples with the full window and fixed noise, in float32.

    None when any process wishes to stop half-way; all processes then return None.
    """
    count = min(count, len(dataset))
    world, rank = accelerator.num_processes, accelerator.process_index
    per_process = -(-count // world)
    mine = list(range(rank, count, world))
    parts, complete = [], True
    for start in range(0, len(mine), CHUNK):
        if cancelled():
            complete = False
            break
        parts.append(_score(model, dataset, mine[start : start + CHUNK], accelerator.device))
    targets = len(dataset.example(0, (0, 0))) - model.config.min_context
    bits = torch.full((per_process, targets), torch.inf)
    if parts:
        scored = torch.cat(parts)
        bits[: len(scored)] = scored
    flags = accelerator.gather(torch.tensor([float(complete)], device=accelerator.device))
    table = accelerator.gather(bits.to(accelerator.device)).cpu().unflatten(0, (world, per_process))
    if not bool(flags.all()):
        return None
    return Validation(table.transpose(0, 1).flatten(0, 1)[:count].numpy())


def _score(model: VideoFlow, dataset: FrameDataset, indices: list[int], device: torch.device) -> Tensor:
    first, context = model.config.min_context, model.config.context
    examples = []
    for index in indices:
        frames = np.ascontiguousarray(dataset.example(index, (0, 0)).transpose(0, 3, 1, 2))
        window = np.minimum(np.arange(first, len(frames)), context)
        examples.append(example(frames, window, first, ("validation", index)))
    batch = on_device(collate(examples), device)
    return model.bits_per_dim(model.frame_log_likelihood(batch), 1).float().cpu()
