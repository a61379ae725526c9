"""Model that every library can build: an unconditional Glow with a standard normal prior."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from vflow.bijections import ActNormLinear, Chain, Invertible1x1
from vflow.config import GlowConfig
from vflow.models.glow import Glow

Log = Callable[[Tensor], Tensor]  # images (B, C, H, W) → log-likelihood (B,) in nats


class UnconditionalGlow(nn.Module):
    """vflow's Glow with a standard normal as prior of all latents."""

    def __init__(self, config: GlowConfig) -> None:
        super().__init__()
        self.glow = Glow(config)
        self.dims = config.channels * config.height * config.width

    def forward(self, x: Tensor) -> Tensor:
        """Log-likelihood in nats of each image of x (B, C, H, W), (B,)."""
        latents, _, densities = self.glow.encode(x, [None] * self.glow.config.levels)
        terms = [d.flatten(1).sum(1) for d in densities] + [-0.5 * z.square().sum((1, 2, 3)) for z in latents]
        return torch.stack(terms).sum(0) - 0.5 * self.dims * math.log(2 * math.pi)


def glow_config(
    depth: int = 8, hidden: int = 128, memory: Literal["plain", "recompute"] = "plain"
) -> GlowConfig:
    """Three levels on 64×64 RGB, as in docs/PERFORMANCE.md."""
    return GlowConfig(depth=(depth,) * 3, hidden=(hidden,) * 3, memory=memory)


def images(batch: int, config: GlowConfig) -> Tensor:
    """Smooth noise in (−½, ½), channels-last: (B, C, H, W)."""
    coarse = torch.randn(batch, config.channels, config.height // 8, config.width // 8)
    smooth = nn.functional.interpolate(coarse, scale_factor=8.0, mode="bilinear")
    x = torch.tanh(smooth + 0.1 * torch.randn(batch, config.channels, config.height, config.width)) / 2
    return x.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def started(config: GlowConfig, x: Tensor) -> UnconditionalGlow:
    """Model with ActNorms initialised on ``x`` and random last layers of couplings, which start at 0."""
    torch.manual_seed(0)
    model = UnconditionalGlow(config)
    for name, parameter in model.named_parameters():
        if "net.conv_out.weight" in name:
            parameter.normal_(0, 0.1 / math.sqrt(parameter[0].numel()))
    model.glow.initialize(x, [None] * config.levels)
    return model


def without_tricks(model: UnconditionalGlow) -> UnconditionalGlow:
    """The same map in plain torch: ActNorm and 1×1 convolution separate, weights in the default layout."""
    plain = copy.deepcopy(model)
    for chain in plain.glow.levels:
        for index, layer in enumerate(chain.layers):
            if isinstance(layer, ActNormLinear):
                linear = Invertible1x1(len(layer.plu.sign))
                linear.plu = layer.plu
                chain.layers.add_module(str(index), Chain([layer.actnorm, linear]))
    for parameter in plain.parameters():
        parameter.data = parameter.data.contiguous()
    return plain
