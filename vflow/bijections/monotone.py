"""Monotone networks that are cumulative distribution functions (Magdon-Ismail & Atiya 2002)."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.base import Context
from vflow.bijections.root import invert_increasing
from vflow.bijections.vector import VectorBijection

FLOOR = 1e-2  # share of a broad logistic CDF that is mixed in: bounds the tails from below
BROAD = 0.6  # its scale, about that of a logistic of variance 1


@final
class MonotoneNetwork(VectorBijection):
    """z_i = logit F_i(x_i), F_i a CDF given by a network of two hidden layers with positive weights.

    H(x) = vᵀ tanh(W tanh(a (x + b)) + c), all of a, W, v > 0, increases in x. Its limits as x → ±∞ are known,
    because tanh saturates: F = (H − H(−∞)) / (H(∞) − H(−∞)) is a CDF and F' a density, as in
    Magdon-Ismail & Atiya 2002, section III. A logistic CDF with a weight of 1% makes z linear in the
    tails. The inverse is numeric. Inputs should be of mean about 0 and variance about 1.

    The paper fits F to the empirical CDF (``cdf_targets``); the likelihood over a logistic base serves too.

    Args:
        dim: D: as many networks.
        hidden: units of each hidden layer.
    """

    def __init__(self, dim: int, hidden: int = 16) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.zeros(dim, hidden) + 0.1 * torch.randn(dim, hidden))
        self.first_bias = nn.Parameter(torch.linspace(-2, 2, hidden).repeat(dim, 1))
        self.second = nn.Parameter(0.1 * torch.randn(dim, hidden, hidden) - 2)
        self.second_bias = nn.Parameter(torch.linspace(-1, 1, hidden).repeat(dim, 1))
        self.last = nn.Parameter(torch.zeros(dim, hidden))

    def logit_cdf(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """logit F(x) and the log of its derivative, both shaped like x (B, D)."""
        first, second, last = F.softplus(self.first), F.softplus(self.second), self.last.softmax(-1)
        u = 2 * first * (x[..., None] + self.first_bias)
        below, above = 2 * torch.sigmoid(u), 2 * torch.sigmoid(-u)  # 1 ± tanh, exact in both tails
        gap_below, gap_above = (torch.einsum("bdi,doi->bdo", t, second) for t in (below, above))
        reach = second.sum(-1)
        low, high = torch.tanh(self.second_bias - reach), torch.tanh(self.second_bias + reach)
        h = torch.tanh(self.second_bias - reach + gap_below)
        slope = torch.einsum("bdi,doi->bdo", first * below * above, second) * (1 - h.square())
        span = (last * (high - low)).sum(-1)
        broad = x / BROAD
        # tanh a − tanh b = tanh(a − b) (1 − tanh a tanh b)
        below = self._mixed(
            (last * torch.tanh(gap_below) * (1 - h * low)).sum(-1) / span, F.logsigmoid(broad)
        )
        above = self._mixed(
            (last * torch.tanh(gap_above) * (1 - h * high)).sum(-1) / span, F.logsigmoid(-broad)
        )
        log_broad = F.logsigmoid(broad) + F.logsigmoid(-broad) - math.log(BROAD)
        density = self._mixed((last * slope).sum(-1) / span, log_broad)
        return below - above, density - below - above

    @staticmethod
    def _mixed(value: Tensor, log_broad: Tensor) -> Tensor:
        """log of (1 − FLOOR) · value + FLOOR · broad."""
        return torch.logaddexp(
            torch.log((1 - FLOOR) * value.clamp_min(torch.finfo(value.dtype).tiny)),
            log_broad + math.log(FLOOR),
        )

    def transform_vectors(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        z, log_slope = self.logit_cdf(x)
        return z, log_slope.sum(1)

    def invert_vectors(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        # F ≥ FLOOR · broad on both sides
        reach = BROAD * (z.detach().abs() - 2 * math.log(FLOOR))
        x, log_slope = invert_increasing(self.logit_cdf, z, -reach, reach)
        return x, log_slope.sum(1)


def cdf_targets(points: Tensor) -> Tensor:
    """Shares (N, D) of ``points`` (N, D) that lie below each, per dimension: what F should say of them.

    The expected level of the k-th of N sorted draws is k / (N + 1) (Magdon-Ismail & Atiya 2002, section III).
    """
    rank = points.argsort(0).argsort(0) + 1
    return rank / (len(points) + 1)
