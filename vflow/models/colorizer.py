"""Colours of a photograph given its lightness (cINN: Ardizzone et al. 2019, arXiv 1907.02392)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.base import accumulation_dtype
from vflow.bijections.pixel_map import Scaled
from vflow.config import ColorizerConfig
from vflow.models.base import Condition
from vflow.models.dequantizer import build_dequantizer
from vflow.models.image import ConditionalFlow, ImageBatch, level_priors
from vflow.models.wavelet import WaveletFlow
from vflow.nn.backbone import WIDTHS, Backbone
from vflow.nn.encoder import FrameEncoder, ResidualBlock, WindowEncoder
from vflow.nn.layers import NormConv2d, ZeroConv2d
from vflow.nn.modules import ModuleList
from vflow.nn.relu import relu

UNIT = 32.0  # ab units (CIE Lab) to one unit of the flow
FILM_HIDDEN = 64
SHARP = 4
"""Channels of a condition before those of L at twice the resolution."""


@final
class FiLM(nn.Module):
    """x · (1 + a) + b, a and b from a vector per image (FiLM: Perez et al. 2018); starts as x."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.linear_in, self.linear_out = nn.Linear(inputs, FILM_HIDDEN), nn.Linear(FILM_HIDDEN, 2 * channels)
        nn.init.zeros_(self.linear_out.weight)
        nn.init.zeros_(self.linear_out.bias)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        a, b = self.linear_out(F.relu(self.linear_in(vector)))[:, :, None, None].chunk(2, 1)
        return x * (1 + a) + b


@final
class ColorMean(nn.Module):
    """Predicted mean of colour planes, subtracted before the flow: exactly invertible, log-det 0.

    The prediction is a mean colour, from the features alone, plus a structure without mean, from the features
    and the image's own mean colour. Subtracting the structure leaves the image's mean as it is, so the
    inverse takes that mean first. An image's mean tells how vivid it is: given that, twice as much of the
    structure is known.

    Args:
        channels: of the planes.
        hidden: channels per level, fine to coarse; the first is at half the planes' size.
        features: channels of the features per level; the last says most of the mean.

    After the image's features those of its mirror image may follow. Then the prediction is the mean of both,
    and errors that they do not share cancel.
    """

    def __init__(self, channels: int, hidden: Sequence[int], features: Sequence[int]) -> None:
        super().__init__()
        self.levels = len(features)
        self.conv_in = ModuleList([NormConv2d(f, h, 3) for f, h in zip(features, hidden, strict=False)])
        self.film = ModuleList([FiLM(channels, h) for h in hidden])
        self.blocks = ModuleList([ResidualBlock(h) for h in hidden])
        self.top_down = ModuleList([NormConv2d(b, a, 1) for a, b in pairwise(hidden)])
        self.conv_out = ZeroConv2d(hidden[0], 4 * channels)
        self.mean_color = ZeroConv2d(features[-1], channels)

    def mean(self, features: Sequence[Tensor]) -> Tensor:
        """Predicted mean colour, (B, C, 1, 1)."""
        return _average([self.mean_color(view[-1]) for view in self._views(features)]).mean(
            (2, 3), keepdim=True
        )

    def structure(self, features: Sequence[Tensor], mean: Tensor) -> Tensor:
        """Predicted structure given the image's ``mean`` (B, C, 1, 1): (B, C, H, W), itself of mean zero."""
        own, *mirrored = [self._plane(view, mean) for view in self._views(features)]
        plane = _average([own, *(other.flip(-1) for other in mirrored)])
        return plane - plane.mean((2, 3), keepdim=True)

    def subtract(self, x: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Planes x (B, C, H, W) less their prediction."""
        mean = x.mean((2, 3), keepdim=True)
        return x - (self.mean(features) + self.structure(features, mean))

    def add(self, y: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Inverse of ``subtract``."""
        predicted = self.mean(features)
        mean = y.mean((2, 3), keepdim=True) + predicted
        return y + (predicted + self.structure(features, mean))

    def errors(self, x: Tensor, features: Sequence[Tensor], noisy_mean: Tensor) -> tuple[Tensor, Tensor]:
        """Errors of the mean (B, C, 1, 1), and of the structure (B, C, H, W) given ``noisy_mean``."""
        mean = x.mean((2, 3), keepdim=True)
        return mean - self.mean(features), x - mean - self.structure(features, noisy_mean)

    def _views(self, features: Sequence[Tensor]) -> list[Sequence[Tensor]]:
        """The image's features; and those of its mirror image, if given."""
        views = [features[: self.levels], features[self.levels :]]
        return views if views[1] else views[:1]

    def _plane(self, features: Sequence[Tensor], mean: Tensor) -> Tensor:
        """Structure predicted from one view, (B, C, H, W), mean included."""
        x: Tensor | None = None
        vector = mean.flatten(1)
        for level in reversed(range(len(self.conv_in))):
            h = self.conv_in[level](features[level])
            if x is not None:
                h = h + F.interpolate(self.top_down[level](x), scale_factor=2.0, mode="nearest")
            x = self.blocks[level](self.film[level](h, vector))
        assert x is not None
        return F.pixel_shuffle(self.conv_out(relu(x)), 2)


def _average(predictions: Sequence[Tensor]) -> Tensor:
    """Mean of tensors, in float32 or wider."""
    return torch.stack([x.to(accumulation_dtype(x.dtype)) for x in predictions]).mean(0)


@final
class Colorizer(ConditionalFlow):
    """p(ab | L, hints), all small; a network of L, trained with the flow, gives features for every level.

    The condition is (B, 4, 2H, 2W): L in 0..100 at twice the size of the ab planes, and colour hints: a mask,
    and the a and b that hold where it is 1. Trained with and without hints, one model does both. Four more
    channels may follow: L at (4H, 4W), space to depth, which the backbone alone sees (``scale_tta``). With
    ``backbone`` features of EfficientNet-Lite0 join those of L, level by level. With ``color_mean`` the flow
    codes the planes less their predicted mean.
    """

    def __init__(self, config: ColorizerConfig) -> None:
        super().__init__()
        self.config = config
        glow, widths = config.glow, config.condition.hidden
        self.image_shape = (glow.channels, glow.height, glow.width)
        self.dequantizer = build_dequantizer(config.noise, glow.channels)
        self.pixel_map = Scaled(UNIT)
        self.encoder = FrameEncoder(4, config.condition)
        self.backbone = Backbone() if config.backbone else None
        if config.backbone:
            inputs = (*WIDTHS, *WIDTHS[-1:] * len(widths))  # the last ones are means of the coarsest
            self.adapters = ModuleList(
                [ZeroConv2d(a, b, 1) for a, b in zip(inputs, widths[1:], strict=False)]
            )
        self.window_encoder = WindowEncoder(1, config.condition.model_copy(update={"hidden": widths[1:]}))
        channels = (*widths[1:], widths[-1])
        self.flow = WaveletFlow(glow, channels, nets=config.level_net)
        self.latent_shapes = self.flow.latent_shapes
        hidden = (*glow.hidden, glow.hidden[-1])
        self.priors = level_priors(self.flow, hidden, glow.activation, channels)
        self.color_mean = ColorMean(glow.channels, config.color_mean, channels) if config.color_mean else None

    def features_of(self, batch: ImageBatch) -> Sequence[Tensor]:
        """The batch's features; those of the backbone may have been computed before."""
        if batch.features is None and batch.backbone_features is not None:
            return self._features(batch.condition, batch.backbone_features)
        return super().features_of(batch)

    def features(self, y: Tensor) -> Sequence[Tensor]:
        """Features of L and hints for each wavelet level, and the coarsest once more for the mean colour.

        With ``flip_tta`` those of the mirror image follow, for ``color_mean``.
        """
        if not self.config.flip_tta:
            return self._features(y)
        pairs = [f.chunk(2) for f in self._features(torch.cat([y, _mirrored(y)]))]
        return [own for own, _ in pairs] + [mirrored for _, mirrored in pairs]

    def to_flow(self, y: Tensor, condition: Condition) -> tuple[Tensor, Tensor]:
        x, density = super().to_flow(y, condition)
        if self.color_mean is not None:
            x = self.color_mean.subtract(x, _present(condition.features))
        return x, density

    def to_pixels(self, x: Tensor, condition: Condition) -> Tensor:
        if self.color_mean is not None:
            x = self.color_mean.add(x, _present(condition.features))
        return super().to_pixels(x, condition)

    def color_mean_errors(
        self, images: Tensor, eps: Tensor, features: Sequence[Tensor], mean_noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``ColorMean.errors`` of uint8 planes dequantised by ``eps``, their mean off by ``mean_noise``.

        All in units of the flow.

        Raises:
            ValueError: the model has no ``color_mean``.
        """
        if self.color_mean is None:
            raise ValueError("this model has no color_mean")
        x, _ = super().to_flow(self.dequantizer(images.float(), eps)[0], self.condition(features))
        return self.color_mean.errors(x, features, x.mean((2, 3), keepdim=True) + mean_noise)

    def _features(self, y: Tensor, backbone_features: Sequence[Tensor] | None = None) -> list[Tensor]:
        inputs = torch.cat([y[:, :1] / 50 - 1, y[:, 1:2], y[:, 2:SHARP] / UNIT], 1)
        pyramid: Sequence[Tensor] = self.encoder(inputs.contiguous(memory_format=torch.channels_last))[1:]
        if self.backbone is not None:
            if backbone_features is None:
                backbone_features = self._backbone_features(self.backbone, y)
            levels = zip(pyramid, self.adapters, self._pooled(backbone_features), strict=True)
            pyramid = [f + adapter(level.to(f.dtype)) for f, adapter, level in levels]
        mask = y.new_ones(len(y), 1)
        features: Sequence[Tensor] = self.window_encoder(tuple(f[:, None] for f in pyramid), mask)
        if self.config.dropout:
            features = [F.dropout2d(f, self.config.dropout, self.training) for f in features]
        return [*features, features[-1]]

    def _backbone_features(self, backbone: Backbone, y: Tensor) -> Sequence[Tensor]:
        """The backbone's features of L, and where y has it sharper, the mean of those of both."""
        found: Sequence[Tensor] = backbone(y[:, :1])
        if not (self.config.scale_tta and y.shape[1] > SHARP):
            return found
        sharp = backbone(F.pixel_shuffle(y[:, SHARP:], 2), enlarge=False)
        return [(a + b) / 2 for a, b in zip(found, sharp, strict=True)]

    def _pooled(self, backbone_features: Sequence[Tensor]) -> list[Tensor]:
        """The backbone's features for each level; below its coarsest, means of that."""
        features = list(backbone_features)[: len(self.adapters)]
        while len(features) < len(self.adapters):
            features.append(F.avg_pool2d(features[-1], 2))
        return features


def _mirrored(y: Tensor) -> Tensor:
    """Conditions turned left to right."""
    if y.shape[1] == SHARP:
        return y.flip(-1)
    sharp = F.pixel_unshuffle(F.pixel_shuffle(y[:, SHARP:], 2).flip(-1), 2)
    return torch.cat([y[:, :SHARP].flip(-1), sharp], 1)


def _present(features: Sequence[Tensor | None]) -> list[Tensor]:
    return [f for f in features if f is not None]
