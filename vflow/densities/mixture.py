"""Mixture of normal densities, a base for densities that come in clusters."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.clusters import k_means
from vflow.densities.base import LOG_2PI, Density

NARROWEST = 0.05  # scale that initialize gives at least


@final
class NormalMixture(Density):
    """log Σ_k π_k N(x; μ_k, diag σ_k²) with learned weights π, means μ and scales σ (K, D).

    Samples carry the implicit gradient in all three (Figurnov et al. 2018), so reverse KL learns them too;
    the gradient in the noise is that of the component drawn. ``initialize`` places the components on the
    clusters of a batch, once.

    Args:
        components: K. Without a batch weights start equal, means at normal points and scales at K^(−1/D), so
            that the components together take about as much room as one standard normal.
    """

    initialized: Tensor

    def __init__(self, dim: int, components: int) -> None:
        super().__init__()
        self.dim, self.noise_dim = dim, dim + 1
        self.weight = nn.Parameter(torch.zeros(components))
        self.mean = nn.Parameter(torch.randn(components, dim))
        self.log_scale = nn.Parameter(torch.full((components, dim), -math.log(components) / dim))
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def initialize(self, z: Tensor) -> None:
        """Weights, means and scales of the clusters of latents (B, D), by k-means; only finite ones count."""
        count, points = len(self.weight), z[z.isfinite().all(1)].double()
        if self.initialized or not len(points):
            return
        centres = torch.from_numpy(k_means(points.cpu().numpy(), count, "normal-mixture")).to(points)
        member = F.one_hot(torch.cdist(points, centres).argmin(1), count).to(points)  # (B, K)
        size = member.sum(0)
        spread = member.T @ (points - member @ centres).square() / size.clamp_min(1)[:, None]
        self.weight.copy_(size.add(1).log())
        self.mean.copy_(centres)
        self.log_scale.copy_(spread.sqrt().clamp_min(NARROWEST).log())
        self.initialized.fill_(True)

    def log_weight(self) -> Tensor:
        """log π, (K,)."""
        return self.weight.log_softmax(0)

    def responsibilities(self, x: Tensor) -> Tensor:
        """Probability (B, K) that points (B, D) come from each component."""
        return self._joint(x).softmax(1)

    def _joint(self, x: Tensor) -> Tensor:
        """log π_k N(x; μ_k, σ_k²), (B, K)."""
        return self.log_weight() + _log_normals(x[:, None], self.mean, self.log_scale).sum(2)

    def _log_density(self, x: Tensor) -> Tensor:
        return self._joint(x).logsumexp(1)

    def _draw(self, eps: Tensor) -> Tensor:
        """The last number of the noise chooses the component."""
        ends = self.log_weight().detach().double().exp().cumsum(0)
        level = torch.special.ndtr(eps[:, -1].detach().double()).contiguous()
        index = torch.searchsorted(ends, level).clamp_max(len(ends) - 1)
        x = self.mean.detach()[index] + self.log_scale.detach().exp()[index] * eps[:, :-1]
        if torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters()):
            x = x + self._implicit(x.detach())
        return x

    def _implicit(self, x: Tensor) -> Tensor:
        """Zeros (B, D) with the gradient of samples x at fixed values of their distributional transform.

        That is F_d(x_d | x_1 … x_{d−1}), a mixture of normal CDFs, in one coordinate after the other.
        """
        log_share = self.log_weight().expand(len(x), -1)
        changes = []
        for d, (mean, log_scale) in enumerate(zip(self.mean.T, self.log_scale.T, strict=True)):
            share = log_share.softmax(1)
            at = x[:, d, None]
            cdf = (share * torch.special.ndtr((at - mean) * (-log_scale).exp())).sum(1)
            density = (share * _log_normals(at, mean, log_scale).exp()).sum(1).detach()
            change = -(cdf - cdf.detach()) / density
            log_share = log_share + _log_normals(at + change[:, None], mean, log_scale)
            changes.append(change)
        return torch.stack(changes, 1)


def _log_normals(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    return -0.5 * (((x - mean) * (-log_scale).exp()).square() + LOG_2PI) - log_scale
