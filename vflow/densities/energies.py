"""Energies of plane points: unnormalised targets of variational inference."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

EnergyFunction = Callable[..., Tensor]
"""U, in nats (B,), of points (B, D), or of points and their conditions (B, F): p = exp(−U) / Z."""
WALL = 4.0  # where energies that do not bind z₁ are walled in


@dataclass(frozen=True)
class Energy:
    """U of points (B, 2), in nats, with p = exp(−U) / Z.

    Energies 2 to 4 of the paper do not depend on how far out z₁ lies, so their integral is infinite: a wall
    ½ ((|z₁| − 4) / 0.1)² beyond ±4 makes them proper.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    walled: bool

    def __call__(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """U of points (B, 2), whatever the condition: (B,)."""
        energy = self.function(z)
        if self.walled:
            energy = energy + 0.5 * ((z[:, 0].abs() - WALL).clamp_min(0) / 0.1).square()
        return energy

    @torch.no_grad()
    def log_normalizer(self, extent: float = 8.0, cells: int = 800) -> float:
        """log Z by the trapezoid rule over the square ±``extent``."""
        axis = torch.linspace(-extent, extent, cells + 1, dtype=torch.float64)
        energy = self(torch.cartesian_prod(axis, axis))
        return float(torch.logsumexp(-energy, 0)) + 2 * math.log(2 * extent / cells)


def _wave(z: Tensor) -> Tensor:
    return (0.5 * math.pi * z[:, 0]).sin()


def _pair(first: Tensor, second: Tensor) -> Tensor:
    """−log(e^{−½ first²} + e^{−½ second²})."""
    return -torch.logaddexp(-0.5 * first.square(), -0.5 * second.square())


def _first(z: Tensor) -> Tensor:
    radius = z.square().sum(1).clamp_min(1e-12).sqrt()
    return 0.5 * ((radius - 2) / 0.4).square() + _pair((z[:, 0] - 2) / 0.6, (z[:, 0] + 2) / 0.6)


def _second(z: Tensor) -> Tensor:
    return 0.5 * ((z[:, 1] - _wave(z)) / 0.4).square()


def _third(z: Tensor) -> Tensor:
    bump = 3 * (-0.5 * ((z[:, 0] - 1) / 0.6).square()).exp()
    distance = z[:, 1] - _wave(z)
    return _pair(distance / 0.35, (distance + bump) / 0.35)


def _fourth(z: Tensor) -> Tensor:
    step = 3 * torch.sigmoid((z[:, 0] - 1) / 0.3)
    distance = z[:, 1] - _wave(z)
    return _pair(distance / 0.4, (distance + step) / 0.35)


# Rezende & Mohamed 2015, table 1
ENERGIES: dict[str, Energy] = {
    energy.name: energy
    for energy in (
        Energy("u1", _first, walled=False),
        Energy("u2", _second, walled=True),
        Energy("u3", _third, walled=True),
        Energy("u4", _fourth, walled=True),
    )
}
