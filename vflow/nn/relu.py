"""ReLU, in bfloat16 on a CPU as fast as memory allows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

NEGATIVE = -128  # bits of −∞ as int16: all that is negative lies up to here, NaNs and what is positive above


def relu(x: Tensor, *, inplace: bool = False) -> Tensor:
    """max(x, 0); NaN stays NaN. torch's own takes five times as long in bfloat16 on a CPU."""
    if x.dtype is torch.bfloat16 and x.device.type == "cpu" and not torch.compiler.is_compiling():
        y: Tensor = _Bits.apply(x, inplace)
        return y
    return F.relu(x, inplace=inplace)


class _Bits(torch.autograd.Function):
    """bfloat16 as 16-bit integers: sign first, then size, so a threshold of bits is one of values."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, inplace: bool) -> Tensor:
        bits = F.threshold(x.view(torch.int16), NEGATIVE, 0, inplace)
        y = x if inplace else bits.view(torch.bfloat16)
        if inplace:
            ctx.mark_dirty(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (y,) = ctx.saved_tensors
        bits = torch.ops.aten.threshold_backward(gradient.view(torch.int16), y.view(torch.int16), 0)
        return bits.view(torch.bfloat16), None
