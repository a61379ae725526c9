"""Marginal flows with generalised-Pareto tails (Wiese et al. 2019, *Copula & Marginal Flows*)."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.base import Context, initialized_by
from vflow.bijections.spline import MIN_SLOPE, RationalQuadraticSpline
from vflow.bijections.vector import VectorBijection, inside_unit_interval
from vflow.errors import InputError

MASS = 0.05  # of each tail


@final
class ParetoMarginals(VectorBijection):
    """u_i = F_i(x_i) in (0, 1): a spline between two thresholds, generalised-Pareto tails beyond them.

    Above the threshold t, 1 − F(x) = m (1 + ξ (x − t) / β)^{−1/ξ} with m = 0.05 of the mass, and the mirror
    image below the lower threshold; ξ > 0 is the tail index, 1 / ξ the power of the tail. A Lipschitz flow of
    a normal base has no such tails (Wiese et al. 2019, section 3; Jaini et al. 2020). In between F is a
    rational-quadratic spline, whose slopes at the ends give β, so that the density is continuous. Followed by
    flows of the unit cube, whose slopes are bounded away from 0 and ∞, the marginals keep these tails.

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
        u = torch.where(x < low, below.exp(), torch.where(x > high, -torch.expm1(above), u))
        log_slope = log_inner + math.log(1 - 2 * MASS) - span.log()
        log_slope = torch.where(x < low, log_below, torch.where(x > high, log_above, log_slope))
        return u, log_slope.sum(1)

    def invert_vectors(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        low, high = self.threshold
        span = high - low
        u = inside_unit_interval(z)
        share = ((u - MASS) / (1 - 2 * MASS)).clamp(0, 1)
        inner, log_inner = self.spline.inverse(share, self.body.expand(len(u), *self.body.shape))
        below = u.clamp_max(MASS)
        above = (1 - u).clamp_max(MASS)
        excess = [self._excess(mass, side) for side, mass in enumerate((below, above))]
        x = torch.where(
            u < MASS, low - excess[0], torch.where(u > 1 - MASS, high + excess[1], low + span * inner)
        )
        log_slope = log_inner - math.log(1 - 2 * MASS) + span.log()
        for side, inside in ((0, u < MASS), (1, u > 1 - MASS)):
            log_slope = torch.where(inside, -self._tail(excess[side], side)[1], log_slope)
        return x, log_slope.sum(1)

    def _excess(self, mass: Tensor, side: int) -> Tensor:
        """Excess over the threshold beyond which a mass ≤ m lies."""
        index, log_scale = self.tail_index[side], self._log_scale(side)
        return log_scale.exp() / index * torch.expm1(-index * (mass.log() - math.log(MASS)))


def _refuse_ties(threshold: Tensor) -> None:
    """Refuse thresholds (2, D) between which nothing lies."""
    tied = (threshold[1] <= threshold[0]).nonzero().flatten().tolist()
    if tied:
        raise InputError(
            f"column {tied[0] + 1}: 90% of its values are equal, and marginals have a density; add a little "
            "noise to it, or leave it out"
        )
