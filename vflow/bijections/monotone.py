"""Monotone networks that are cumulative distribution functions (Magdon-Ismail & Atiya 2002)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.base import Context
from vflow.bijections.root import invert_increasing
from vflow.bijections.vector import VectorBijection

FLOOR = 1e-3  # share of a broad logistic CDF that is mixed in: bounds the density from below
BROAD = 4.0  # its scale
REACH = 60.0  # the inverse searches ±this


@final
class MonotoneNetwork(VectorBijection):
    """z_i = F_i(x_i) in (0, 1), F_i a network of two hidden layers with positive weights.

    H(x) = vᵀ tanh(W tanh(a x + b) + c), all of a, W, v > 0, increases in x. Its limits as x → ±∞ are known,
    because tanh saturates: F = (H − H(−∞)) / (H(∞) − H(−∞)) is a CDF and F' a density, as in
    Magdon-Ismail & Atiya 2002, section III. A logistic CDF of scale 4 with weight 10⁻³ keeps tails above 0.
    The inverse is numeric. Inputs should be of order 1.

    The paper fits F to the empirical CDF (``cdf_targets``); the likelihood over a uniform base serves too.

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

    def cdf(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """F(x) and log F'(x), both shaped like x (B, D)."""
        first, second = F.softplus(self.first), F.softplus(self.second)
        last = self.last.softmax(-1)
        h = torch.tanh(first * (x[..., None] + self.first_bias))
        slope = first * (1 - h.square())
        h = torch.tanh(torch.einsum("bdi,doi->bdo", h, second) + self.second_bias)
        slope = torch.einsum("bdi,doi->bdo", slope, second) * (1 - h.square())
        reach = second.sum(-1)
        low, high = torch.tanh(self.second_bias - reach), torch.tanh(self.second_bias + reach)
        span = (last * (high - low)).sum(-1)
        value = (last * (h - low)).sum(-1) / span
        density = (last * slope).sum(-1) / span
        broad = torch.sigmoid(x / BROAD)
        density = (1 - FLOOR) * density + FLOOR / BROAD * broad * (1 - broad)
        return (1 - FLOOR) * value + FLOOR * broad, density.log()

    def transform_vectors(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        z, log_density = self.cdf(x)
        return z, log_density.sum(1)

    def invert_vectors(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        bound = torch.full_like(z, REACH)
        x, log_slope = invert_increasing(self.cdf, z, -bound, bound)
        return x, log_slope.sum(1)


def cdf_targets(points: Tensor) -> Tensor:
    """Shares (N, D) of ``points`` (N, D) that lie below each, per dimension: what F should say of them.

    The expected level of the k-th of N sorted draws is k / (N + 1) (Magdon-Ismail & Atiya 2002, section III).
    """
    rank = points.argsort(0).argsort(0) + 1
    return rank / (len(points) + 1)
