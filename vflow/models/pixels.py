"""From grey levels to the numbers a flow works on."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from vflow.bijections.actnorm import constant_density
from vflow.bijections.base import Bijection, Context
from vflow.bijections.histogram import LEVELS, HistogramMap
from vflow.config import VideoFlowConfig


@final
class Scaled(Bijection):
    """z = x / 256 − ½: bins of width 1/256 without gaps."""

    def mode(self, context: Context, like: Tensor) -> Tensor | None:
        """Nothing is known of a pixel before it is seen."""
        return None

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return x / LEVELS - 0.5, constant_density(x, x.new_tensor(-math.log(LEVELS) * x.shape[1]))

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return (z + 0.5) * LEVELS, constant_density(z, z.new_tensor(math.log(LEVELS) * z.shape[1]))


PixelMap = Scaled | HistogramMap


def pixel_map(config: VideoFlowConfig) -> PixelMap:
    """The elementwise map that ``config.values`` asks for; histogram maps still have to be fitted."""
    if config.values == "scaled":
        return Scaled()
    return HistogramMap(config.glow.channels, rows=LEVELS if config.values == "transitions" else 1)


def count_values(frames: Tensor, reference: Tensor | None) -> Tensor:
    """Value counts of uint8 frames (B, C, H, W): (C, 1, 256), or by ``reference`` pixel (C, 256, 256)."""
    rows = 1 if reference is None else LEVELS
    index = frames.long() if reference is None else frames.long() + LEVELS * reference.long()
    counts = [torch.bincount(values.flatten(), minlength=rows * LEVELS) for values in index.unbind(1)]
    return torch.stack(counts).unflatten(1, (rows, LEVELS))


def smooth_transitions(counts: Tensor, share: float = 0.01, least: float = 100.0) -> Tensor:
    """Transition counts (C, 256, 256) with a ``share`` of what is usual added to each row, seen or not.

    Usual is to change by v − u as often as pixels do anywhere, or to take a value as often as pixels have it,
    half each. So values that pixels take stay wide in the map; those they never take lie far outside,
    where samples seldom go. ``least`` is the smallest amount added to a row, in counts.
    """
    counts = counts.double()
    values = torch.arange(LEVELS)
    change = (values[None] - values[:, None] + LEVELS - 1).flatten().to(counts.device)
    by_change = torch.zeros(len(counts), 2 * LEVELS - 1, dtype=counts.dtype, device=counts.device)
    by_change.index_add_(1, change, counts.flatten(1))
    changes = by_change[:, change].unflatten(1, (LEVELS, LEVELS))
    usual = changes / changes.sum(2, keepdim=True).clamp_min(1e-9)
    anything = counts.sum(1, keepdim=True) / counts.sum((1, 2), keepdim=True).clamp_min(1e-9)
    amount = (share * counts.sum(2, keepdim=True)).clamp_min(least)
    return counts + amount * (0.5 * usual + 0.5 * anything)
