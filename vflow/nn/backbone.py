"""EfficientNet-Lite0 feature extractor for grey images."""

from __future__ import annotations

import math
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.nn.modules import ModuleList

STEM = 32


class Stage(NamedTuple):
    """``blocks`` of ``width`` channels, expanded ``expansion`` times inside; the first has the ``stride``."""

    blocks: int
    width: int
    kernel: int
    stride: int
    expansion: int


STAGES = (
    Stage(1, 16, 3, 1, 1),
    Stage(2, 24, 3, 2, 6),
    Stage(2, 40, 5, 2, 6),
    Stage(3, 80, 3, 2, 6),
    Stage(3, 112, 5, 1, 6),
    Stage(3, 192, 5, 2, 6),  # of four
)
OUT_INDICES = (2, 4, 5)  # stages whose features are returned: the last of each size
WIDTHS = tuple(STAGES[stage].width for stage in OUT_INDICES)
STRIDES = tuple(math.prod(stage.stride for stage in STAGES[: last + 1]) for last in OUT_INDICES)
"""Rows of the input to one of each of them; that the stem halves makes up for its input being doubled."""


@final
class SameConv2d(nn.Module):
    """Convolution with a bias whose output has ceil(size / stride) rows, padded as TensorFlow's "same"."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.stride, self.groups = stride, groups
        weight = torch.empty(outputs, inputs // groups, kernel, kernel)
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.weight.shape[-1]
        if self.stride == 1:
            return F.conv2d(x, self.weight, self.bias, padding=kernel // 2, groups=self.groups)
        before, after = (kernel - 2) // 2, (kernel - 1) // 2  # sizes are even
        x = F.pad(x, (before, after, before, after))
        return F.conv2d(x, self.weight, self.bias, stride=self.stride, groups=self.groups)


@final
class InvertedResidual(nn.Module):
    """1×1 → depthwise → 1×1, ReLU6 between, added to the input where sizes agree (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = inputs * expansion
        self.expand = SameConv2d(inputs, inside, 1) if expansion > 1 else nn.Identity()
        self.depthwise = SameConv2d(inside, inside, kernel, stride, groups=inside)
        self.project = SameConv2d(inside, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        h = x if isinstance(self.expand, nn.Identity) else F.relu6(self.expand(x), inplace=True)
        h = self.project(F.relu6(self.depthwise(h), inplace=True))
        return x + h if self.residual else h


@final
class Backbone(nn.Module):
    """EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946) for one channel, less its last blocks and head.

    Batch norms are folded into the convolutions: batches may be small. Lightness 0 … 100 as (B, 1, H, W), H
    and W multiples of 16, is enlarged by two (with ``enlarge=False`` it comes so), and gives features of
    ``WIDTHS`` channels at ¼, ⅛ and 1/16 of H × W. It stays as it is in training, unless
    ``training.trainable`` names it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv2d(1, STEM, 3, stride=2)
        stages, inputs = [], STEM
        for stage in STAGES:
            blocks = []
            for block in range(stage.blocks):
                stride = stage.stride if block == 0 else 1
                blocks.append(InvertedResidual(inputs, stage.width, stage.kernel, stride, stage.expansion))
                inputs = stage.width
            stages.append(nn.Sequential(*blocks))
        self.stages = ModuleList(stages)
        self.requires_grad_(False)

    def forward(self, lightness: Tensor, *, enlarge: bool = True) -> tuple[Tensor, ...]:
        x = lightness / 50 - 1
        if enlarge:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        x = F.relu6(self.stem(x.contiguous(memory_format=torch.channels_last)), inplace=True)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return tuple(features[stage] for stage in OUT_INDICES)
