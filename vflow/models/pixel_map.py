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
    """z = (x − 128) / unit: bins of width 1/unit without gaps."""

    def __init__(self, unit: float = float(LEVELS)) -> None:
        super().__init__()
        self.unit = unit

    def mode(self, context: Context, like: Tensor) -> Tensor | None:
        """Nothing is known of a pixel before it is seen."""
        return None

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        density = constant_density(x, x.new_tensor(-math.log(self.unit) * x.shape[1]))
        return (x - LEVELS / 2) / self.unit, density

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        density = constant_density(z, z.new_tensor(math.log(self.unit) * z.shape[1]))
        return z * self.unit + LEVELS / 2, density


@final
class PerPixelHistogram(Bijection):
    """A histogram map of its own at each position, for pictures that are all framed alike, as digits are."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.map = HistogramMap(channels, rows=height * width)

    def _positions(self, like: Tensor) -> Tensor:
        height, width = like.shape[2:]
        return torch.arange(height * width, device=like.device).unflatten(0, (height, width)).expand_as(like)

    def fit(self, frames: Tensor) -> None:
        """Set the maps from uint8 training images (N, C, H, W); a hundredth is what occurs anywhere."""
        rows = self._positions(frames)
        index = frames.long() + LEVELS * rows
        size = LEVELS * frames.shape[2] * frames.shape[3]
        counts = torch.stack([torch.bincount(v.flatten(), minlength=size) for v in index.unbind(1)])
        counts = counts.unflatten(1, (-1, LEVELS)).double()
        usual = counts.sum(1, keepdim=True) / counts.sum((1, 2), keepdim=True)
        self.map.fit(counts + 0.01 * len(frames) * usual, temper=1.0, floor=1e-4, tail=2e-3)

    def mode(self, context: Context, like: Tensor) -> Tensor:
        """Most frequent value at each position, shaped like ``like`` (B, C, H, W)."""
        return self.map.mode(self._positions(like), like)

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return self.map.transform(x, self._positions(x))

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return self.map.invert(z, self._positions(z))


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
