"""Validation: bits/dim of held-out examples over processes, and diagnostics of the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from vflow.models import Model
from vflow.training.data import DataModule, on_device

EXAMPLES = 4
SCALES = ("log_scale", "log_diagonal")  # endings of the parameters that are logarithms of scales


@torch.no_grad()
def round_trip(model: Model, data: DataModule[Any, Any], device: torch.device) -> float:
    """Largest error of data → latent → data over a few pictures held out, float32, in grey levels."""
    before, after = model.reconstruct(on_device(data.probe(EXAMPLES), device))
    return float((after - before).abs().max())


@torch.no_grad()
def largest_log_scale(model: Model) -> float:
    """Largest absolute value of any parameter that is the logarithm of a scale; 0 if there is none."""
    scales = [parameter for name, parameter in model.named_parameters() if name.endswith(SCALES)]
    return max((float(scale.abs().max()) for scale in scales), default=0.0)


@dataclass(frozen=True)
class Validation:
    """bits/dim of each target picture: float32 (examples, targets)."""

    bits: np.ndarray

    @property
    def bits_per_dim(self) -> float:
        """Mean over all target pictures."""
        return float(self.bits.mean(dtype=np.float64))

    @property
    def typical(self) -> tuple[float, float]:
        """1% and 99% quantile over pictures."""
        low, high = np.quantile(self.bits, (0.01, 0.99))
        return float(low), float(high)


EXPLODED = 10.0  # bits/dim above the best: weights of no use


class Best:
    """The weights that were best for held-out examples, and the bits of each example by them.

    Args:
        model: a copy that these weights may be kept in.
    """

    def __init__(self, model: Model) -> None:
        self.model, self.bits = model, np.zeros(0)

    def beaten_by(self, bits: np.ndarray) -> bool:
        """True for bits (examples, targets) that are lower by more than the standard error of the gain.

        Of few examples the lowest of many means would be luck.
        """
        gain = (self.bits - bits).ravel().astype(np.float64)
        error = gain.std(ddof=1) / len(gain) ** 0.5 if len(gain) > 1 else 0.0
        return bool(gain.mean() > error)

    def keep(self, model: Model, bits: np.ndarray) -> None:
        """Take the weights of ``model``."""
        self.model.load_state_dict(model.state_dict())
        self.bits = bits


@torch.no_grad()
def validate(
    model: Model,
    data: DataModule[Any, Any],
    count: int,
    accelerator: Accelerator,
    cancelled: Callable[[], bool],
) -> Validation | None:
    """Score the first ``count`` held-out examples with fixed noise, in float32.

    Examples that cannot be read are passed over. None when any process wishes to stop half-way, or nothing
    can be read; all processes then return None.
    """
    count = min(count, data.held_out)
    world, rank = accelerator.num_processes, accelerator.process_index
    per_process = -(-count // world)
    mine = list(range(rank, count, world))
    bits, seen, complete = torch.zeros(per_process, data.targets), torch.zeros(per_process), True
    for start in range(0, len(mine), data.chunk):
        if cancelled():
            complete = False
            break
        batch = data.validation(mine[start : start + data.chunk])
        if batch is None:
            continue
        scored = data.bits(model, on_device(batch, accelerator.device)).float().cpu()
        bits[start : start + len(scored)], seen[start : start + len(scored)] = scored, 1
    flags = accelerator.gather(torch.tensor([float(complete)], device=accelerator.device))
    table = accelerator.gather(torch.cat([bits, seen[:, None]], 1).to(accelerator.device)).cpu()
    table = table.unflatten(0, (world, per_process)).transpose(0, 1).flatten(0, 1)
    table = table[table[:, -1] > 0, :-1]
    if not bool(flags.all()) or not len(table):
        return None
    return Validation(table.numpy())
