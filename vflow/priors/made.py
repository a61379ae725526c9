"""Prior of a few whole numbers, each given those before it (MADE: Germain et al. 2015)."""

from __future__ import annotations

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


@final
class MADEPrior(nn.Module):
    """p(k | condition) = Π p(k_i | k_<i, condition) for whole numbers k (B, D), by one masked network.

    Standard-normal noise draws k number by number: k_i = round(μ_i + σ_i · sinh(a_i · ε_i) / a_i), a Gaussian
    for small a_i and heavy-tailed for large ones (Jones & Pewsey 2009), summed over bins of width 1 (Ballé et
    al. 2018). Heavy tails suit numbers that are usually precise and rarely far off. Numbers that describe one
    movement together must be drawn given each other: drawn apart, they describe none that exists.

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

    def log_prob(self, k: Tensor, condition: Tensor) -> Tensor:
        """log p(k | condition) in nats, (B,), of ``k`` (B, D) and features (B, F)."""
        return log_mass(k, *self._shape(k, *self._from_condition(condition))).sum(1)

    def sample(self, condition: Tensor, eps: Tensor) -> Tensor:
        """k (B, D), float32, from standard-normal noise (B, D), or from smaller or larger noise."""
        seen = self._from_condition(condition)
        k = torch.zeros_like(eps)
        for i in range(self.size):
            mean, scale, tail = self._shape(k, *seen)
            k[:, i] = (mean + scale * torch.sinh(tail * eps) / tail)[:, i].round()
        return k

    def whiten(self, k: Tensor, condition: Tensor) -> Tensor:
        """The noise (B, D) from which ``sample`` makes ``k``."""
        mean, scale, tail = self._shape(k, *self._from_condition(condition))
        return torch.asinh(tail * (k - mean) / scale) / tail

    def _from_condition(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Terms of the first and the last layer that depend on the condition."""
        with full_precision(condition):
            return self.condition_in(condition.float()), self.condition_out(condition.float())

    def _shape(self, k: Tensor, inside: Tensor, outside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, scale and tail of each number given those before it, each (B, D), float32."""
        with full_precision(k):
            h = F.relu(inside + F.linear(k / SCALE, self.linear_in.weight * self.first))
            for layer in self.linear_mid:
                h = F.relu(h + F.linear(h, layer.weight * self.inner, layer.bias))
            out = outside + F.linear(h, self.linear_out.weight * self.last, self.linear_out.bias)
        mean, log_scale, tail = out.chunk(3, 1)
        scale = SCALE * (LOG_SCALE_LIMIT * torch.tanh(log_scale / LOG_SCALE_LIMIT)).exp()
        return SCALE * mean, scale, MIN_TAIL + (MAX_TAIL - MIN_TAIL) * torch.sigmoid(tail - 2)


def log_mass(k: Tensor, mean: Tensor, scale: Tensor, tail: Tensor) -> Tensor:
    """Log of the mass in k ± ½, elementwise, in float64; exact in the tails."""
    distance, scale, tail = (k - mean).abs().double(), scale.double(), tail.double()
    near, far = (
        torch.special.log_ndtr(torch.asinh(tail * (edge - distance) / scale) / tail) for edge in (0.5, -0.5)
    )
    return (near + torch.log1p(-(far - near).exp())).float()
