"""Spheres as cylinders: an angle and heights, for flows by recursion over the dimension."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.base import Context
from vflow.bijections.linear import full_precision
from vflow.bijections.vector import VectorBijection


@final
class SphereToCylinder(VectorBijection):
    """Points of S^D in R^{D+1} ↔ an angle and D − 1 heights in [−1, 1] (Rezende et al. 2020, section 2.3).

    The last coordinate r of a point of S^d is its height, and z / √(1 − r²) of the others is a point of
    S^{d−1}; so on down to the circle. Per unit of area, the log-det of one such step is
    −(d/2 − 1) log(1 − r²), which is 0 on S². z = (θ, r₂, …, r_D), θ in (−π, π].

    The input has D + 1 elements, the output D. Poles, a set of measure 0, have no angle.

    Args:
        dim: D ≥ 2, of the sphere.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def transform_vectors(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        heights = []
        ladj = torch.zeros_like(x[:, 0])
        for d in range(self.dim, 1, -1):
            r, rest = x[:, -1], x[:, :-1]
            square = rest.square().sum(1).clamp_min(torch.finfo(x.dtype).tiny)  # 1 − r², without cancellation
            heights.append(r)
            ladj = ladj - (d / 2 - 1) * square.log()
            x = rest / square.sqrt()[:, None]
        angle = torch.atan2(x[:, 1], x[:, 0])
        return torch.stack([angle, *reversed(heights)], 1), ladj

    def invert_vectors(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        x = torch.stack([z[:, 0].cos(), z[:, 0].sin()], 1)
        ladj = torch.zeros_like(z[:, 0])
        for d in range(2, self.dim + 1):
            r = z[:, d - 1].clamp(-1, 1)
            square = ((1 - r) * (1 + r)).clamp_min(torch.finfo(z.dtype).eps ** 2)
            ladj = ladj + (d / 2 - 1) * square.log()
            x = torch.cat([x * square.sqrt()[:, None], r[:, None]], 1)
        return x, ladj


@final
class Rotation(VectorBijection):
    """z = Q x with a learned rotation Q = exp(A − Aᵀ); keeps volume, and spheres.

    Args:
        dim: number of elements.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.generator = nn.Parameter(0.5 * torch.randn(dim, dim))

    def _matrix(self) -> Tensor:
        return torch.matrix_exp(self.generator - self.generator.T)

    def transform_vectors(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            return F.linear(x, self._matrix()), torch.zeros_like(x[:, 0])

    def invert_vectors(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            return F.linear(z, self._matrix().T), torch.zeros_like(z[:, 0])
