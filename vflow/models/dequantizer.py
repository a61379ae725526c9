"""Dequantisation noise by name, and the one whose density is learned."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from vflow.bijections.base import Chain, accumulation_dtype, upsample_density
from vflow.bijections.coupling import AffineCoupling, soft_clamp
from vflow.bijections.dequantize import (
    MARGIN,
    AnchoredDequantizer,
    Dequantizer,
    GaussianDequantizer,
    UniformDequantizer,
)
from vflow.bijections.histogram import LEVELS
from vflow.bijections.linear import Invertible1x1
from vflow.bijections.reshape import ChannelPartition
from vflow.config import Noise
from vflow.nn.encoder import ResidualBlock
from vflow.nn.layers import Conditioner, NormConv2d, ZeroConv2d
from vflow.nn.relu import relu
from vflow.nn.reshape import squeeze, unsqueeze

HIDDEN, STEPS = 48, 4
FARTHEST = 8.0  # standard deviations: keeps infinite noise out of the networks
NEAR = 16.0  # grey levels from the most likely value that the network tells apart well


def build_dequantizer(kind: Noise, channels: int) -> Dequantizer:
    """Noise inside the bins of pictures with so many ``channels``."""
    if kind == "learned":
        return VariationalDequantizer(channels)
    fixed: dict[Noise, type[Dequantizer]] = {
        "uniform": UniformDequantizer,
        "gaussian": GaussianDequantizer,
        "anchored": AnchoredDequantizer,
    }
    return fixed[kind]()


@final
class VariationalDequantizer(Dequantizer):
    """u = Φ(y), y a small conditional flow of ε that sees the picture (Ho et al. 2019, *Flow++*, 3.1).

    Couplings tie the noise of neighbours together; then y ← m + s · y at each pixel. s = 1 is uniform noise,
    with which it starts, and a small s noise that is narrow and Gaussian: q contains both.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = 4 * channels
        self.enter = NormConv2d(3 * inner, HIDDEN, 3)
        self.block = ResidualBlock(HIDDEN)
        steps = []
        for _ in range(STEPS):
            net = Conditioner(inner // 2, inner, HIDDEN, "relu", HIDDEN)
            steps += [Invertible1x1(inner), AffineCoupling(net, ChannelPartition())]
        self.flow = Chain(steps)
        self.leave = ZeroConv2d(HIDDEN, 2 * inner)

    def forward(self, x: Tensor, eps: Tensor, mode: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As the base class says, for pictures (B, C, H, W) of even height and width."""
        x, eps = x.to(accumulation_dtype(eps.dtype)), eps.clamp(-FARTHEST, FARTHEST)
        seen = self._features(x, torch.full_like(x, LEVELS / 2) if mode is None else mode)
        y, density = self.flow.transform(squeeze(eps), seen)
        mean, log_scale = self.leave(seen).to(accumulation_dtype(eps.dtype)).chunk(2, 1)
        log_scale = unsqueeze(soft_clamp(log_scale))
        y = unsqueeze(mean) + log_scale.exp() * unsqueeze(y)
        volume = upsample_density(density, *x.shape[2:])[:, None] / x.shape[1] + log_scale
        weight = volume + 0.5 * (eps.square() - y.square()) + math.log1p(-2 * MARGIN)
        return x + MARGIN + (1 - 2 * MARGIN) * torch.special.ndtr(y), weight

    def _features(self, x: Tensor, mode: Tensor) -> Tensor:
        """What the noise depends on: values, how far from the most likely ones they lie, and if at all."""
        mode = mode.to(x.dtype)
        planes = torch.cat([x / (LEVELS / 2) - 1, ((x - mode) / NEAR).tanh(), (x == mode).to(x.dtype)], 1)
        features: Tensor = self.block(relu(self.enter(squeeze(planes))))
        return features
