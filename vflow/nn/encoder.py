"""Encoders of past frames for couplings and priors: a pyramid per frame, and one per window of frames."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, final

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.nn.layers import NormConv2d
from vflow.nn.modules import ModuleList
from vflow.nn.relu import relu
from vflow.nn.reshape import squeeze

if TYPE_CHECKING:  # the package is imported without pydantic
    from vflow.config import EncoderConfig


@final
class ResidualBlock(nn.Module):
    """x + conv(relu(conv(relu(x)))), 3×3, the second convolution starting small."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = NormConv2d(channels, channels, 3)
        self.conv2 = NormConv2d(channels, channels, 3)
        with torch.no_grad():
            self.conv2.weight.mul_(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(relu(self.conv1(relu(x)), inplace=True))


@final
class FrameEncoder(nn.Module):
    """Features of one frame at every level: (B, C, H, W) in [−1, 1] → per level (B, F_l, H/2^l, W/2^l)."""

    def __init__(self, channels: int, config: EncoderConfig) -> None:
        super().__init__()
        widths = (channels, *config.hidden)
        self.conv_in = ModuleList([NormConv2d(4 * a, b, 3) for a, b in pairwise(widths)])
        self.blocks = ModuleList([ResidualBlock(width) for width in config.hidden])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        features = []
        for conv, block in zip(self.conv_in, self.blocks, strict=True):
            x = block(conv(squeeze(x)))
            features.append(x)
        return tuple(features)


@final
class WindowEncoder(nn.Module):
    """Features of a window of frames, joined over time and from coarse to fine.

    ``windows``: per level (B, n, F_l, H_l, W_l), absent frames zero; ``mask`` (B, n) in {0, 1}.
    Returns per level (B, F_l, H_l, W_l), the input of couplings. Coarse levels see the whole frame, and pass
    that down.
    """

    def __init__(self, frames: int, config: EncoderConfig) -> None:
        super().__init__()
        widths = config.hidden
        self.join = ModuleList([NormConv2d(frames * (w + 1), w, 3) for w in widths])
        self.blocks = ModuleList(
            [nn.Sequential(*(ResidualBlock(w) for _ in range(config.blocks))) for w in widths]
        )
        self.top_down = ModuleList([NormConv2d(b, a, 1) for a, b in pairwise(widths)])

    def forward(self, windows: tuple[Tensor, ...], mask: Tensor) -> tuple[Tensor, ...]:
        features: list[Tensor] = []
        for level in reversed(range(len(windows))):
            window = windows[level]
            marks = mask.to(window.dtype)[:, :, None, None, None].expand(-1, -1, 1, *window.shape[3:])
            x = self.join[level](rearrange(torch.cat([window, marks], 2), "b n c h w -> b (n c) h w"))
            if features:
                x = x + F.interpolate(self.top_down[level](features[-1]), scale_factor=2.0, mode="nearest")
            features.append(self.blocks[level](x))
        return tuple(reversed(features))
