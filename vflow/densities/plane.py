"""Named densities on the plane, with exact log-densities and entropies.

Shapes and sizes follow the toy data of Grathwohl et al. 2019 (*FFJORD*), where they allow a density; what
differs is said.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import final

import numpy as np
import torch
from torch import Tensor

from vflow.densities.base import LOG_2PI, Density, Target, supported
from vflow.errors import ConfigError


class PlaneDensity(Target):
    """Density of points (B, 2), sampled from three standard-normal numbers each.

    Attributes:
        extent: nearly all mass lies in the square ±extent.
    """

    extent = 5.0

    def __init__(self) -> None:
        super().__init__()
        self.dim, self.noise_dim = 2, 3

    def entropy(self) -> float:
        """−∫ p log p in nats, by the trapezoid rule on a grid unless it has a closed form."""
        return entropy_by_quadrature(self)


@torch.no_grad()
def entropy_by_quadrature(density: Density, extent: float = 5.4, cells: int = 216) -> float:
    """−∫ p log p over the square ±``extent``, on a grid of (cells + 1)² points."""
    axis = torch.linspace(-extent, extent, cells + 1, dtype=torch.float64)
    total = 0.0
    for x in axis:  # row by row: the density of a curve takes a few hundred numbers per point
        log_p = density.log_prob(torch.stack([x.expand_as(axis), axis], 1))
        total -= float(torch.special.xlogy(log_p.exp(), log_p.exp()).sum())
    return total * (2 * extent / cells) ** 2


def _normal_density(difference: Tensor, deviation: float) -> Tensor:
    """log N(difference; 0, deviation² I) of plane vectors (…, 2)."""
    return -0.5 * (difference / deviation).square().sum(-1) - LOG_2PI - 2 * math.log(deviation)


class _Curves(PlaneDensity):
    """Points on curves with normal noise around: the density is a Gauss–Legendre sum along the curves."""

    NODES = 64
    POWER = 1  # nodes are even in share^(1/POWER), which is where the curve is smooth
    DEVIATION = 0.2
    CURVES = 2

    @abstractmethod
    def curve(self, share: Tensor, index: Tensor) -> Tensor:
        """Point (…, 2) of curve number ``index`` below which a ``share`` (…) of its mass lies."""

    def _nodes(self) -> tuple[Tensor, Tensor]:
        """Shares and log weights of the sum, each (NODES,)."""
        node, weight = np.polynomial.legendre.leggauss(self.NODES)
        place = (node + 1) / 2
        weight = weight / 2 * self.POWER * place ** (self.POWER - 1)
        return torch.from_numpy(place**self.POWER), torch.from_numpy(np.log(weight))

    def _log_density(self, x: Tensor) -> Tensor:
        share, log_weight = (t.to(x.device) for t in self._nodes())
        index = torch.arange(self.CURVES, device=x.device)
        centres = self.curve(share.expand(self.CURVES, -1), index[:, None]).flatten(0, 1)
        log_weight = log_weight.repeat(self.CURVES) - math.log(self.CURVES)
        x64 = x.double()
        squares = x64.square().sum(1, keepdim=True) - 2 * x64 @ centres.T + centres.square().sum(1)
        log_p = torch.logsumexp(log_weight - 0.5 * squares.clamp_min(0) / self.DEVIATION**2, 1)
        log_p = (log_p - LOG_2PI - 2 * math.log(self.DEVIATION)).to(x.dtype)
        return supported(log_p, x, x.isinf().any(1))

    def _draw(self, eps: Tensor) -> Tensor:
        place = self.CURVES * torch.special.ndtr(eps[:, 0])
        index = place.floor().clamp_max(self.CURVES - 1)
        return self.curve(place - index, index) + self.DEVIATION * eps[:, 1:]


@final
class TwoMoons(_Curves):
    """Two half circles of radius 2 that reach into each other, normal noise of deviation 0.2."""

    extent = 4.0

    def curve(self, share: Tensor, index: Tensor) -> Tensor:
        x, y = (math.pi * share).cos(), (math.pi * share).sin()
        upper = index == 0
        return 2 * torch.stack(
            [torch.where(upper, x - 0.5, 0.5 - x), torch.where(upper, y, 0.5 - y) - 0.1], -1
        )


@final
class Spirals(_Curves):
    """Two spirals of one and a half turns, radius up to π, normal noise of deviation 0.1.

    The noise is normal alone; FFJORD adds uniform noise.
    """

    extent = 4.0
    NODES = 256
    POWER = 2
    DEVIATION = 0.1

    def curve(self, share: Tensor, index: Tensor) -> Tensor:
        angle = 3 * math.pi * share.sqrt()
        sign = 1 - 2 * index
        return (sign * angle / 3)[..., None] * torch.stack([-angle.cos(), angle.sin()], -1)


@final
class Rings(PlaneDensity):
    """Four circles around the origin, of radius 0.75, 1.5, 2.25 and 3, normal noise of deviation 0.08.

    p(x) = ¼ Σ_R exp(−(r² + R²) / 2σ²) I₀(r R / σ²) / 2πσ².
    """

    extent = 4.0
    RADII = (0.75, 1.5, 2.25, 3.0)
    DEVIATION = 0.08

    def _log_density(self, x: Tensor) -> Tensor:
        r = x.double().norm(dim=1)[:, None]
        radius = torch.tensor(self.RADII, dtype=torch.float64, device=x.device)
        bessel = torch.special.i0e(r * radius / self.DEVIATION**2).log()
        log_p = -0.5 * ((r - radius) / self.DEVIATION).square() + bessel
        return (log_p.logsumexp(1) - LOG_2PI - math.log(4 * self.DEVIATION**2)).to(x.dtype)

    def _draw(self, eps: Tensor) -> Tensor:
        place = len(self.RADII) * torch.special.ndtr(eps[:, 0])
        index = place.long().clamp_max(len(self.RADII) - 1)
        angle = 2 * math.pi * (place - index)
        radius = torch.tensor(self.RADII, dtype=eps.dtype, device=eps.device)[index]
        return radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1) + self.DEVIATION * eps[:, 1:]


@final
class Checkerboard(PlaneDensity):
    """Uniform on eight squares of side 2, those of one color on a board of 4 × 4 over ±4; entropy log 32."""

    def _log_density(self, x: Tensor) -> Tensor:
        cell = (x / 2).floor()
        inside = (cell >= -2).all(1) & (cell < 2).all(1) & (cell.sum(1) % 2 == 0)
        return supported(torch.full_like(x[:, 0], -math.log(32)), x, ~inside)

    def _draw(self, eps: Tensor) -> Tensor:
        place = 8 * torch.special.ndtr(eps[:, 0])
        index = place.floor().clamp_max(7)
        column = (index / 2).floor() - 2
        row = 2 * (index % 2) - 2 + column % 2
        share = torch.special.ndtr(eps[:, 1:])
        return 2 * (torch.stack([column, row], 1) + share)

    def entropy(self) -> float:
        return math.log(32)


@final
class EightGaussians(PlaneDensity):
    """Eight normals of deviation 0.5 / √2 evenly on a circle of radius 4 / √2."""

    DEVIATION = 0.5 / math.sqrt(2)

    def _centres(self, like: Tensor) -> Tensor:
        angle = torch.arange(8, dtype=like.dtype, device=like.device) * math.pi / 4
        return 4 / math.sqrt(2) * torch.stack([angle.cos(), angle.sin()], 1)

    def _log_density(self, x: Tensor) -> Tensor:
        log_p = _normal_density(x[:, None] - self._centres(x), self.DEVIATION)
        return torch.logsumexp(log_p, 1) - math.log(8)

    def _draw(self, eps: Tensor) -> Tensor:
        index = (8 * torch.special.ndtr(eps[:, 0])).long().clamp_max(7)
        return self._centres(eps)[index] + self.DEVIATION * eps[:, 1:]


@final
class Pinwheel(PlaneDensity):
    """Five arms, each a normal of mean (2, 0) and deviations (0.6, 0.2), turned by the more the farther out.

    A point at distance r turns by ¼ exp(r / 2), which keeps areas, so the density is that of five turned
    normals; FFJORD turns by the first coordinate in place of r, and the other way round. Beyond r = 20, where
    log p < −400, points turn no further: float32 could not tell so large an angle.
    """

    ARMS = 5
    STRAIGHT_FROM = 20.0

    def _turned(self, x: Tensor, angle: Tensor) -> Tensor:
        cos, sin = angle.cos(), angle.sin()
        return torch.stack([cos * x[..., 0] - sin * x[..., 1], sin * x[..., 0] + cos * x[..., 1]], -1)

    def _angle(self, x: Tensor) -> Tensor:
        return 0.25 * (0.5 * x.norm(dim=-1).clamp_max(self.STRAIGHT_FROM)).exp()

    def _log_density(self, x: Tensor) -> Tensor:
        arm = 2 * math.pi / self.ARMS * torch.arange(self.ARMS, dtype=x.dtype, device=x.device)
        straight = self._turned(x[:, None].expand(-1, self.ARMS, -1), -(self._angle(x)[:, None] + arm))
        along, across = (straight[..., 0] - 2) / 0.6, straight[..., 1] / 0.2
        log_p = -0.5 * (along.square() + across.square()) - LOG_2PI - math.log(0.6 * 0.2)
        return supported(torch.logsumexp(log_p, 1) - math.log(self.ARMS), x, x.isinf().any(1))

    def _draw(self, eps: Tensor) -> Tensor:
        index = (self.ARMS * torch.special.ndtr(eps[:, 0])).floor().clamp_max(self.ARMS - 1)
        straight = torch.stack([2 + 0.6 * eps[:, 1], 0.2 * eps[:, 2]], 1)
        return self._turned(straight, self._angle(straight) + 2 * math.pi / self.ARMS * index)


_BY_NAME: dict[str, type[PlaneDensity]] = {
    "two-moons": TwoMoons,
    "rings": Rings,
    "checkerboard": Checkerboard,
    "eight-gaussians": EightGaussians,
    "pinwheel": Pinwheel,
    "spirals": Spirals,
}
NAMES = tuple(_BY_NAME)


def plane_density(name: str) -> PlaneDensity:
    """The density called ``name``.

    Raises:
        ConfigError: no density is called so.
    """
    if name not in _BY_NAME:
        raise ConfigError(f"{name}: no such density; use {', '.join(NAMES)}")
    return _BY_NAME[name]()
