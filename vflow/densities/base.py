"""Densities with exact log-probabilities and samples that are functions of standard-normal noise."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.errors import InputError
from vflow.randomness import normal

LOG_2PI = math.log(2 * math.pi)
OFF_SPHERE = 2e-3
"""Distance from the unit sphere beyond which a point lies off it; data may be half as far."""


def check_rows(name: str, rows: object, width: int, dtype: torch.dtype | None = None) -> None:
    """Refuse what is no floating-point matrix (B, width); ``dtype`` is its type, None any.

    Raises:
        InputError: names both the shape and the type that ``rows`` must have.
    """
    if isinstance(rows, Tensor):
        suits = rows.is_floating_point() if dtype is None else rows.dtype == dtype
        if suits and rows.ndim == 2 and rows.shape[1] == width:
            return
        got = f"{tuple(rows.shape)}, {_plain(rows.dtype)}"
    else:
        got = f"{type(rows).__name__}"
    wanted = "of floats" if dtype is None else _plain(dtype)
    raise InputError(f"{name} must be a tensor (B, {width}), {wanted}; got {got}")


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


class Density(nn.Module, ABC):
    """Density of vectors (B, D).

    Attributes:
        dim: D.
        noise_dim: standard-normal numbers that one sample takes.
    """

    dim: int
    noise_dim: int

    @abstractmethod
    def _log_density(self, x: Tensor) -> Tensor:
        """``log_prob`` of points whose shape is right."""

    @abstractmethod
    def _draw(self, eps: Tensor) -> Tensor:
        """``sample`` of noise whose shape is right."""

    @final
    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, (B,), of x (B, D); on a manifold, per unit of its area.

        −∞ where p is 0, NaN where x has one.

        Raises:
            InputError: x has another shape.
        """
        check_rows("x", x, self.dim)
        return self._log_density(x)

    @final
    def sample(self, eps: Tensor) -> Tensor:
        """Samples (B, D) from standard-normal noise (B, noise_dim).

        Raises:
            InputError: ``eps`` has another shape.
        """
        check_rows("eps", eps, self.noise_dim)
        return self._draw(eps)

    def initialize(self, z: Tensor) -> None:
        """Set data-dependent parameters from points (B, D); most densities have none."""

    def forward(self, x: Tensor) -> Tensor:
        """The same as ``log_prob``."""
        return self.log_prob(x)


def off_sphere(x: Tensor) -> Tensor:
    """True (B,) where x (B, D) has another length than 1."""
    return (x.norm(dim=1) - 1).abs() > OFF_SPHERE


def supported(log_p: Tensor, x: Tensor, outside: Tensor) -> Tensor:
    """log p (B,) of x (B, D): −∞ where a point is ``outside``, NaN where it has one."""
    return log_p.masked_fill(outside, -math.inf).masked_fill(x.isnan().any(1), math.nan)


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

    def _log_density(self, x: Tensor) -> Tensor:
        return -0.5 * (x.square() + LOG_2PI).sum(1)

    def _draw(self, eps: Tensor) -> Tensor:
        return eps


@final
class Logistic(Density):
    """Standard logistic, the prior of NICE (Dinh et al. 2015): −Σ [log(1 + eˣ) + log(1 + e⁻ˣ)]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = self.noise_dim = dim

    def _log_density(self, x: Tensor) -> Tensor:
        return (F.logsigmoid(x) + F.logsigmoid(-x)).sum(1)

    def _draw(self, eps: Tensor) -> Tensor:
        return torch.special.log_ndtr(eps) - torch.special.log_ndtr(-eps)


@final
class Uniform(Density):
    """Uniform on the unit cube: 0 inside, −∞ outside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = self.noise_dim = dim

    def _log_density(self, x: Tensor) -> Tensor:
        return supported(torch.zeros_like(x[:, 0]), x, ((x < 0) | (x > 1)).any(1))

    def _draw(self, eps: Tensor) -> Tensor:
        return torch.special.ndtr(eps)


@final
class UniformCircle(Density):
    """Uniform angles: −D log 2π, whatever turn an angle is given in; samples lie in (−π, π)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = self.noise_dim = dim

    def _log_density(self, x: Tensor) -> Tensor:
        log_p = torch.full_like(x[:, 0], -LOG_2PI * self.dim)
        return log_p.masked_fill(~x.isfinite().all(1), math.nan)  # infinity is no angle

    def _draw(self, eps: Tensor) -> Tensor:
        return 2 * math.pi * (torch.special.ndtr(eps) - 0.5)


@final
class VonMises(Density):
    """Independent von Mises angles: Σ κ cos(x − μ) − log 2π I₀(κ), with learned μ and log κ.

    Samples are differentiable in μ and log κ (see ``von_mises_angles``), so reverse KL learns both.
    """

    def __init__(self, dim: int, concentration: float = 1.0) -> None:
        super().__init__()
        self.dim = self.noise_dim = dim
        self.location = nn.Parameter(torch.zeros(dim))
        self.log_concentration = nn.Parameter(torch.full((dim,), math.log(concentration)))

    def _log_density(self, x: Tensor) -> Tensor:
        kappa = self.log_concentration.double().exp()  # in float32 the slope of log I₀ is lost for large κ
        normalizer = LOG_2PI + torch.special.i0e(kappa).log()
        across = (0.5 * (x - self.location)).sin().square()  # (1 − cos) / 2, exact for small angles
        return (-2 * kappa.to(x.dtype) * across - normalizer.to(x.dtype)).sum(1)

    def _draw(self, eps: Tensor) -> Tensor:
        angle = von_mises_angles(eps, self.log_concentration.double().exp())
        return (angle + self.location).to(eps.dtype)


CELLS = 2048  # of the table of a von Mises CDF
REACH = 12.0  # deviations that it goes out, if it meets no end of the circle before


def von_mises_angles(eps: Tensor, kappa: Tensor) -> Tensor:
    """Angles (B, D), float64, of density ∝ exp(κ cos θ) from standard-normal noise (B, D) and κ (D,).

    The CDF is inverted on a table of the half circle below 0, or the part of it that has mass; within a cell
    log p is linear, so θ is off by at most 2e-6 / √κ for |ε| up to 6. All of it is differentiable, with the
    implicit gradient ∂θ/∂κ = −(∂F/∂κ) / p of that CDF (Figurnov et al. 2018).
    """
    upper = eps.T > 0
    level = torch.special.ndtr(torch.where(upper, -eps.T, eps.T).double()).contiguous()  # up to ½
    width = (REACH / kappa.detach().sqrt()).clamp_max(math.pi)[:, None]
    edges = width * torch.linspace(-1, 0, CELLS + 1, dtype=level.dtype, device=eps.device)
    log_p = -2 * kappa[:, None] * (0.5 * edges).sin().square()
    rise = log_p.diff(dim=1).clamp_min(1e-8)
    mass = F.pad((log_p[:, :-1].exp() * rise.expm1() / rise).cumsum(1), (1, 0))
    cdf = 0.5 * mass / mass[:, -1:]
    cell = torch.searchsorted(cdf.detach(), level.detach()).clamp(1, CELLS)
    low, high, rise = cdf.gather(1, cell - 1), cdf.gather(1, cell), rise.gather(1, cell - 1)
    share = torch.log1p((level - low) / (high - low) * rise.expm1()) / rise
    angle = edges.gather(1, cell - 1) + share.clamp(0, 1) * width / CELLS
    return torch.where(upper, -angle, angle).T


@final
class UniformSphere(Density):
    """Uniform on the unit sphere S^D in D + 1 coordinates: −log of its area 2π^{(D+1)/2} / Γ((D+1)/2)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = self.noise_dim = dim + 1

    def _log_density(self, x: Tensor) -> Tensor:
        half = self.dim / 2
        log_p = torch.full_like(x[:, 0], math.lgamma(half) - math.log(2) - half * math.log(math.pi))
        return supported(log_p, x, off_sphere(x))

    def _draw(self, eps: Tensor) -> Tensor:
        return F.normalize(eps, dim=1)
