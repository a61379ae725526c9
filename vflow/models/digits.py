"""Digits by class: a multi-scale Glow whose couplings and priors see the label (Ardizzone et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from vflow.bijections.pixel_map import PerPixelHistogram, Scaled
from vflow.config import DigitsConfig
from vflow.models.dequantizer import build_dequantizer
from vflow.models.glow import Glow, flow_chain
from vflow.models.image import ConditionalFlow, level_priors
from vflow.models.realnvp import realnvp_chain


@final
class Digits(ConditionalFlow):
    """p(x | y) of grey images x given a class y.

    A class is a learned map of features at each level, one value per position: it tells convolutions what to
    draw and where they are.
    """

    flow: Glow

    def __init__(self, config: DigitsConfig) -> None:
        super().__init__()
        self.config = config
        glow = config.glow
        self.image_shape = (glow.channels, glow.height, glow.width)
        self.dequantizer = build_dequantizer(config.noise, glow.channels)
        per_pixel = config.pixel_map == "per_pixel"
        self.pixel_map = PerPixelHistogram(*self.image_shape) if per_pixel else Scaled()
        steps = realnvp_chain if config.steps == "realnvp" else flow_chain
        self.flow = Glow(glow, config.condition, steps)
        self.latent_shapes = self.flow.latent_shapes
        self.priors = level_priors(self.flow, glow.hidden, glow.activation, config.condition)
        self.class_maps = nn.ParameterList(
            torch.randn(config.classes, features, *shape[1:])
            for features, shape in zip(config.condition, self.latent_shapes, strict=True)
        )

    def features(self, y: Tensor) -> Sequence[Tensor]:
        """Maps of the labels ``y``, int64 (B,)."""
        return [maps[y].contiguous(memory_format=torch.channels_last) for maps in self.class_maps]
