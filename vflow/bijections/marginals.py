"""Marginal flows with generalised-Pareto tails (Wiese et al. 2019, *Copula & Marginal Flows*)."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.base import Context, initialized_by
from vflow.bijections.spline import MIN_SLOPE, RationalQuadraticSpline
from vflow.bijections.vector import VectorBijection
from vflow.errors import InputError

MASS = 0.05  # of each tail


@final
class ParetoMarginals(VectorBijection):
    """z_i = logit F_i(x_i): F a spline between two thresholds, with generalised-Pareto tails beyond them.

    Above the threshold t, 1 − F(x) = m (1 + ξ (x − t) / β)^{−1/ξ} with m = 0.05 of the mass, and the mirror
    image below the lower threshold; ξ > 0 is the tail index, 1 / ξ the power of the tail. A Lipschitz flow of
    a normal base has no such tails (Wiese et al. 2019, section 3; Jaini et al. 2020). In between F is a
    rational-quadratic spline, whose slopes at the ends give β, so that the density is continuous. The logit,
    log F − log (1 − F), carries the mass of both tails, which no float near 1 could. Under a logistic base,
    and with flows of the unit cube in between (``LogitSpline``), whose slopes are bounded away from 0 and ∞,
    the marginals keep these tails.

    ``initialize`` puts the thresholds at the 5% and 95% quantiles of a batch, once; where these are equal, it
    raises an InputError.

    Args:
        dim: D.
        bins: of the spline.
    """

    threshold: Tensor
    initialized: Tensor

    def __init__(self, dim: int, bins: int = 16) -> None:
        super().__init__()
        self.width = dim
        self.spline = RationalQuadraticSpline(bins, 0.0, 1.0, "free")
        self.body = nn.Parameter(torch.zeros(dim, self.spline.count))
        self.raw_index = nn.Parameter(torch.full((2, dim), -1.0))
        self.register_buffer("threshold", torch.tensor([-1.645, 1.645])[:, None].repeat(1, dim))
        self.register_buffer("initialized", torch.tensor(False), persistent=False)
        initialized_by(self, "threshold")

    @property
    def tail_index(self) -> Tensor:
        """ξ of the lower and of the upper tail, (2, D)."""
        return MIN_SLOPE + F.softplus(self.raw_index)

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Context = None) -> Tensor:
        if not self.initialized:
            levels = torch.tensor([MASS, 1 - MASS], dtype=torch.float64, device=x.device)
            threshold = torch.quantile(x.flatten(1).double(), levels, dim=0).to(self.threshold)
            _refuse_ties(threshold)
            self.threshold.copy_(threshold)
            self.initialized.fill_(True)
        return self.transform(x)[0]

    def _log_scale(self, side: int) -> Tensor:
        """log β of one tail, (D,): the density at the threshold is m / β, and the spline's slope there."""
        slope = self.spline.knots(self.body).slope[:, -side]
        span = self.threshold[1] - self.threshold[0]
        return (MASS / (1 - 2 * MASS) * span / slope).log()

    def _tail(self, excess: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """log of the mass beyond an excess ≥ 0 over the threshold, and of the density there."""
        index, log_scale = self.tail_index[side], self._log_scale(side)
        grown = torch.log1p(index * excess * (-log_scale).exp())
        log_mass = math.log(MASS) - grown / index
        return log_mass, log_mass - log_scale - grown

    def transform_vectors(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        low, high = self.threshold
        span = high - low
        inner, log_inner = self.spline.forward(
            ((x - low) / span).clamp(0, 1), self.body.expand(len(x), *self.body.shape)
        )
        below, log_below = self._tail((low - x).clamp_min(0), 0)
        above, log_above = self._tail((x - high).clamp_min(0), 1)
        u = MASS + (1 - 2 * MASS) * inner
        log_cdf = torch.where(x < low, below, torch.where(x > high, _log_rest(above), u.log()))
        log_tail = torch.where(x < low, _log_rest(below), torch.where(x > high, above, torch.log1p(-u)))
        log_slope = log_inner + math.log(1 - 2 * MASS) - span.log()
        log_slope = torch.where(x < low, log_below, torch.where(x > high, log_above, log_slope))
        return log_cdf - log_tail, (log_slope - log_cdf - log_tail).sum(1)

    def invert_vectors(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        low, high = self.threshold
        span = high - low
        share = ((torch.sigmoid(z) - MASS) / (1 - 2 * MASS)).clamp(0, 1)
        inner, log_inner = self.spline.inverse(share, self.body.expand(len(z), *self.body.shape))
        log_cdf, log_tail = F.logsigmoid(z), F.logsigmoid(-z)
        x, log_slope = low + span * inner, log_inner - math.log(1 - 2 * MASS) + span.log()
        for side, log_mass in enumerate((log_cdf, log_tail)):
            beyond = log_mass < math.log(MASS)
            excess = self._excess(log_mass.clamp_max(math.log(MASS)), side)
            x = torch.where(beyond, high + excess if side else low - excess, x)
            log_slope = torch.where(beyond, -self._tail(excess, side)[1], log_slope)
        return x, (log_slope + log_cdf + log_tail).sum(1)

    def _excess(self, log_mass: Tensor, side: int) -> Tensor:
        """Excess over the threshold beyond which a mass ≤ m lies, of its log."""
        index, log_scale = self.tail_index[side], self._log_scale(side)
        return log_scale.exp() / index * torch.expm1(-index * (log_mass - math.log(MASS)))


def _log_rest(log_mass: Tensor) -> Tensor:
    """log (1 − m) of log m ≤ log 0.05."""
    return torch.log1p(-log_mass.exp())


def _refuse_ties(threshold: Tensor) -> None:
    """Refuse thresholds (2, D) between which nothing lies."""
    tied = (threshold[1] <= threshold[0]).nonzero().flatten().tolist()
    if tied:
        raise InputError(
            f"column {tied[0] + 1}: 90% of its values are equal, and marginals have a density; add a little "
            "noise to it, or leave it out"
        )
