"""Inverse problems with posteriors that can be drawn: an arm that reaches a point.

A toy problem of Ardizzone et al. 2018, *Analyzing Inverse Problems with Invertible Neural Networks*, 4.1.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from vflow.errors import ConfigError
from vflow.randomness import normal

PROPOSALS = 20_000  # drawn at a time
CELLS, SPREAD = 160, 5.0  # of the arm's histogram along each angle, and deviations that it goes out
ROUNDS = 40  # of proposals before a posterior counts as out of reach


class InverseProblem(ABC):
    """Parameters x with a prior, and a process x → y that maps different x to the same y.

    Attributes:
        dim: of x. observed_dim: of y. noise_dim: standard-normal numbers that one x takes.
    """

    dim: int
    observed_dim: int
    noise_dim: int

    @abstractmethod
    def prior(self, eps: Tensor) -> Tensor:
        """Parameters (B, dim) from standard-normal noise (B, noise_dim)."""

    @abstractmethod
    def observe(self, x: Tensor) -> Tensor:
        """Observations (B, observed_dim) of parameters (B, dim)."""

    @abstractmethod
    def accepted(self, y: Tensor, count: int, *key: int | str) -> Tensor:
        """Samples (n, dim) of p(x | y), those of one round of proposals that ``y`` accepts.

        ``count`` is the number wanted; a round may give any number ``n``.
        """

    @abstractmethod
    def unreachable(self, y: Tensor) -> str:
        """Message where hardly any parameters lead to ``y``: why, and what to give."""

    def posterior(self, y: Tensor, count: int, *key: int | str) -> Tensor:
        """Samples (count, dim) of p(x | y) for one y (observed_dim,), a function of ``key``, by rejection.

        Raises:
            ConfigError: hardly any parameters lead to ``y``.
        """
        kept: list[Tensor] = []
        for turn in range(ROUNDS):
            kept.append(self.accepted(y, count, *key, turn))
            if sum(map(len, kept)) >= count:
                return torch.cat(kept)[:count]
        raise ConfigError(self.unreachable(y))

    def pairs(self, count: int, *key: int | str) -> tuple[Tensor, Tensor]:
        """Parameters (count, dim) from the prior and what is observed of them, a function of ``key``."""
        x = self.prior(normal((count, self.noise_dim), "inverse", *key))
        return x, self.observe(x)


@final
class Arm(InverseProblem):
    """An arm on a rail: x is its height and the angles of three joints, y where its hand is.

    y₁ = x₁ + Σ lᵢ sin φᵢ and y₂ = Σ lᵢ cos φᵢ, φᵢ the sum of the first i angles, l = (½, ½, 1); the prior is
    N(0, σ²), σ = ¼ for the height and ½ for the angles. Angles are relative to the link before.
    """

    dim, observed_dim, noise_dim = 4, 2, 4
    lengths = (0.5, 0.5, 1.0)
    deviations = (0.25, 0.5, 0.5, 0.5)
    tolerance = 0.002
    least_density = 1e-5  # of y, per unit of area; less counts as out of reach

    def prior(self, eps: Tensor) -> Tensor:
        return eps * eps.new_tensor(self.deviations)

    def observe(self, x: Tensor) -> Tensor:
        return torch.stack([x[:, 0] + self._reach(x, torch.sin), self._reach(x, torch.cos)], 1)

    def joints(self, x: Tensor) -> Tensor:
        """Points of the arm from the rail to the hand: (B, 4, 2), height last."""
        angles, lengths = x[:, 1:].cumsum(1), x.new_tensor(self.lengths)
        steps = torch.stack([lengths * angles.cos(), lengths * angles.sin()], 2)
        start = torch.stack([torch.zeros_like(x[:, 0]), x[:, 0]], 1)[:, None]
        return torch.cat([start, start + steps.cumsum(1)], 1)

    def accepted(self, y: Tensor, count: int, *key: int | str) -> Tensor:
        """See the base class: p(x | y₁, |y₂ − its value| < 0.002), exact but for the bound of the ratios.

        The first two angles leave two arms that reach y. They are proposed from a histogram, each cell's
        height the greatest density around it, and accepted in proportion to density over height; the bound of
        that ratio is the largest one met (Caffo, Booth & Davis 2002, *Empirical Supremum Rejection
        Sampling*).
        """
        deviations = y.new_tensor(self.deviations[1:3], dtype=torch.float64)
        width = 2 * SPREAD / CELLS * deviations
        centres = torch.linspace(-SPREAD, SPREAD, CELLS + 1, dtype=torch.float64)[:-1, None] * deviations
        centres = torch.cartesian_prod(*(centres + width / 2).T)
        at_centres = self._reaching(centres, y, torch.tensor(0.5))[1].sum(1)
        if at_centres.sum() * width.prod() < self.least_density:
            return y.new_zeros(0, self.dim)
        square = at_centres.view(1, 1, CELLS, CELLS)
        heights = torch.nn.functional.max_pool2d(square, 3, 1, 1).flatten()
        draws = torch.special.ndtr(normal((PROPOSALS, 6), "arm", *key).double()).unbind(1)
        edges = heights.cumsum(0)
        cell = torch.searchsorted(edges, draws[0] * edges[-1]).clamp_max(len(edges) - 1)
        angles = centres[cell] + width * (torch.stack(draws[1:3], 1) - 0.5)
        arms, density = self._reaching(angles, y, draws[3])
        ratio = density.sum(1) / heights[cell]
        either = torch.where((draws[4] * density.sum(1) < density[:, 0])[:, None], arms[:, 0], arms[:, 1])
        return either[draws[5] * ratio.max() < ratio].to(y.dtype)

    def _reaching(self, angles: Tensor, y: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Both arms (N, 2, 4) that reach y and have the first two angles (N, 2), and their densities (N, 2).

        Densities are of (x₂, x₃, y). ``share``, (N,) or one, is the place within the last link's angles that
        meet the tolerance of y₂; their number counts in the density.
        """
        turned = angles.cumsum(1)
        lengths, deviations = angles.new_tensor(self.lengths), angles.new_tensor(self.deviations)
        lacking = (y[1] - (turned.cos() * lengths[:2]).sum(1))[:, None]
        window = self.tolerance * angles.new_tensor([1.0, -1.0])
        low, high = ((lacking + window) / lengths[2]).clamp(-1, 1).acos().unbind(1)
        last = (low + share * (high - low))[:, None] * angles.new_tensor([1.0, -1.0])
        turn = last - turned[:, 1:]
        turn = turn - 2 * math.pi * (turn / (2 * math.pi)).round()
        x = torch.cat(
            [torch.zeros_like(angles)[:, :, None], angles[:, None].expand(-1, 2, -1), turn[..., None]], 2
        )
        x[..., 0] = y[0] - self._reach(x.flatten(0, 1), torch.sin).view(-1, 2)
        log_prior = -(0.5 * (x / deviations).square() + deviations.log()).sum(2) - 2 * math.log(2 * math.pi)
        return x, log_prior.exp() * ((high - low) / (2 * self.tolerance))[:, None]

    def unreachable(self, y: Tensor) -> str:
        return f"y = {[round(v, 3) for v in y.tolist()]}: hardly any arm reaches it; take another"

    def _reach(self, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Σ lᵢ f(φᵢ), f the sine (upward) or the cosine (away from the rail): (B,)."""
        return (function(x[:, 1:].cumsum(1)) * x.new_tensor(self.lengths)).sum(1)
