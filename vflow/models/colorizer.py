"""Colours of a photograph given its lightness (cINN: Ardizzone et al. 2019, arXiv 1907.02392)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from vflow.config import ColorizerConfig
from vflow.models.color_mean import ColorMean
from vflow.models.conditional import ConditionalFlow
from vflow.models.dequantizer import build_dequantizer
from vflow.models.pixel_map import Scaled
from vflow.models.wavelet import WaveletFlow
from vflow.nn.backbone import WIDTHS, Backbone
from vflow.nn.encoder import FrameEncoder, WindowEncoder
from vflow.nn.layers import ZeroConv2d
from vflow.nn.modules import ModuleList

UNIT = 32.0  # ab units (CIE Lab) to one unit of the flow


@final
class Colorizer(ConditionalFlow):
    """p(ab | L, hints), both small; a network of L trained with the flow gives features for every level.

    ``given`` is (B, 4, 2H, 2W): L in 0..100 at twice the size of the ab planes, and colour hints: a mask and
    the a and b that hold where it is 1. Trained with and without hints, one model does both. With
    ``backbone`` what a network for telling things apart sees in L joins the features, level by level.
    """

    def __init__(self, config: ColorizerConfig) -> None:
        super().__init__()
        self.config = config
        glow, widths = config.glow, config.condition.hidden
        self.image_shape = (glow.channels, glow.height, glow.width)
        self.noise = build_dequantizer(config.noise, glow.channels)
        self.pixels = Scaled(UNIT)
        self.encoder = FrameEncoder(4, config.condition)
        self.backbone = Backbone() if config.backbone else None
        if config.backbone:
            known = (*WIDTHS, *WIDTHS[-1:] * len(widths))  # the last ones are means of the coarsest
            self.adapters = ModuleList([ZeroConv2d(a, b, 1) for a, b in zip(known, widths[1:], strict=False)])
        self.joiner = WindowEncoder(1, config.condition.model_copy(update={"hidden": widths[1:]}))
        seen = (*widths[1:], widths[-1])
        self.flow = WaveletFlow(glow, seen)
        self.latent_shapes = self.flow.latent_shapes
        hidden = (*glow.hidden, glow.hidden[-1])
        self.priors = self.level_priors(self.flow, hidden, glow.activation, seen)
        self.outline = ColorMean(glow.channels, config.outline, seen) if config.outline else None

    def features(self, given: Tensor) -> Sequence[Tensor]:
        """Features of L and hints for each wavelet level, and the coarsest once more for the mean colour.

        With ``mirror`` those of the mirror image after them, for the outline.
        """
        if not self.config.mirror:
            return self._features(given)
        pairs = [f.chunk(2) for f in self._features(torch.cat([given, given.flip(-1)]))]
        return [own for own, _ in pairs] + [mirrored for _, mirrored in pairs]

    def _features(self, given: Tensor) -> list[Tensor]:
        scaled = torch.cat([given[:, :1] / 50 - 1, given[:, 1:2], given[:, 2:] / UNIT], 1)
        pyramid: Sequence[Tensor] = self.encoder(scaled.contiguous(memory_format=torch.channels_last))[1:]
        if self.backbone is not None:
            known = zip(self.adapters, self._known(given), strict=True)
            pyramid = [f + adapter(k) for f, (adapter, k) in zip(pyramid, known, strict=True)]
        mask = given.new_ones(len(given), 1)
        features: Sequence[Tensor] = self.joiner(tuple(f[:, None] for f in pyramid), mask)
        if self.config.dropout:
            features = [F.dropout2d(f, self.config.dropout, self.training) for f in features]
        return [*features, features[-1]]

    def _known(self, given: Tensor) -> list[Tensor]:
        """What the backbone sees in L, for each level."""
        assert self.backbone is not None
        known = list(self.backbone(given[:, :1]))[: len(self.adapters)]
        while len(known) < len(self.adapters):
            known.append(F.avg_pool2d(known[-1], 2))
        return known
