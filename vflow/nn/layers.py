"""Convolutions with a learned output scale, zero starts and gated activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.nn.relu import relu

Activation = Literal["relu", "gatu"]
CACHE = 2**21  # bytes of activations that a core keeps at hand
SPEED = 3.0  # learning-rate multiplier of log scales, as in Glow


class Kernel(NamedTuple):
    """Weight (O, I, k, k) and bias (O,) of a same-size convolution."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=self.weight.shape[-1] // 2)


def pieces(x: Tensor, channels: int) -> Sequence[Tensor]:
    """The batch in parts so small that ``channels`` of x's size stay in a CPU's cache from layer to layer.

    That pays in bfloat16; in float32 arithmetic takes longer than memory, and the batch stays whole.
    """
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    if dtype.itemsize > 2 or x.device.type != "cpu" or torch.compiler.is_compiling():
        return (x,)
    whole = len(x) * channels * x.shape[2] * x.shape[3] * dtype.itemsize
    cache = CACHE * torch.get_num_threads()
    return x.chunk(-(-whole // cache)) if whole > 2 * cache else (x,)


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

    def kernel(self) -> Kernel:
        """Weight and bias, scale included."""
        return Kernel(self.weight * (SPEED * self.log_scale).exp()[:, None, None, None], self.shift)

    def forward(self, x: Tensor) -> Tensor:
        return self.kernel()(x)


@final
class ZeroConv2d(nn.Module):
    """Same-size 3×3 convolution that starts at zero, with a learned output scale exp(3 · log_scale)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        weight = torch.zeros(outputs, inputs, 3, 3)
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.log_scale = nn.Parameter(torch.zeros(outputs))

    def kernel(self) -> Kernel:
        """Weight and bias, scale included."""
        scale = (SPEED * self.log_scale).exp()
        return Kernel(self.weight * scale[:, None, None, None], self.bias * scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.kernel()(x)


@final
class Activate(nn.Module):
    """1×1 convolution with ReLU, or gated: tanh(a) · σ(b) with a and b from one 1×1 convolution (GATU)."""

    def __init__(self, channels: int, activation: Activation) -> None:
        super().__init__()
        self.gated = activation == "gatu"
        self.conv = NormConv2d(channels, channels * (2 if self.gated else 1), 1)

    def forward(self, x: Tensor, kernel: Kernel | None = None) -> Tensor:
        """``kernel`` is that of ``conv``, where it is at hand."""
        h = (kernel or self.conv.kernel())(x)
        if not self.gated:
            return relu(h, inplace=True)
        value, gate = h.chunk(2, 1)
        return torch.tanh(value) * torch.sigmoid(gate)


@final
class Conditioner(nn.Module):
    """Coupling network of Glow: 3×3 → ReLU → 1×1 (ReLU or gated) → zero-initialised 3×3.

    The context's features (B, F, H, W), if any, join the input channels.
    """

    def __init__(
        self, inputs: int, outputs: int, hidden: int, activation: Activation, features: int = 0
    ) -> None:
        super().__init__()
        self.enter = NormConv2d(inputs + features, hidden, 3)
        self.middle = Activate(hidden, activation)
        self.leave = ZeroConv2d(hidden, outputs)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if context is not None:
            x = torch.cat([x.to(context.dtype), context], 1)
        enter, middle, leave = (part.kernel() for part in (self.enter, self.middle.conv, self.leave))
        made = [
            leave(self.middle(relu(enter(piece), inplace=True), middle))
            for piece in pieces(x, len(middle.bias))
        ]
        return torch.cat(made) if len(made) > 1 else made[0]
