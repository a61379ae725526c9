"""Causal 3-D residual network over a window of past frames (VideoFlow's conv3d_net)."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.nn.layers import SPEED
from vflow.nn.modules import ModuleList

if TYPE_CHECKING:  # the package is imported without pydantic
    from vflow.config import PriorConfig


@final
class CausalConv3d(nn.Module):
    """3-D convolution, causal in time by left padding, with an extra channel that marks the padding.

    Kernel (2, 3, 3), or (1, 3, 3) for a window of one frame; dilated in space only. (B, C, T, H, W) → same.
    """

    def __init__(self, inputs: int, outputs: int, frames: int, dilation: int, zero: bool = False) -> None:
        super().__init__()
        self.padding = min(2, frames) - 1
        self.conv = nn.Conv3d(inputs + 1, outputs, (self.padding + 1, 3, 3), dilation=(1, dilation, dilation))
        self.dilation = dilation
        nn.init.normal_(self.conv.weight, 0, 0.0 if zero else 0.05)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]  # Conv3d has one by default

    def forward(self, x: Tensor) -> Tensor:
        d = self.dilation
        inside = F.pad(x, (d, d, d, d, self.padding, 0))
        edge = F.pad(torch.zeros_like(x[:, :1]), (d, d, d, d, self.padding, 0), value=1.0)
        return self.conv(torch.cat([inside, edge], 1))


@final
class DilatedStack(nn.Module):
    """One dilation's branch: conv → scale per time step → ReLU → gated 1×1×1 → zero-initialised conv."""

    def __init__(self, channels: int, hidden: int, frames: int, dilation: int) -> None:
        super().__init__()
        self.conv_in = CausalConv3d(channels, hidden, frames, dilation)
        self.log_scale = nn.Parameter(torch.zeros(hidden, frames, 1, 1))
        self.shift = nn.Parameter(torch.zeros(hidden, frames, 1, 1))
        self.gate = nn.Conv3d(hidden, 2 * hidden, 1)
        nn.init.normal_(self.gate.weight, 0, 0.05)
        self.conv_out = CausalConv3d(hidden, channels, frames, dilation, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu((self.conv_in(x) + self.shift) * (SPEED * self.log_scale).exp())
        value, gate = self.gate(h).chunk(2, 1)
        return self.conv_out(torch.tanh(value) * torch.sigmoid(gate))


@final
class TemporalNet(nn.Module):
    """Residual blocks of parallel dilated stacks; returns the features of the last time step (B, C, H, W)."""

    def __init__(self, channels: int, frames: int, size: int, config: PriorConfig, hidden: int) -> None:
        super().__init__()
        dilations = [d for d in config.dilations if 2 * d + 1 <= size] or [1]
        self.blocks = ModuleList(
            [
                ModuleList([DilatedStack(channels, hidden, frames, d) for d in dilations])
                for _ in range(config.blocks)
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        for stacks in self.blocks:
            x = x + torch.stack([stack(x) for stack in stacks]).sum(0)
        return x[:, :, -1]
