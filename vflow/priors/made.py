"""Autoregressive flow over a few numbers, each given those before it (MADE: Germain et al. 2015)."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.linear import full_precision
from vflow.nn.modules import ModuleList

HIDDEN = 384
SCALE = 8.0  # of numbers at the networks' inputs and outputs, and of σ at the start
LOG_SCALE_LIMIT = 3.7  # |log(σ / SCALE)| stays below this
MIN_TAIL, MAX_TAIL = 0.02, 1.5  # bounds of a
LOG_SQRT_TAU = 0.5 * math.log(2 * math.pi)


@final
class MADEPrior(nn.Module):
    """p(z | condition) = Π p(z_i | z_<i, condition) for numbers z (B, D): a masked autoregressive flow.

    Papamakarios et al. 2017. Standard-normal noise draws z number by number, by one masked network:
    z_i = μ_i + σ_i · sinh(a_i · ε_i) / a_i, a Gaussian for small a_i and heavy-tailed for large ones (Jones &
    Pewsey 2009). Heavy tails suit numbers that are usually precise and rarely far off. Numbers that describe
    one movement together must be drawn given each other: drawn apart, they describe none that exists.

    Args:
        condition: number of features that all numbers depend on.
        size: D.
    """

    first: Tensor
    inner: Tensor
    last: Tensor

    def __init__(self, condition: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.condition_in, self.condition_out = nn.Linear(condition, HIDDEN), nn.Linear(condition, 3 * size)
        self.linear_in = nn.Linear(size, HIDDEN, bias=False)
        self.linear_mid = ModuleList([nn.Linear(HIDDEN, HIDDEN) for _ in range(2)])
        self.linear_out = nn.Linear(HIDDEN, 3 * size)
        with torch.no_grad():
            self.linear_out.weight.mul_(0.1)
            self.condition_out.weight.mul_(0.1)
        degree = torch.arange(HIDDEN) % max(1, size - 1)  # a unit sees the numbers 0 … degree
        number = torch.arange(size)
        self.register_buffer("first", number <= degree[:, None], persistent=False)
        self.register_buffer("inner", degree <= degree[:, None], persistent=False)
        self.register_buffer("last", (degree < number[:, None]).repeat(3, 1), persistent=False)

    def log_prob(self, z: Tensor, condition: Tensor) -> Tensor:
        """log p(z | condition) in nats, (B,), of ``z`` (B, D) and features (B, F)."""
        mean, scale, tail = self._shape(z, *self._from_condition(condition))
        distance = (z - mean) / scale
        eps = torch.asinh(tail * distance) / tail
        log_det = -scale.log() - 0.5 * torch.log1p((tail * distance).square())
        return (log_det - 0.5 * eps.square() - LOG_SQRT_TAU).sum(1)

    def sample(self, condition: Tensor, eps: Tensor) -> Tensor:
        """z (B, D), float32, from standard-normal noise (B, D), or from smaller or larger noise."""
        seen = self._from_condition(condition)
        z = torch.zeros_like(eps)
        for i in range(self.size):
            mean, scale, tail = self._shape(z, *seen)
            z[:, i] = (mean + scale * torch.sinh(tail * eps) / tail)[:, i]
        return z

    def whiten(self, z: Tensor, condition: Tensor) -> Tensor:
        """The noise (B, D) from which ``sample`` makes ``z``."""
        mean, scale, tail = self._shape(z, *self._from_condition(condition))
        return torch.asinh(tail * (z - mean) / scale) / tail

    def _from_condition(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Terms of the first and the last layer that depend on the condition."""
        with full_precision(condition):
            return self.condition_in(condition.float()), self.condition_out(condition.float())

    def _shape(self, z: Tensor, inside: Tensor, outside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, scale and tail of each number given those before it, each (B, D), float32."""
        with full_precision(z):
            h = F.relu(inside + F.linear(z / SCALE, self.linear_in.weight * self.first))
            for layer in self.linear_mid:
                h = F.relu(h + F.linear(h, layer.weight * self.inner, layer.bias))
            out = outside + F.linear(h, self.linear_out.weight * self.last, self.linear_out.bias)
        mean, log_scale, tail = out.chunk(3, 1)
        scale = SCALE * (LOG_SCALE_LIMIT * torch.tanh(log_scale / LOG_SCALE_LIMIT)).exp()
        return SCALE * mean, scale, MIN_TAIL + (MAX_TAIL - MIN_TAIL) * torch.sigmoid(tail - 2)
