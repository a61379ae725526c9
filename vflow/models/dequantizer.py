"""Dequantisation: from 8-bit values to continuous ones, by fixed noise or by a learned flow."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal, final

import torch
from torch import Tensor, nn

from vflow.bijections.base import Chain, accumulation_dtype, upsample_density
from vflow.bijections.coupling import AffineCoupling, soft_clamp
from vflow.bijections.linear import Invertible1x1
from vflow.bijections.pixel_map import LEVELS
from vflow.bijections.reshape import ChannelPartition
from vflow.config import EncoderConfig, Noise
from vflow.nn.encoder import FrameEncoder, ResidualBlock, WindowEncoder
from vflow.nn.layers import Conditioner, NormConv2d, ZeroConv2d
from vflow.nn.relu import relu
from vflow.nn.reshape import squeeze, unsqueeze

HIDDEN, STEPS = 48, 4
FARTHEST = 8.0  # standard deviations: keeps infinite noise out of the networks
NEAR = 16.0  # distance from the most likely value, in grey levels, that the network resolves well
MARGIN = 2.0**-15  # noise keeps this far from the bin's edges, so that float32 never rounds into the next bin
START = -1.0  # log scale of noise that sees the frame before, as training begins
WIDTH = 1 / 12  # standard deviation of the Gaussian inside a bin: its edges lie 6σ from its centre


class Dequantizer(nn.Module, ABC):
    """x̃ = x + u with u ~ q(u | x) in the bin of x: a random map with a known density, and no bijection.

    log p(x) ≥ E_q[log p(x̃) − log q(u | x)]. Bins have width 1 (grey levels).
    """

    @abstractmethod
    def forward(self, x: Tensor, eps: Tensor, mode: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x̃ in [x, x + 1) and −log q, both shaped like ``x``, float32.

        ``eps`` is standard normal; ``mode`` is each pixel's most likely value before it is seen, if known.
        """


def uniform_noise(eps: Tensor) -> tuple[Tensor, Tensor]:
    """u uniform over the bin, and −log q."""
    return MARGIN + (1 - 2 * MARGIN) * torch.special.ndtr(eps), torch.full_like(eps, math.log1p(-2 * MARGIN))


def gaussian_noise(eps: Tensor) -> tuple[Tensor, Tensor]:
    """u normal around the bin's centre with σ = 1/12, cut at the edges, and −log q."""
    inside = eps.clamp(-(0.5 - MARGIN) / WIDTH, (0.5 - MARGIN) / WIDTH)
    return 0.5 + WIDTH * inside, 0.5 * inside.square() + math.log(WIDTH * math.sqrt(2 * math.pi))


@final
class UniformDequantizer(Dequantizer):
    """q uniform over the bin: right where neighbouring values are all in use, as in photographs."""

    def forward(self, x: Tensor, eps: Tensor, mode: Tensor | None = None) -> tuple[Tensor, Tensor]:
        noise, weight = uniform_noise(eps)
        return x + noise, weight


@final
class GaussianDequantizer(Dequantizer):
    """q Gaussian inside the bin: a Gaussian model can fit a known pixel exactly; for drawn pictures."""

    def forward(self, x: Tensor, eps: Tensor, mode: Tensor | None = None) -> tuple[Tensor, Tensor]:
        noise, weight = gaussian_noise(eps)
        return x + noise, weight


@final
class VariationalDequantizer(Dequantizer):
    """u = Φ(y), y a small conditional flow of ε that sees the picture (Ho et al. 2019, *Flow++*, 3.1).

    Couplings correlate the noise of neighbours; then y ← m + s · y at each pixel. s = 1 is uniform noise, its
    start; a small s is narrow Gaussian noise.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = 4 * channels
        self.conv_in = NormConv2d(3 * inner, HIDDEN, 3)
        self.block = ResidualBlock(HIDDEN)
        steps = []
        for _ in range(STEPS):
            net = Conditioner(inner // 2, inner, HIDDEN, "relu", HIDDEN)
            steps += [Invertible1x1(inner), AffineCoupling(net, ChannelPartition())]
        self.flow = Chain(steps)
        self.conv_out = ZeroConv2d(HIDDEN, 2 * inner)

    def forward(self, x: Tensor, eps: Tensor, mode: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See the base class; images (B, C, H, W) have even height and width."""
        x, eps = x.to(accumulation_dtype(eps.dtype)), eps.clamp(-FARTHEST, FARTHEST)
        seen = self._features(x, torch.full_like(x, LEVELS / 2) if mode is None else mode)
        y, density = self.flow.transform(squeeze(eps), seen)
        mean, log_scale = self.conv_out(seen).to(accumulation_dtype(eps.dtype)).chunk(2, 1)
        log_scale = unsqueeze(soft_clamp(log_scale))
        y = unsqueeze(mean) + log_scale.exp() * unsqueeze(y)
        volume = upsample_density(density, *x.shape[2:])[:, None] / x.shape[1] + log_scale
        weight = volume + 0.5 * (eps.square() - y.square()) + math.log1p(-2 * MARGIN)
        return x + MARGIN + (1 - 2 * MARGIN) * torch.special.ndtr(y), weight

    def _features(self, x: Tensor, mode: Tensor) -> Tensor:
        """Features of values, of their distance from the most likely ones, and of whether there is any."""
        mode = mode.to(x.dtype)
        planes = torch.cat([x / (LEVELS / 2) - 1, ((x - mode) / NEAR).tanh(), (x == mode).to(x.dtype)], 1)
        features: Tensor = self.block(relu(self.conv_in(squeeze(planes))))
        return features


@final
class ConditionalDequantizer(Dequantizer):
    """u = Φ(m + s · ε), where m and s see the whole picture and the frame before it.

    So noise can tell coarse latents what a frame decides, such as the direction of a movement, at the cost
    of its bits; a prior of one mode, drawn from the top down, then settles it before the details.

    Args:
        levels: of the pyramid of features; 2^levels divides the sides of frames.
    """

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        config = EncoderConfig(hidden=(HIDDEN // 2, *(HIDDEN,) * (levels - 1)), blocks=1)
        self.frames = FrameEncoder(2 * channels, config)
        self.join = WindowEncoder(1, config)
        self.conv_out = ZeroConv2d(HIDDEN // 2, 8 * channels)

    def forward(self, x: Tensor, eps: Tensor, mode: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See the base class; ``mode`` is the frame before, x itself where there is none."""
        x, eps = x.to(accumulation_dtype(eps.dtype)), eps.clamp(-FARTHEST, FARTHEST)
        planes = torch.cat([x, (x if mode is None else mode.to(x.dtype)) - x], 1) / (LEVELS / 2)
        pyramid = tuple(f[:, None] for f in self.frames(planes - 0.5))
        seen = self.join(pyramid, x.new_ones(len(x), 1))[0]
        mean, log_scale = unsqueeze(self.conv_out(seen).to(eps.dtype)).chunk(2, 1)
        log_scale = soft_clamp(log_scale + START)
        y = mean + log_scale.exp() * eps
        weight = log_scale + 0.5 * (eps.square() - y.square()) + math.log1p(-2 * MARGIN)
        return x + MARGIN + (1 - 2 * MARGIN) * torch.special.ndtr(y), weight


def build_dequantizer(noise: Noise | Literal["conditional"], channels: int, levels: int = 1) -> Dequantizer:
    """Dequantizer by name, for images with ``channels`` channels whose sides 2^``levels`` divides."""
    if noise == "conditional":
        return ConditionalDequantizer(channels, levels)
    if noise == "learned":
        return VariationalDequantizer(channels)
    return UniformDequantizer() if noise == "uniform" else GaussianDequantizer()
