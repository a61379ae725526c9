"""Digits by class: a multi-scale Glow whose couplings and priors see the label (Ardizzone et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from vflow.config import DigitsConfig
from vflow.models.conditional import ConditionalFlow
from vflow.models.dequantizer import build_dequantizer
from vflow.models.glow import Glow
from vflow.models.pixel_map import PerPixelHistogram, Scaled


@final
class Digits(ConditionalFlow):
    """p(x | y) of grey pictures x given a class y.

    A class is a learned map of features at each level, one value per position: it tells convolutions what to
    draw and where they are.
    """

    def __init__(self, config: DigitsConfig) -> None:
        super().__init__()
        self.config = config
        glow = config.glow
        self.image_shape = (glow.channels, glow.height, glow.width)
        self.noise = build_dequantizer(config.noise, glow.channels)
        self.pixels = PerPixelHistogram(*self.image_shape) if config.values == "positions" else Scaled()
        self.flow = Glow(glow, config.condition)
        self.latent_shapes = self.flow.latent_shapes
        self.priors = self.level_priors(self.flow, glow.hidden, glow.activation, config.condition)
        self.maps = nn.ParameterList(
            torch.randn(config.classes, features, *shape[1:])
            for features, shape in zip(config.condition, self.latent_shapes, strict=True)
        )

    def features(self, given: Tensor) -> Sequence[Tensor]:
        """Maps of the labels ``given``, int64 (B,)."""
        return [maps[given].contiguous(memory_format=torch.channels_last) for maps in self.maps]
