"""Super-resolution: a photo of twice the size given the means of its 2×2 blocks (Winkler et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.actnorm import constant_density
from vflow.bijections.pixel_map import Scaled
from vflow.config import SuperResolutionConfig
from vflow.models.base import Condition
from vflow.models.dequantizer import UniformDequantizer
from vflow.models.image import ConditionalFlow, ImageBatch, level_priors
from vflow.models.wavelet import DetailFlow
from vflow.nn.encoder import ResidualBlock
from vflow.nn.layers import NormConv2d, ZeroConv2d

UNIT = 4.0  # grey levels per unit of the flow


@final
class SuperResolution(ConditionalFlow):
    """p(details | small photo): residual network → mean of the details → flow of their residual → prior.

    The small photo holds the means of 2×2 blocks; the flow codes the other three Haar coefficients of each
    colour, so whatever is drawn, its blocks have the given means. The mean of the details is that of bicubic
    interpolation plus a correction by the network. All parts are convolutions: photos may have any size.
    """

    flow: DetailFlow

    def __init__(self, config: SuperResolutionConfig) -> None:
        super().__init__()
        self.config = config
        glow, width = config.glow, config.condition.hidden[0]
        self.image_shape = (glow.channels, glow.height, glow.width)
        self.dequantizer = UniformDequantizer()
        self.pixel_map = Scaled()
        self.conv_in = NormConv2d(glow.channels, width, 3)
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(config.condition.blocks)))
        self.mean = ZeroConv2d(width, 3 * glow.channels)
        self.project = NormConv2d(width, config.features, 1)
        self.flow = DetailFlow(glow, config.features)
        self.latent_shapes = self.flow.latent_shapes
        self.priors = level_priors(self.flow, glow.hidden, glow.activation, [config.features])

    @property
    def radius(self) -> int:
        """Radius of the area that a sampled pixel depends on, in pixels of the small photo."""
        encoder = 1 + 2 * self.config.condition.blocks
        return encoder + 2 * self.config.glow.depth[0] + 2

    def bits_per_dim(self, nats: Tensor, count: int = 1) -> Tensor:
        """−nats per detail / ln 2, of crops of the training size: three Haar coefficients of four."""
        return super().bits_per_dim(nats, count) * (4 / 3)

    def features(self, y: Tensor) -> Sequence[Tensor]:
        """Features (B, F, h, w) of small photos y, uint8 (B, 3, h, w), and the predicted photos.

        These are float32 (B, 3, 2h, 2w), in grey levels; their blocks have the means y.
        """
        y = y.to(self.flow.colors.dtype).contiguous(memory_format=torch.channels_last)
        given = y if self.config.conditioned else torch.zeros_like(y)
        seen = self.blocks(self.conv_in(given / 128 - 1))
        larger = F.interpolate(given, scale_factor=2.0, mode="bicubic", align_corners=False)
        details = self.flow.details(larger) + UNIT * self.mean(seen).to(y.dtype)
        means = F.interpolate(y, scale_factor=2.0, mode="nearest")
        return [self.project(F.relu(seen)), means + self.flow.image(details)]

    def condition(self, features: Sequence[Tensor]) -> Condition:
        seen, predicted = features
        return Condition([seen], [seen], predicted)

    def to_flow(self, y: Tensor, condition: Condition) -> tuple[Tensor, Tensor]:
        """Grey levels (N, 3, H, W) to residuals of their prediction, and the log-det of the details."""
        assert condition.reference is not None
        x = ((y - 0.5 - condition.reference) / UNIT).contiguous(memory_format=torch.channels_last)
        return x, constant_density(x, x.new_tensor(-0.75 * self.config.glow.channels * math.log(UNIT)))

    def to_pixels(self, x: Tensor, condition: Condition) -> Tensor:
        assert condition.reference is not None
        return UNIT * x + condition.reference + 0.5

    def detail_errors(self, images: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Photos less what ``features`` predict of their details, in grey levels, uint8 images (B, 3, H, W).

        The mean of each block is left out.
        """
        return self.flow.image(self.flow.details(images.float() - features[1]))

    @torch.no_grad()
    def reconstruct(self, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """Dequantised images, each block's mean replaced by the given one, and the same coded and decoded."""
        condition = self.condition_targets(batch)
        x, _ = self.to_flow(self.dequantize_targets(batch, condition)[0], condition)
        before = self.to_pixels(self.flow.image(self.flow.details(x)), condition)
        code = self.flow.encode(x, condition.features)
        after = self.flow.decode_level(0, code.latents[0], None, condition.features[0])
        return before, self.to_pixels(after, condition)
