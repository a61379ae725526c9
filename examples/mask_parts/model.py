"""Binary masks given a picture: a conditional flow with half-infinite noise (Winkler et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self, final

import torch
from pydantic import model_validator
from torch import Tensor

from vflow.bijections.actnorm import constant_density
from vflow.bijections.base import Context
from vflow.bijections.coupling import soft_clamp
from vflow.bijections.pixel_map import LEVELS, PixelMap
from vflow.config import Config, EncoderConfig, GlowConfig
from vflow.models.base import Condition
from vflow.models.dequantizer import HIDDEN, Dequantizer
from vflow.models.glow import Glow, decode
from vflow.models.image import ConditionalFlow, ImageBatch, level_priors
from vflow.nn.encoder import FrameEncoder, ResidualBlock, WindowEncoder
from vflow.nn.layers import NormConv2d, ZeroConv2d
from vflow.nn.relu import relu
from vflow.nn.reshape import squeeze, unsqueeze

SURPRISE = 6.0  # standard deviations that half-infinite noise may be pulled across 0


class SegmentationConfig(Config):
    """Binary masks given grey pictures of their size: a conditional flow (Winkler et al. 2019).

    ``condition`` gives the features of the picture per level, fine to coarse, that couplings and priors see.
    """

    glow: GlowConfig = GlowConfig(channels=1, height=32, width=32, depth=(4, 4), hidden=(32, 48))
    condition: EncoderConfig = EncoderConfig(hidden=(32, 48), blocks=2)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.glow.channels != 1:
            raise ValueError("glow.channels must be 1: a mask")
        if len(self.condition.hidden) != self.glow.levels:
            raise ValueError("condition.hidden needs one entry per level")
        return self


@final
class Difference(PixelMap):
    """z = x − the context, where that says which x to expect (B, C, H, W)."""

    def mode(self, context: Context, like: Tensor) -> Tensor | None:
        return context

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return x if context is None else x - context, constant_density(x, x.new_zeros(()))

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return z if context is None else z + context, constant_density(z, z.new_zeros(()))


@final
class HalfInfiniteDequantizer(Dequantizer):
    """Noise of two levels, below and from 128 on: v < 0 for the lower one, v > 0 for the upper one.

    Winkler et al. 2019. q(v | x) is a normal density cut at 0; a small network gives its mean and scale. It
    starts as N(mode, 1), and then no bit is lost to a model that is N(mode, 1) itself: the bound is exact.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_in = NormConv2d(12 * channels, HIDDEN, 3)
        self.block = ResidualBlock(HIDDEN)
        self.conv_out = ZeroConv2d(HIDDEN, 8 * channels)

    def forward(self, x: Tensor, eps: Tensor, mode: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """v and −log q; ``mode`` is the mean of v that is expected before x is seen, 0 where None.

        Images have even height and width.
        """
        mode = torch.zeros_like(eps) if mode is None else mode.to(eps.dtype)
        sign = torch.where(x < LEVELS / 2, -1.0, 1.0).to(eps.dtype)
        planes = squeeze(torch.cat([sign, mode / 4, sign * mode / 4], 1))
        shift, raw = self.conv_out(self.block(relu(self.conv_in(planes)))).to(eps.dtype).chunk(2, 1)
        log_scale = soft_clamp(unsqueeze(raw))
        mean = (sign * (mode + unsqueeze(shift)) * (-log_scale).exp()).clamp_min(-SURPRISE)
        beyond = torch.special.ndtr(eps) * torch.special.ndtr(mean)  # probability of more than the draw
        draw = (mean - torch.special.ndtri(beyond.clamp(1e-30, 1 - 1e-7))).clamp_min(1e-6)
        weight = 0.5 * ((draw - mean).square() + math.log(2 * math.pi)) + torch.special.log_ndtr(mean)
        return sign * log_scale.exp() * draw, weight + log_scale


@final
class Segmentation(ConditionalFlow):
    """p(mask | picture): v, positive where the mask is 255 and negative where it is 0, is coded by a Glow.

    Networks over the picture predict the mean of v; couplings and priors see their features, so pixels that
    belong together are drawn together. Without a flow the model would be a probit for each pixel alone.
    """

    flow: Glow

    def __init__(self, config: SegmentationConfig) -> None:
        super().__init__()
        self.config = config
        glow, widths = config.glow, config.condition.hidden
        self.image_shape = (glow.channels, glow.height, glow.width)
        self.dequantizer = HalfInfiniteDequantizer(glow.channels)
        self.pixel_map = Difference()
        self.encoder = FrameEncoder(1, config.condition)
        self.top_down = WindowEncoder(1, config.condition)
        self.mean = ZeroConv2d(widths[0], 4 * glow.channels)
        self.flow = Glow(glow, widths)
        self.latent_shapes = self.flow.latent_shapes
        self.priors = level_priors(self.flow, glow.hidden, glow.activation, widths)

    def features(self, y: Tensor) -> Sequence[Tensor]:
        """Features of pictures y, uint8 (B, 1, H, W), per level, and the mean of v (B, 1, H, W)."""
        x = (y.to(self.mean.weight.dtype) / 128 - 1).contiguous(memory_format=torch.channels_last)
        seen = tuple(level[:, None] for level in self.encoder(x))
        levels = self.top_down(seen, x.new_ones(len(x), 1))
        return [*levels, unsqueeze(self.mean(levels[0])).to(x.dtype)]

    def condition(self, features: Sequence[Tensor]) -> Condition:
        *levels, mean = features
        return Condition(levels, levels, mean)

    def to_pixels(self, x: Tensor, condition: Condition) -> Tensor:
        """Grey levels, in the middle of the bins of 0 and 255."""
        v = self.pixel_map.invert(x, condition.reference)[0]
        return torch.where(v > 0, LEVELS - 0.5, 0.5)

    @torch.no_grad()
    def encode(self, images: Tensor, y: Tensor, eps: Tensor | None = None) -> tuple[Tensor, ...]:
        """As of other models; without ``eps`` v is at the median of its sign's half-line."""
        return super().encode(images, y, torch.zeros(images.shape).to(y.device) if eps is None else eps)

    @torch.no_grad()
    def reconstruct(self, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """v of the masks, and the same coded and decoded."""
        condition = self.condition_targets(batch)
        x, _ = self.to_flow(self.dequantize_targets(batch, condition)[0], condition)
        code = self.flow.encode(x, condition.features)
        again = decode(self.flow, code.latents, condition.features)
        before, after = (self.pixel_map.invert(part, condition.reference)[0] for part in (x, again))
        return before, after
