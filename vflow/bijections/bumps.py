"""Composition of radial bumps, one after the other, each placed where it helps (Tabak & Turner 2013)."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from vflow.bijections.base import Context
from vflow.bijections.planar import length
from vflow.bijections.root import invert_increasing
from vflow.bijections.vector import VectorBijection

LOG_RATIO_LIMIT = 1.0  # |log(1 + slope)| of a bump at its centre stays below this
WIDEST = 3.0  # α that initialize gives at most
SLOPES = [0.05 * step for step in range(-16, 17)]  # log-slopes that are tried for each bump


@final
class RadialBumps(VectorBijection):
    """Composition of x ← x + β erf(r / α) / r · (x − x₀), r = ‖x − x₀‖ (Tabak & Turner 2013, section 4).

    A bump stretches or shrinks the ball of radius about α around x₀ and only shifts what is far. Distances
    from x₀ change to r + β erf(r / α), which increases while β > −α√π / 2; in place of β the parameter is
    log(1 + 2β / α√π), its log-slope at the centre, softly clamped. log |det J| = (D − 1) log(1 + β erf(r / α)
    / r) + log(1 + 2β / (α√π) e^{−r² / α²}). The inverse solves for r, numerically.

    ``initialize`` places all bumps on a batch, one after the other, each to raise its likelihood under a
    normal base, as in section 4.3 of the paper: the centre is a random point of the batch, or in every other
    step a random draw of the base; α makes a ball that holds about a twentieth of a normal's mass there; the
    slope is the best of a few by log-likelihood. Gradients may then polish all of them. Bumps that were never
    placed are the identity.

    Args:
        dim: D.
        count: number of bumps.
        seed: of the centres.
    """

    initialized: Tensor

    def __init__(self, dim: int, count: int, seed: int = 0) -> None:
        super().__init__()
        self.width = dim
        self.dim, self.count, self.seed = dim, count, seed
        self.centre = nn.Parameter(torch.zeros(count, dim))
        self.log_width = nn.Parameter(torch.zeros(count))
        self.log_slope = nn.Parameter(torch.zeros(count))
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Context = None) -> Tensor:
        """Place all bumps on the batch ``x`` (B, D, 1, 1), of mean about 0 and variance about 1, once."""
        if not self.initialized:
            points = x.flatten(1)
            random = torch.Generator().manual_seed(self.seed)
            for index in range(self.count):
                centre = torch.randn(self.dim, generator=random)
                if index % 2 == 0:
                    centre = points[int(torch.randint(len(points), (1,), generator=random))]
                points = self._place_best(index, centre.to(points), points)
            self.initialized.fill_(True)
        return self.transform(x)[0]

    def _place_best(self, index: int, centre: Tensor, points: Tensor) -> Tensor:
        """Place bump ``index`` with the slope of highest likelihood, and return the points after it."""
        width = _width(centre, self.dim)
        scores = []
        for slope in SLOPES:
            self.place(index, centre, width, slope)
            moved, ladj = self.bump(points, index)
            scores.append(float((ladj - 0.5 * moved.square().sum(1)).mean()))
        self.place(index, centre, width, SLOPES[max(range(len(SLOPES)), key=scores.__getitem__)])
        return self.bump(points, index)[0]

    @torch.no_grad()
    def place(self, index: int, centre: Tensor, width: float, log_slope: float) -> None:
        """Set bump ``index``: centre (D,), α and log-slope at the centre."""
        self.centre[index] = centre
        self.log_width[index] = math.log(width)
        self.log_slope[index] = log_slope

    def bump(self, x: Tensor, index: int) -> tuple[Tensor, Tensor]:
        """x (B, D) after bump ``index``, and the bump's log-dets (B,)."""
        offset = x - self.centre[index]
        r = length(offset)
        alpha, slope = self._shape(index)
        moved, ladj = radial_bump(r, alpha, slope, self.dim)
        return self.centre[index] + moved[:, None] * offset, ladj

    def _shape(self, index: int) -> tuple[Tensor, Tensor]:
        """α, and 2β / α√π."""
        bounded = LOG_RATIO_LIMIT * torch.tanh(self.log_slope[index] / LOG_RATIO_LIMIT)
        return self.log_width[index].exp(), torch.expm1(bounded)

    def transform_vectors(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        ladj = torch.zeros_like(x[:, 0])
        for index in range(self.count):
            x, change = self.bump(x, index)
            ladj = ladj + change
        return x, ladj

    def invert_vectors(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        ladj = torch.zeros_like(z[:, 0])
        for index in reversed(range(self.count)):
            offset = z - self.centre[index]
            far = length(offset)
            r, _ = self._shrink(far, index)
            alpha, slope = self._shape(index)
            factor, change = radial_bump(r, alpha, slope, self.dim)
            z = self.centre[index] + offset / factor[:, None]
            ladj = ladj - change
        return z, ladj

    def _shrink(self, far: Tensor, index: int) -> tuple[Tensor, Tensor]:
        """Distance from the centre before the bump, of the distance after it."""
        alpha, slope = self._shape(index)

        def radius(r: Tensor) -> tuple[Tensor, Tensor]:
            scaled = r / alpha
            reach = 0.5 * math.sqrt(math.pi) * alpha * slope * torch.erf(scaled)
            return r + reach, torch.log1p(slope * (-scaled.square()).exp())

        beta = float((0.5 * math.sqrt(math.pi) * alpha * slope).detach().abs())
        low = (far.detach() - beta).clamp_min(0)
        return invert_increasing(radius, far, low, far.detach() + beta + 1e-6)


def radial_bump(r: Tensor, alpha: Tensor, slope: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Factor by which points at distance r move out, and log |det J|, both (B,).

    ``slope`` is 2β / α√π, the radial slope at the centre less 1.
    """
    scaled = r / alpha
    # erf(s) / s · √π / 2 tends to 1 − s² / 3
    small = scaled < 1e-3
    safe = torch.where(small, torch.ones_like(scaled), scaled)
    mean_slope = torch.where(
        small, 1 - scaled.square() / 3, 0.5 * math.sqrt(math.pi) * torch.erf(safe) / safe
    )
    radial = torch.log1p(slope * (-scaled.square()).exp())
    factor = 1 + slope * mean_slope
    return factor, (dim - 1) * factor.log() + radial


def _width(centre: Tensor, dim: int) -> float:
    """Radius α of a ball around ``centre`` that holds roughly 5% of a standard normal's mass.

    The ball's volume times the density at its centre is that share (equation 16 of the paper).
    """
    log_volume = math.log(0.05) + 0.5 * dim * math.log(2 * math.pi) + 0.5 * float(centre.square().sum())
    log_unit_ball = 0.5 * dim * math.log(math.pi) - math.lgamma(dim / 2 + 1)
    log_radius = min((log_volume - log_unit_ball) / dim, WIDEST)  # far from 0 its exponential overflows
    return min(math.exp(log_radius), WIDEST)
