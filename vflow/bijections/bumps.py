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


@final
class RadialBumps(VectorBijection):
    """Composition of x ← x + β erf(r / α) / r · (x − x₀), r = ‖x − x₀‖ (Tabak & Turner 2013, section 4).

    A bump stretches or shrinks the ball of radius about α around x₀ and only shifts what is far. Distances
    from x₀ change to r + β erf(r / α), which increases while β > −α√π / 2; in place of β the parameter is
    log(1 + 2β / α√π), its log-slope at the centre, softly clamped. log |det J| = (D − 1) log(1 + β erf(r / α)
    / r) + log(1 + 2β / (α√π) e^{−r² / α²}). The inverse solves for r, numerically.

    Bumps that were never placed are the identity. ``place`` sets one; the gradient may polish all.

    Args:
        dim: D.
        count: number of bumps.
    """

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.dim, self.count = dim, count
        self.centre = nn.Parameter(torch.zeros(count, dim))
        self.log_width = nn.Parameter(torch.zeros(count))
        self.log_slope = nn.Parameter(torch.zeros(count))

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


@torch.no_grad()
def place_greedily(bumps: RadialBumps, points: Tensor, seed: int = 0) -> list[float]:
    """Place all bumps one after the other, each to raise the likelihood of ``points`` under a normal base.

    As in section 4.3 of the paper: the centre is a random point, or in every other step a random draw of the
    base; α makes a ball that holds about a twentieth of a normal's mass there; the slope is the best of a few
    by log-likelihood.

    Args:
        bumps: what is placed, from its first bump on.
        points: (N, D), roughly of mean 0 and variance 1.
        seed: of the centres.

    Returns:
        The mean log-likelihood in nats after each bump.
    """
    random = torch.Generator().manual_seed(seed)
    x, total, history = points.clone(), torch.zeros_like(points[:, 0]), []
    slopes = torch.linspace(-0.8, 0.8, 33, dtype=x.dtype)
    for index in range(bumps.count):
        if index % 2:
            centre = torch.randn(bumps.dim, generator=random, dtype=x.dtype)
        else:
            centre = x[int(torch.randint(len(x), (1,), generator=random))].clone()
        width = _width(centre, bumps.dim)
        scores = []
        for slope in slopes.tolist():
            bumps.place(index, centre, width, slope)
            moved, ladj = bumps.bump(x, index)
            scores.append(float((ladj - 0.5 * moved.square().sum(1)).mean()))
        best = int(torch.tensor(scores).argmax())
        bumps.place(index, centre, width, float(slopes[best]))
        x, ladj = bumps.bump(x, index)
        total = total + ladj
        normal = -0.5 * x.square().sum(1) - 0.5 * bumps.dim * math.log(2 * math.pi)
        history.append(float((total + normal).mean()))
    return history


def _width(centre: Tensor, dim: int, share: float = 0.05) -> float:
    """Radius α of a ball around ``centre`` that holds ``share`` of a standard normal's mass, roughly.

    The ball's volume times the density at its centre is the share (equation 16 of the paper).
    """
    log_volume = math.log(share) + 0.5 * dim * math.log(2 * math.pi) + 0.5 * float(centre.square().sum())
    log_unit_ball = 0.5 * dim * math.log(math.pi) - math.lgamma(dim / 2 + 1)
    return min(math.exp((log_volume - log_unit_ball) / dim), 3.0)
