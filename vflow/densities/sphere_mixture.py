"""Mixture on the sphere S² whose components may be long and thin, as faults and coasts are."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.clusters import spread_starts
from vflow.densities.base import LOG_2PI, Density, off_sphere, supported

NARROWEST = 1e-4  # radians: 640 m on the Earth
SHARES = (0.5, 0.25, 0.25)  # of the components, in the mixtures that initialize makes
MOST, ITERATIONS = 10_000, 6  # points, and steps of EM, of each
ROWS = 4  # points to a component, at least
LEAST_UNIFORM, UNUSED = 1e-3, -15.0  # weight of the uniform component; logarithm of one that is not placed
PRIOR = 1.0  # points of the median spread that initialize adds to each component
HORIZON = 1e-4  # cosine below which a component is 0
LOG_AREA = math.log(4 * math.pi)


@final
class SphereMixture(Density):
    """Σ_k π_k t(g_k(x); 0, Σ_k, ν) / (μ_kᵀx)³ + π_0 / 4π, of unit vectors x (B, 3) and per unit of area.

    g_k is the gnomonic projection of the hemisphere around μ_k onto its tangent plane, whose area grows by
    (μ_kᵀx)⁻³, and t a bivariate t density of ν > 1 degrees of freedom, which all components share. Weights π,
    directions μ, shapes Σ and ν are learned. Samples have no gradient in them.

    ``initialize`` places the components on a batch, once, by a few steps of EM from k-means++.

    Args:
        components: K, without the uniform one. Without a batch they start at random directions.
    """

    initialized: Tensor

    def __init__(self, components: int) -> None:
        super().__init__()
        self.dim, self.noise_dim = 3, 3
        self.weight = nn.Parameter(torch.zeros(components + 1))
        self.mean = nn.Parameter(F.normalize(torch.randn(components, 3), dim=1))
        self.axes = nn.Parameter(torch.randn(components, 2, 3))
        self.log_precision = nn.Parameter(torch.zeros(components))
        self.log_excess = nn.Parameter(torch.zeros(()))
        self.register_buffer("initialized", torch.tensor(False))

    def _charts(self) -> tuple[Tensor, Tensor]:
        """Directions μ (K, 3), and vectors r (2, K, 3) of their tangent planes: |(r₁ᵀx, r₂ᵀx)|² = gᵀΣ⁻¹g."""
        mean = F.normalize(self.mean, dim=1)
        rows = self.axes.movedim(1, 0) * self.log_precision.exp()[:, None]
        rows = rows - (rows * mean).sum(2, keepdim=True) * mean
        return mean, rows * (rows.norm(dim=2, keepdim=True) * NARROWEST).clamp_min(1).reciprocal()

    def _freedom(self) -> Tensor:
        return 1 + self.log_excess.exp()

    def _components(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """log π_k p_k(x), (B, K + 1), the uniform one last; gᵀΣ⁻¹g and μᵀx, (B, K)."""
        mean, (first, second) = self._charts()
        cos = x @ mean.T
        near = cos > HORIZON
        height = torch.where(near, cos, 1.0)
        square = ((x @ first.T).square() + (x @ second.T).square()) / height.square()
        freedom = self._freedom()
        log_p = -(freedom / 2 + 1) * torch.log1p(square / freedom) - 3 * height.log() - LOG_2PI
        log_p = log_p + torch.linalg.cross(first, second).norm(dim=1).log()
        log_p = torch.where(near, log_p, -math.inf)
        return self.weight.log_softmax(0) + F.pad(log_p, (0, 1), value=-LOG_AREA), square, height

    def _log_density(self, x: Tensor) -> Tensor:
        return supported(self._components(x)[0].logsumexp(1), x, off_sphere(x))

    def _draw(self, eps: Tensor) -> Tensor:
        """The first number of the noise chooses the component; radius and angle have inverse CDFs."""
        mean, (first, second) = (part.detach() for part in self._charts())
        ends = self.weight.detach().double().softmax(0).cumsum(0)
        index = torch.searchsorted(ends, torch.special.ndtr(eps[:, 0].double()).contiguous())
        level, angle = torch.special.ndtr(eps[:, 1]), 2 * math.pi * torch.special.ndtr(eps[:, 2])
        freedom = self._freedom().detach()
        radius = (freedom * torch.expm1(-2 / freedom * torch.special.log_ndtr(eps[:, 1]))).sqrt()
        k = index.clamp_max(len(mean) - 1)
        # the dual basis of r₁, r₂ in the tangent plane takes a circle to its ellipse
        across = torch.stack([torch.linalg.cross(second, mean), torch.linalg.cross(mean, first)])
        across = across / (across[0] * first).sum(1)[:, None]
        circle = torch.stack([angle.cos(), angle.sin()])
        offset = (radius * circle)[..., None] * across[:, k]
        height = 2 * level - 1
        flat = (1 - height.square()).clamp_min(0).sqrt()
        uniform = torch.cat([(flat * circle).T, height[:, None]], 1)
        return torch.where((index < len(mean))[:, None], F.normalize(mean[k] + offset.sum(0), dim=1), uniform)

    @torch.no_grad()
    def initialize(self, z: Tensor) -> None:
        """Place the components on points (B, 3); only those on the sphere count.

        They are three mixtures with a third of the mass each, of half, a quarter and a quarter of the
        components, whose mean generalises better than one large mixture. None has more than a component to
        ``ROWS`` points; the others keep next to no weight.
        """
        points = z[~off_sphere(z) & z.isfinite().all(1)][:MOST].double()
        if self.initialized or not len(points):
            return
        total, first = len(self.mean), 0
        weight = torch.full_like(self.weight, UNUSED)
        rest = []
        for start, share in enumerate(SHARES):
            count = min(max(1, round(share * total)), max(1, len(points) // ROWS), total - first)
            if count < 1:
                break
            part = SphereMixture(count).to(points)
            part._place(points, start)
            used = slice(first, first + count)
            weight[used] = part.weight[:-1].log_softmax(0).to(weight)
            rest.append(part.weight.softmax(0)[-1])
            for name in ("mean", "axes", "log_precision"):
                getattr(self, name)[used] = getattr(part, name).to(self.mean)
            first += count
        weight[-1] = torch.stack(rest).sum().clamp_min(LEAST_UNIFORM).log()
        self.weight.copy_(weight)
        self.initialized.fill_(True)

    def _place(self, x: Tensor, start: int) -> None:
        """Fit to points (N, 3) by a few steps of EM from k-means++."""
        starts = spread_starts(x.cpu().numpy(), len(self.mean), "sphere-mixture", start)
        self.mean.copy_(torch.from_numpy(starts))
        between = 1 - (x @ self.mean.T).amax(1)
        self._set_shapes(between.mean().clamp_min(NARROWEST**2) * _tangent(self.mean))
        for _ in range(ITERATIONS):
            self._maximize(x)

    def _maximize(self, x: Tensor) -> None:
        """One step of EM for t densities in each chart; that charts stretch areas is left out of account."""
        joint, square, height = self._components(x)
        share = joint.softmax(1)[:, :-1]
        size, freedom = share.sum(0).clamp_min(1e-9), self._freedom()
        pull = share * (freedom + 2) / (freedom + square)
        centre = (pull / height).T @ x / pull.sum(0).clamp_min(1e-12)[:, None]
        square = (pull / height.square()).T @ (x[:, :, None] * x[:, None]).flatten(1)
        shape = square.view(-1, 3, 3) - pull.sum(0)[:, None, None] * centre[:, :, None] * centre[:, None]
        typical = (torch.einsum("kii->k", shape) / (2 * size)).median().clamp_min(NARROWEST**2)
        shape = (shape + PRIOR * typical * _tangent(self.mean)) / (size + PRIOR)[:, None, None]
        self.mean.copy_(F.normalize(centre, dim=1))
        self._set_shapes(shape)
        rest = (len(x) - size.sum()).clamp_min(LEAST_UNIFORM * len(x))
        self.weight.copy_(torch.cat([size, rest[None]]).log())

    def _set_shapes(self, covariance: Tensor) -> None:
        """Take Σ from matrices (K, 3, 3), of rank 2 as they describe a plane."""
        value, vector = torch.linalg.eigh(covariance)
        scale = value[:, 1:].clamp_min(NARROWEST**2).sqrt()
        self.log_precision.copy_(-scale.log().mean(1))
        axes = vector[:, :, 1:] / scale[:, None] * scale.log().mean(1).exp()[:, None, None]
        self.axes.copy_(axes.mT)


def _tangent(mean: Tensor) -> Tensor:
    """Projections (K, 3, 3) onto the tangent planes at unit vectors (K, 3)."""
    return torch.eye(3).to(mean) - mean[:, :, None] * mean[:, None]
