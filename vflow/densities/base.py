"""Densities with exact log-probabilities and samples that are functions of standard-normal noise."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.randomness import normal

LOG_2PI = math.log(2 * math.pi)


class Density(nn.Module, ABC):
    """Density of vectors (B, D).

    Attributes:
        dim: D.
        noise_dim: standard-normal numbers that one sample takes.
    """

    dim: int
    noise_dim: int

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, (B,), of x (B, D); on a manifold, per unit of its area."""

    @abstractmethod
    def sample(self, eps: Tensor) -> Tensor:
        """Samples (B, D) from standard-normal noise (B, noise_dim)."""

    def forward(self, x: Tensor) -> Tensor:
        """The same as ``log_prob``."""
        return self.log_prob(x)


class Target(Density):
    """Density to be learned: its samples are functions of a key, and its entropy is known."""

    def points(self, count: int, *key: int | str) -> Tensor:
        """Samples (count, D), float32, a function of ``key``; a larger ``count`` keeps the first of them."""
        return self.sample(normal((count, self.noise_dim), "density", *key).double()).float()

    @abstractmethod
    def entropy(self) -> float:
        """−∫ p log p in nats."""


@final
class Normal(Density):
    """Standard normal: −½ Σ (x² + log 2π)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = self.noise_dim = dim

    def log_prob(self, x: Tensor) -> Tensor:
        return -0.5 * (x.square() + LOG_2PI).sum(1)

    def sample(self, eps: Tensor) -> Tensor:
        return eps


@final
class Logistic(Density):
    """Standard logistic, the prior of NICE (Dinh et al. 2015): −Σ log(1 + eˣ) + log(1 + e⁻ˣ)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = self.noise_dim = dim

    def log_prob(self, x: Tensor) -> Tensor:
        return (F.logsigmoid(x) + F.logsigmoid(-x)).sum(1)

    def sample(self, eps: Tensor) -> Tensor:
        return torch.special.log_ndtr(eps) - torch.special.log_ndtr(-eps)


@final
class Uniform(Density):
    """Uniform on the unit cube: 0 inside, −∞ outside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = self.noise_dim = dim

    def log_prob(self, x: Tensor) -> Tensor:
        outside = ((x < 0) | (x > 1)).any(1)
        return torch.zeros_like(x[:, 0]).masked_fill(outside, -math.inf)

    def sample(self, eps: Tensor) -> Tensor:
        return torch.special.ndtr(eps)


@final
class UniformCircle(Density):
    """Uniform angles: −D log 2π, whatever turn an angle is given in; samples lie in (−π, π)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = self.noise_dim = dim

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.full_like(x[:, 0], -LOG_2PI * self.dim)

    def sample(self, eps: Tensor) -> Tensor:
        return 2 * math.pi * (torch.special.ndtr(eps) - 0.5)


@final
class VonMises(Density):
    """Independent von Mises angles: Σ κ cos(x − μ) − log 2π I₀(κ), with learned μ and log κ.

    Samples invert the CDF on a table of 4,096 cells.
    """

    CELLS = 4096

    def __init__(self, dim: int, concentration: float = 1.0) -> None:
        super().__init__()
        self.dim = self.noise_dim = dim
        self.location = nn.Parameter(torch.zeros(dim))
        self.log_concentration = nn.Parameter(torch.full((dim,), math.log(concentration)))

    def log_prob(self, x: Tensor) -> Tensor:
        kappa = self.log_concentration.exp()
        return (kappa * ((x - self.location).cos() - 1) - LOG_2PI - torch.special.i0e(kappa).log()).sum(1)

    @torch.no_grad()
    def sample(self, eps: Tensor) -> Tensor:
        level = torch.special.ndtr(eps.double())
        edges = torch.linspace(-math.pi, math.pi, self.CELLS + 1, dtype=level.dtype, device=eps.device)
        middle = 0.5 * (edges[1:] + edges[:-1])
        mass = (self.log_concentration.double().exp()[:, None] * (middle.cos() - 1)).exp()
        cdf = F.pad((mass / mass.sum(1, keepdim=True)).cumsum(1), (1, 0))
        cell = torch.searchsorted(cdf, level.T.contiguous()).clamp(1, self.CELLS)
        low, high = cdf.gather(1, cell - 1), cdf.gather(1, cell)
        share = ((level.T - low) / (high - low)).clamp(0, 1)
        angle = edges[cell - 1] + share * (edges[1] - edges[0])
        return (angle.T + self.location).to(eps.dtype)


@final
class UniformSphere(Density):
    """Uniform on the unit sphere S^D in D + 1 coordinates: −log of its area 2π^{(D+1)/2} / Γ((D+1)/2)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = self.noise_dim = dim + 1

    def log_prob(self, x: Tensor) -> Tensor:
        half = self.dim / 2
        return torch.full_like(x[:, 0], math.lgamma(half) - math.log(2) - half * math.log(math.pi))

    def sample(self, eps: Tensor) -> Tensor:
        return F.normalize(eps, dim=1)
