"""Convolutions whose float32 results do not depend on the order of summation.

Inputs, weights and biases are whole multiples of powers of two, and so small that every partial sum of a
convolution is a multiple of one unit below 2²⁴ units. float32 holds such sums exactly: threads, batch sizes,
memory layouts and instruction sets cannot change a bit of them. Training sees the same rounding, with
straight-through gradients (Jacob et al. 2018, quantisation-aware training).
"""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

WEIGHT_LIMIT = 127
ACTIVATION_LIMIT = 255
ACTIVATION_UNIT = 1 / 32
MANTISSA = 2.0**24
BIAS_LIMIT = MANTISSA / 4  # units that a bias up to LARGE_BIAS may take; else the step of weights is larger
LARGE_BIAS = 16.0


class _RoundedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x / ACTIVATION_UNIT).floor_().clamp_(0, ACTIVATION_LIMIT).mul_(ACTIVATION_UNIT)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        top = (ACTIVATION_LIMIT + 1) * ACTIVATION_UNIT
        return torch.ops.aten.hardtanh_backward(gradients[0], x, 0.0, top)


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def rounded_relu(x: Tensor) -> Tensor:
    """ReLU rounded down to multiples of 1/32 in [0, 255/32]; the gradient is that of a clipped ReLU."""
    result: Tensor = _RoundedReLU.apply(x)
    return result


def straight_through_round(x: Tensor) -> Tensor:
    """Round to whole numbers, halves to even, with the identity's gradient (Bengio et al. 2013)."""
    result: Tensor = _Round.apply(x)
    return result


@final
class ExactConv2d(nn.Module):
    """Convolution without padding, weights of 8 bits per output channel, biases of 24.

    The step between weights of an output channel is the smallest power of two 2ᵏ with max |w| ≤ 127 · 2ᵏ.
    It is larger where the bias would take more than a quarter of the mantissa. Stored weights that are
    rounded already stay as they are.

    Args:
        input_unit: power of two; all inputs are multiples of it.
        input_limit: bound on the size of inputs.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        input_unit: float = ACTIVATION_UNIT,
        input_limit: float = ACTIVATION_LIMIT * ACTIVATION_UNIT,
        zero: bool = False,
    ) -> None:
        super().__init__()
        self.input_unit, self.input_limit = input_unit, input_limit
        spread = 0.0 if zero else math.sqrt(2 / (inputs * kernel**2))
        self.weight = nn.Parameter(spread * torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def rounded(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weights and biases as computed with, and the unit of the sums of each output channel, (C,)."""
        largest = self.weight.detach().abs().amax((1, 2, 3)).clamp_min(2.0**-16)
        bias = self.bias.detach().abs().clamp_max(LARGE_BIAS)
        needed = bias * (WEIGHT_LIMIT / (BIAS_LIMIT * self.input_unit))
        largest = torch.maximum(largest, needed)
        mantissa, exponent = torch.frexp(largest / WEIGHT_LIMIT)  # largest/127 in [2^(e−1), 2^e)
        exponent = torch.where(mantissa == 0.5, exponent - 1, exponent)
        step = torch.ldexp(torch.ones_like(largest), exponent)
        unit = step * self.input_unit
        step = step[:, None, None, None]
        weight = straight_through_round(self.weight / step) * step
        return weight, straight_through_round(self.bias / unit) * unit, unit

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H − k + 1, W − k + 1), in the type of ``x``, exact in float32."""
        weight, bias, _ = self.rounded()
        return functional.conv2d(x, weight.to(x.dtype), bias.to(x.dtype))

    def largest_sum(self) -> float:
        """Bound on partial sums, in their unit: results are exact if it is below 2²⁴."""
        weight, bias, unit = self.rounded()
        bound = weight.detach().abs().double().sum((1, 2, 3)) * self.input_limit + bias.detach().abs()
        return float((bound / unit).max())


def is_exact(module: nn.Module) -> bool:
    """True if float32 holds every partial sum of every exact convolution in ``module``."""
    layers = [layer for layer in module.modules() if isinstance(layer, ExactConv2d)]
    return all(layer.largest_sum() < MANTISSA for layer in layers)
