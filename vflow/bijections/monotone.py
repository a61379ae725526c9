"""Monotone networks that are cumulative distribution functions (Magdon-Ismail & Atiya 2002)."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.base import Context
from vflow.bijections.linear import full_precision
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

    Trained by the likelihood over a logistic base; the paper's regression on the empirical CDF, the shares
    k / (N + 1) of N sorted points, serves ``logit_cdf`` as well.

    Args:
        dim: D: as many networks.
        hidden: units of each hidden layer.
    """

    def __init__(self, dim: int, hidden: int = 16) -> None:
        super().__init__()
        self.width = dim
        self.first = nn.Parameter(torch.zeros(dim, hidden) + 0.1 * torch.randn(dim, hidden))
        self.first_bias = nn.Parameter(torch.linspace(-2, 2, hidden).repeat(dim, 1))
        self.second = nn.Parameter(0.1 * torch.randn(dim, hidden, hidden) - 2)
        self.second_bias = nn.Parameter(torch.linspace(-1, 1, hidden).repeat(dim, 1))
        self.last = nn.Parameter(torch.zeros(dim, hidden))

    def logit_cdf(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """logit F(x) and the log of its derivative, both shaped like x (B, D), exact in both tails."""
        first, second, log_last = F.softplus(self.first), F.softplus(self.second), self.last.log_softmax(-1)
        u = 2 * first * (x[..., None] + self.first_bias)
        below, above = F.logsigmoid(u), F.logsigmoid(-u)  # logs of (1 ± tanh) / 2
        reach = second.sum(-1)
        low, high = self.second_bias - reach, self.second_bias + reach
        log_gaps = [_log_product(log, second) + math.log(2) for log in (below, above)]
        inner = low + log_gaps[0].exp()
        fall = -_log_cosh(inner)
        log_span = _log_span(self.second_bias, reach, log_last)
        # a share of a unit's tanh is a difference of two, as in ``_log_span``
        log_cdf, log_tail = (
            torch.logsumexp(log_last + _log_sinh(log_gap) + fall - _log_cosh(end), -1) - log_span
            for log_gap, end in zip(log_gaps, (low, high), strict=True)
        )
        log_slopes = _log_product(below + above + first.log(), second) + math.log(4) + 2 * fall
        log_slope = torch.logsumexp(log_last + log_slopes, -1) - log_span
        broad_cdf, broad_tail = F.logsigmoid(x / BROAD), F.logsigmoid(-x / BROAD)
        log_cdf, log_tail = _mixed(log_cdf, broad_cdf), _mixed(log_tail, broad_tail)
        density = _mixed(log_slope, broad_cdf + broad_tail - math.log(BROAD))
        return log_cdf - log_tail, density - log_cdf - log_tail

    def transform_vectors(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        z, log_slope = self.logit_cdf(x)
        return z, log_slope.sum(1)

    def invert_vectors(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            low, high = -self._bound(-z, -1), self._bound(z, 1)
        x, log_slope = invert_increasing(self.logit_cdf, z, low, high)
        return x, log_slope.sum(1)

    def _bound(self, z: Tensor, side: int) -> Tensor:
        """Bound y ≥ 0 (B, D) such that both components leave at most σ(−z) of the mass beyond x = side · y.

        The network leaves at most 2 Σ_o v_o Σ_i W_oi (1 − tanh(a_i (x + b_i))) / span on the upper side, and
        1 − tanh t < 2 exp(−2t).
        """
        first, second, log_last = F.softplus(self.first), F.softplus(self.second), self.last.log_softmax(-1)
        reach = second.sum(-1)
        log_span = _log_span(self.second_bias, reach, log_last)
        log_mass = math.log(4) + torch.logsumexp(log_last + reach.log(), -1) - log_span
        network = (log_mass + F.softplus(z))[..., None] / (2 * first) - side * self.first_bias
        return 1e-3 + 1.001 * torch.maximum(BROAD * z, network.amax(-1)).clamp_min(0)


def _mixed(log_value: Tensor, log_broad: Tensor) -> Tensor:
    """log of (1 − FLOOR) · value + FLOOR · broad."""
    return torch.logaddexp(log_value + math.log1p(-FLOOR), log_broad + math.log(FLOOR))


def _log_span(centre: Tensor, reach: Tensor, log_weight: Tensor) -> Tensor:
    """log Σ w (tanh(c + r) − tanh(c − r)) over the last dimension.

    tanh a − tanh b = sinh(a − b) / (cosh a cosh b).
    """
    parts = _log_sinh((2 * reach).log()) - _log_cosh(centre - reach) - _log_cosh(centre + reach)
    return torch.logsumexp(log_weight + parts, -1)


def _log_product(log_values: Tensor, weights: Tensor) -> Tensor:
    """log Σ_i w_oi exp(l_i) of l (B, D, I) and weights (D, O, I): (B, D, O)."""
    top = log_values.detach().amax(-1, keepdim=True)
    with full_precision(log_values):
        return top + torch.einsum("bdi,doi->bdo", (log_values - top).exp(), weights).log()


def _log_sinh(log_y: Tensor) -> Tensor:
    """log sinh y of log y, also where y underflows."""
    small = 0.5 * math.log(torch.finfo(log_y.dtype).eps)
    y = log_y.clamp_min(small).exp()
    return torch.where(log_y < small, log_y, y + torch.log(-torch.expm1(-2 * y)) - math.log(2))


def _log_cosh(y: Tensor) -> Tensor:
    return y.abs() + F.softplus(-2 * y.abs()) - math.log(2)
