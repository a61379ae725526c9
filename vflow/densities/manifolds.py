"""Mixtures of von Mises densities on tori and of von Mises–Fisher densities on the sphere S²."""

from __future__ import annotations

import math
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vflow.densities.base import LOG_2PI, Target, off_sphere, supported, von_mises_angles

CELLS = 200  # along each of two coordinates, of quadratures


@final
class VonMisesMixture(Target):
    """Equal mixture of products of von Mises densities on a torus (Rezende et al. 2020, section 5.1).

    log p(θ) = log mean_k exp Σ_d κ cos(θ_d − φ_kd) − D log(2π I₀(κ)).

    Args:
        locations: φ, angles (K, D).
        concentration: κ.
    """

    locations: Tensor

    def __init__(self, locations: Tensor, concentration: float) -> None:
        super().__init__()
        self.dim, self.noise_dim = locations.shape[1], locations.shape[1] + 1
        self.concentration = concentration
        self.register_buffer("locations", locations)

    def _log_density(self, x: Tensor) -> Tensor:
        kappa = torch.tensor(self.concentration, dtype=x.dtype)
        log_p = kappa * ((x[:, None] - self.locations.to(x)).cos() - 1).sum(-1)
        normalizer = self.dim * (LOG_2PI + float(torch.special.i0e(kappa).log()))
        return log_p.logsumexp(1) - math.log(len(self.locations)) - normalizer

    def _draw(self, eps: Tensor) -> Tensor:
        index = _component(eps[:, 0], len(self.locations))
        kappa = torch.full((self.dim,), self.concentration, dtype=torch.float64, device=eps.device)
        angle = von_mises_angles(eps[:, 1:], kappa).to(eps) + self.locations.to(eps)[index]
        return (angle + math.pi).remainder(2 * math.pi) - math.pi

    @torch.no_grad()
    def entropy(self) -> float:
        """By the rectangle rule over two angles, which converges fast for periodic functions."""
        step = 2 * math.pi / CELLS
        axis = step * torch.arange(CELLS, dtype=torch.float64)
        log_p = self.log_prob(torch.cartesian_prod(axis, axis))
        return -float((log_p.exp() * log_p).sum()) * step**2


@final
class VonMisesFisherMixture(Target):
    """Equal mixture of von Mises–Fisher densities on S² (Rezende et al. 2020, section 5.2).

    log p(x) = log mean_k exp(κ μ_kᵀx) − log(4π sinh(κ) / κ).

    Args:
        means: unit vectors μ, (K, 3).
        concentration: κ.
    """

    means: Tensor

    def __init__(self, means: Tensor, concentration: float) -> None:
        super().__init__()
        self.dim, self.noise_dim = 3, 3
        self.concentration = concentration
        self.register_buffer("means", F.normalize(means, dim=1))

    def _log_density(self, x: Tensor) -> Tensor:
        kappa = self.concentration
        log_p = kappa * (x @ self.means.to(x).T - 1)
        normalizer = math.log(2 * math.pi / kappa) + math.log1p(-math.exp(-2 * kappa))
        log_p = log_p.logsumexp(1) - math.log(len(self.means)) - normalizer
        return supported(log_p, x, off_sphere(x))

    def _draw(self, eps: Tensor) -> Tensor:
        """The component along the mean has a closed-form inverse CDF; around it all directions are alike."""
        mean = self.means.to(eps)[_component(eps[:, 0], len(self.means))]
        level = torch.special.ndtr(eps[:, 1])
        along = 1 + torch.log(level + (1 - level) * math.exp(-2 * self.concentration)) / self.concentration
        angle = 2 * math.pi * torch.special.ndtr(eps[:, 2])
        helper = F.one_hot(mean.abs().argmin(1), 3).to(mean)
        first = F.normalize(torch.linalg.cross(mean, helper), dim=1)
        second = torch.linalg.cross(mean, first)
        across = (1 - along.square()).clamp_min(0).sqrt()
        around = angle.cos()[:, None] * first + angle.sin()[:, None] * second
        return along[:, None] * mean + across[:, None] * around

    @torch.no_grad()
    def entropy(self) -> float:
        """By Gauss–Legendre nodes of the height and evenly spaced angles, which keep areas."""
        node, weight = (torch.from_numpy(array) for array in np.polynomial.legendre.leggauss(CELLS))
        angle = 2 * math.pi / CELLS * torch.arange(CELLS, dtype=torch.float64)
        height, angle = node.repeat_interleave(CELLS), angle.repeat(CELLS)
        radius = (1 - height.square()).sqrt()
        log_p = self.log_prob(torch.stack([radius * angle.cos(), radius * angle.sin(), height], 1))
        return -float((log_p.exp() * log_p * weight.repeat_interleave(CELLS)).sum()) * 2 * math.pi / CELLS


def _component(eps: Tensor, count: int) -> Tensor:
    """One of ``count`` components, int64 (B,), all equally likely."""
    return (count * torch.special.ndtr(eps)).long().clamp_max(count - 1)
