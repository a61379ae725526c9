"""Planar and radial flows (Rezende & Mohamed 2015)."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.base import Context
from vflow.bijections.root import invert_increasing
from vflow.bijections.vector import VectorBijection

LEAST_SLOPE = 1e-6  # of a map along its direction; below it float32 would round 1 + wᵀû to 0


@final
class ParametersFromContext(nn.Module):
    """Parameters (B, count): learned, plus a linear function of the context if there is one.

    Args:
        start: the values (count,) at the start.
        features: F of the context; 0 for none.
    """

    def __init__(self, start: Tensor, features: int) -> None:
        super().__init__()
        self.value = nn.Parameter(start)
        self.context_in = nn.Linear(features, len(start), bias=False) if features else None
        if self.context_in is not None:
            nn.init.normal_(self.context_in.weight, std=0.01)

    def forward(self, like: Tensor, context: Context) -> Tensor:
        value = self.value.expand(len(like), -1)
        if self.context_in is None:
            return value
        if context is None:
            raise ValueError("this map is conditional: pass its context")
        return value + self.context_in(context)


@final
class Planar(VectorBijection):
    """z = x + û tanh(wᵀx + b) (Rezende & Mohamed 2015, equations 10 to 12).

    û = u + (m(wᵀu) − wᵀu) w / ‖w‖², m(a) = log(1 + eᵃ) − 1, keeps wᵀû > −1, so the map is invertible
    (appendix A.1). log |det J| = log(1 + (1 − tanh²) wᵀû). The inverse solves for wᵀx alone, numerically.

    Args:
        dim: D.
        features: F of a context that moves u, w and b, as an amortised posterior needs; 0 for none.
    """

    def __init__(self, dim: int, features: int = 0) -> None:
        super().__init__()
        self.dim = self.width = dim
        w = torch.randn(dim)
        u = math.log(math.e - 1) * w / w.square().sum() + 0.01 * torch.randn(dim)  # û is about 0
        self.parameters_of_map = ParametersFromContext(torch.cat([u, w, torch.randn(1)]), features)

    def _map(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """w (B, D), b (B,), û (B, D) and wᵀû (B,)."""
        h = self.parameters_of_map(x, context)
        u, w, b = h[:, : self.dim], h[:, self.dim : -1], h[:, -1]
        product = (w * u).sum(1)
        bounded = F.softplus(product).clamp_min(LEAST_SLOPE) - 1
        square = w.square().sum(1).clamp_min(1e-12)
        return w, b, u + ((bounded - product) / square)[:, None] * w, bounded

    def transform_vectors(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        w, b, u, product = self._map(x, context)
        h = torch.tanh((w * x).sum(1) + b)
        return x + u * h[:, None], torch.log1p((1 - h.square()) * product)

    def invert_vectors(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        w, b, u, product = self._map(z, context)

        def along(a: Tensor) -> tuple[Tensor, Tensor]:
            h = torch.tanh(a + b)
            return a + product * h, torch.log1p((1 - h.square()) * product)

        target = (w * z).sum(1)
        reach = product.detach().abs() + 1e-3
        a, ladj = invert_increasing(along, target, target.detach() - reach, target.detach() + reach)
        return z - u * torch.tanh(a + b)[:, None], ladj


@final
class Radial(VectorBijection):
    """z = x + β̂ (x − x₀) / (α + r), r = ‖x − x₀‖ (Rezende & Mohamed 2015, equations 13 and 14).

    α > 0 and β̂ = −α + log(1 + e^β) keep it invertible (appendix A.2). With h = 1 / (α + r),
    log |det J| = (D − 1) log(1 + β̂ h) + log(1 + β̂ h − β̂ h² r). The inverse solves a quadratic for r.

    Args:
        dim: D.
        features: F of a context that moves x₀, α and β; 0 for none.
    """

    def __init__(self, dim: int, features: int = 0) -> None:
        super().__init__()
        self.dim = self.width = dim
        self.parameters_of_map = ParametersFromContext(
            torch.cat([torch.randn(dim), torch.zeros(2)]), features
        )

    def _map(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """x₀ (B, D), α (B,) and α + β̂ (B,)."""
        h = self.parameters_of_map(x, context)
        alpha = 1e-3 + F.softplus(h[:, -2])
        return h[:, : self.dim], alpha, torch.maximum(F.softplus(h[:, -1]), LEAST_SLOPE * alpha)

    def _log_det(self, r: Tensor, alpha: Tensor, total: Tensor) -> Tensor:
        # 1 + β̂ h = (r + α + β̂) / (r + α), and 1 + β̂ h − β̂ h² r = 1 + β̂ α / (α + r)²
        beta = total - alpha
        tangential = torch.log1p(beta / (alpha + r))
        return (self.dim - 1) * tangential + torch.log1p(beta * alpha / (alpha + r).square())

    def transform_vectors(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        centre, alpha, total = self._map(x, context)
        offset = x - centre
        r = length(offset)
        return x + ((total - alpha) / (alpha + r))[:, None] * offset, self._log_det(r, alpha, total)

    def invert_vectors(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        centre, alpha, total = self._map(z, context)
        offset = z - centre
        far = length(offset)
        half = 0.5 * (total - far)
        root = (half.square() + alpha * far).sqrt()
        # the positive root of r² + (α + β̂ − far) r − α far, without cancellation
        r = torch.where(half > 0, alpha * far / (half + root), root - half)
        shrink = (alpha + r) / (total + r)
        return centre + shrink[:, None] * offset, -self._log_det(r, alpha, total)


def length(x: Tensor) -> Tensor:
    """‖x‖ of rows (B, D), with a finite gradient at zero."""
    return (x.square().sum(1) + torch.finfo(x.dtype).tiny).sqrt()
