"""Convolutions with a learned output scale, zero starts and gated activations."""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.nn.relu import relu

Activation = Literal["relu", "gatu"]
SPEED = 3.0  # learning-rate multiplier of log scales, as in Glow


@final
class NormConv2d(nn.Module):
    """Same-size convolution with scale and shift per output channel folded into its weight.

    The affine part of ActNorm (without its data-dependent start) at no extra pass over the activations.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        weight = torch.empty(outputs, inputs, kernel, kernel)
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
        self.log_scale = nn.Parameter(torch.zeros(outputs))
        self.shift = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * (SPEED * self.log_scale).exp()[:, None, None, None]
        return F.conv2d(x, weight, self.shift, padding=self.weight.shape[-1] // 2)


@final
class ZeroConv2d(nn.Module):
    """Same-size convolution that starts at zero, with a learned output scale exp(3 · log_scale)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        weight = torch.zeros(outputs, inputs, kernel, kernel)
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.log_scale = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        scale = (SPEED * self.log_scale).exp()
        weight = self.weight * scale[:, None, None, None]
        return F.conv2d(x, weight, self.bias * scale, padding=self.weight.shape[-1] // 2)


@final
class Activate(nn.Module):
    """1×1 convolution with ReLU, or gated: tanh(a) · σ(b) with a and b from one 1×1 convolution (GATU)."""

    def __init__(self, channels: int, activation: Activation) -> None:
        super().__init__()
        self.gated = activation == "gatu"
        self.conv = NormConv2d(channels, channels * (2 if self.gated else 1), 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(x)
        if not self.gated:
            return relu(h, inplace=True)
        value, gate = h.chunk(2, 1)
        return torch.tanh(value) * torch.sigmoid(gate)


@final
class Conditioner(nn.Module):
    """Coupling network of Glow: 3×3 → ReLU → 1×1 (ReLU or gated) → zero-initialised 3×3.

    Features (B, F, H, W) of the context, if any, join the input channels.
    """

    def __init__(
        self, inputs: int, outputs: int, hidden: int, activation: Activation, features: int = 0
    ) -> None:
        super().__init__()
        self.conv_in = NormConv2d(inputs + features, hidden, 3)
        self.conv_mid = Activate(hidden, activation)
        self.conv_out = ZeroConv2d(hidden, outputs)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if context is not None:
            x = torch.cat([x.to(context.dtype), context], 1)
        return self.conv_out(self.conv_mid(relu(self.conv_in(x), inplace=True)))
