"""Invertible maps of whole numbers (Hoogeboom et al. 2019, *Integer Discrete Flows*).

They permute the points of Zᵈ, so no volume changes: the log-det of each is 0, and a model's probability of
an image is its prior's of the latents. Values are whole numbers in float32, exact below 2²⁴.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from vflow.bijections.base import Bijection, Context, zero_density
from vflow.nn.exact import straight_through_round


@final
class IntegerCoupling(Bijection):
    """z₂ = x₂ + round(t(x₁)), z₁ = x₁; x₁ are the first three quarters of the channels.

    The gradient passes the rounding straight through. ``net`` maps x₁ (B, C₁, H, W) and the context to
    (B, C₂, H, W).
    """

    def __init__(self, net: nn.Module, channels: int) -> None:
        super().__init__()
        self.net = net
        self.changed = max(1, channels // 4)
        self.kept = channels - self.changed

    def _translation(self, kept: Tensor, context: Context) -> Tensor:
        return straight_through_round(self.net(kept, context).to(kept.dtype))

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        kept, changed = x.split([self.kept, self.changed], 1)
        return torch.cat([kept, changed + self._translation(kept, context)], 1), zero_density(x)

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        kept, changed = z.split([self.kept, self.changed], 1)
        return torch.cat([kept, changed - self._translation(kept, context)], 1), zero_density(z)


@final
class ChannelPermutation(Bijection):
    """A fixed order of the channels, drawn from ``seed``."""

    order: Tensor
    inverse_order: Tensor

    def __init__(self, channels: int, seed: int) -> None:
        super().__init__()
        self.width = channels
        order = torch.randperm(channels, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("order", order)
        self.register_buffer("inverse_order", order.argsort())

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return x[:, self.order], zero_density(x)

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return z[:, self.inverse_order], zero_density(z)
