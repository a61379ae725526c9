"""Prior of a few whole numbers, each given those before it (MADE: Germain et al. 2015)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.linear import full_precision
from vflow.nn.modules import ModuleList

HIDDEN = 384
SCALE = 8.0  # of the numbers that networks see and say, and of σ at the start
SPAN = 3.7  # |log(σ / SCALE)| stays below this
LIGHTEST, HEAVIEST = 0.02, 1.5  # bounds of a


@final
class MADEPrior(nn.Module):
    """p(k | known) = Π p(k_i | k_<i, known) for whole numbers k (B, D), all factors from one masked network.

    Standard-normal noise draws k number by number: k_i = round(μ_i + σ_i · sinh(a_i · ε_i) / a_i). That is a
    Gaussian for small a_i, and has heavy tails for large ones (Jones & Pewsey 2009), summed over bins of
    width 1 (Ballé et al. 2018): a number may be sure to a hair, and now and then quite another. What moves as
    one is told by several numbers together; drawn apart from each other, they would lead nowhere ever seen.

    Args:
        known: features that all numbers depend on.
        size: D.
    """

    first: Tensor
    inner: Tensor
    last: Tensor

    def __init__(self, known: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.known_in, self.known_out = nn.Linear(known, HIDDEN), nn.Linear(known, 3 * size)
        self.enter = nn.Linear(size, HIDDEN, bias=False)
        self.middle = ModuleList([nn.Linear(HIDDEN, HIDDEN) for _ in range(2)])
        self.leave = nn.Linear(HIDDEN, 3 * size)
        with torch.no_grad():
            self.leave.weight.mul_(0.1)
            self.known_out.weight.mul_(0.1)
        degree = torch.arange(HIDDEN) % max(1, size - 1)  # a unit sees the numbers 0 … degree
        number = torch.arange(size)
        self.register_buffer("first", number <= degree[:, None], persistent=False)
        self.register_buffer("inner", degree <= degree[:, None], persistent=False)
        self.register_buffer("last", (degree < number[:, None]).repeat(3, 1), persistent=False)

    def log_prob(self, k: Tensor, known: Tensor) -> Tensor:
        """log p(k | known) in nats, (B,), of ``k`` (B, D) and features (B, F)."""
        return log_mass(k, *self._shape(k, *self._of_known(known))).sum(1)

    def draw(self, known: Tensor, eps: Tensor) -> Tensor:
        """k (B, D), float32, from standard-normal noise (B, D), or from smaller or larger noise."""
        seen = self._of_known(known)
        k = torch.zeros_like(eps)
        for i in range(self.size):
            mean, scale, tail = self._shape(k, *seen)
            k[:, i] = (mean + scale * torch.sinh(tail * eps) / tail)[:, i].round()
        return k

    def whiten(self, k: Tensor, known: Tensor) -> Tensor:
        """The noise (B, D) from which ``draw`` makes ``k``."""
        mean, scale, tail = self._shape(k, *self._of_known(known))
        return torch.asinh(tail * (k - mean) / scale) / tail

    def _of_known(self, known: Tensor) -> tuple[Tensor, Tensor]:
        """What the features add to the first layer and to the last."""
        with full_precision(known):
            return self.known_in(known.float()), self.known_out(known.float())

    def _shape(self, k: Tensor, inside: Tensor, outside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, scale and tail of each number given those before it, each (B, D), float32."""
        with full_precision(k):
            h = F.relu(inside + F.linear(k / SCALE, self.enter.weight * self.first))
            for layer in self.middle:
                h = F.relu(h + F.linear(h, layer.weight * self.inner, layer.bias))
            out = outside + F.linear(h, self.leave.weight * self.last, self.leave.bias)
        mean, log_scale, tail = out.chunk(3, 1)
        scale = SCALE * (SPAN * torch.tanh(log_scale / SPAN)).exp()
        return SCALE * mean, scale, LIGHTEST + (HEAVIEST - LIGHTEST) * torch.sigmoid(tail - 2)


def log_mass(k: Tensor, mean: Tensor, scale: Tensor, tail: Tensor) -> Tensor:
    """log of the mass in k ± ½, elementwise, in float64; exact in the tails."""
    distance, scale, tail = (k - mean).abs().double(), scale.double(), tail.double()
    near, far = (
        torch.special.log_ndtr(torch.asinh(tail * (edge - distance) / scale) / tail) for edge in (0.5, -0.5)
    )
    return (near + torch.log1p(-(far - near).exp())).float()
