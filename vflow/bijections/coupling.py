"""Coupling layers: one half of the image is changed by a map whose parameters depend on the other half."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from vflow.bijections.base import Bijection, Context, wide
from vflow.bijections.reshape import Partition

LIMIT = 2.5  # |log scale| of one coupling stays below this, in both directions


def soft_clamp(h: Tensor, limit: float = LIMIT) -> Tensor:
    """(2/π) · limit · atan(h / limit): slope 2/π at 0, bounded by ±limit (Ardizzone et al. 2019)."""
    return (2 / math.pi * limit) * torch.atan(h / limit)


@final
class AffineCoupling(Bijection):
    """z₂ = x₂ · exp(log s) + t with (log s, t) = net(x₁, context) and z₁ = x₁; log s is softly clamped.

    Dinh et al. 2017. ``net`` maps the kept half (B, C₁, H, W) and the context to (B, 2·C₂, H, W).
    """

    def __init__(self, net: nn.Module, partition: Partition) -> None:
        super().__init__()
        self.net = net
        self.partition = partition

    def _parameters_of_map(self, kept: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        log_scale, shift = self.net(kept, context).to(wide(kept.dtype)).chunk(2, 1)
        return soft_clamp(log_scale), shift

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        kept, changed = self.partition.split(x)
        log_scale, shift = self._parameters_of_map(kept, context)
        z = self.partition.merge(kept, torch.addcmul(shift, changed, log_scale.exp()))
        return z, self.partition.scatter(log_scale.sum(1))

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        kept, changed = self.partition.split(z)
        log_scale, shift = self._parameters_of_map(kept, context)
        x = self.partition.merge(kept, (changed - shift) * (-log_scale).exp())
        return x, self.partition.scatter(-log_scale.sum(1))


@final
class AdditiveCoupling(Bijection):
    """z₂ = x₂ + net(x₁, context), z₁ = x₁; keeps volume (Dinh et al. 2015)."""

    def __init__(self, net: nn.Module, partition: Partition) -> None:
        super().__init__()
        self.net = net
        self.partition = partition

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return self._move(x, context, 1)

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return self._move(z, context, -1)

    def _move(self, x: Tensor, context: Context, direction: int) -> tuple[Tensor, Tensor]:
        kept, changed = self.partition.split(x)
        shift = self.net(kept, context).to(wide(kept.dtype))
        zero = torch.zeros(len(shift), *shift.shape[2:], dtype=shift.dtype, device=shift.device)
        return self.partition.merge(kept, changed + direction * shift), self.partition.scatter(zero)
