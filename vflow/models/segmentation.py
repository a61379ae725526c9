"""Binary masks given a picture: a conditional flow with half-infinite noise (Winkler et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from vflow.bijections.pixel_map import LEVELS, Difference
from vflow.config import SegmentationConfig
from vflow.models.base import Condition
from vflow.models.dequantizer import HalfInfiniteDequantizer
from vflow.models.glow import Glow, decode
from vflow.models.image import ConditionalFlow, ImageBatch, level_priors
from vflow.nn.encoder import FrameEncoder, WindowEncoder
from vflow.nn.layers import ZeroConv2d
from vflow.nn.reshape import unsqueeze


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
