"""Whitening by a covariance that is shrunk as far as its rows ask for."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from vflow.bijections.actnorm import LEAST
from vflow.bijections.base import Context
from vflow.bijections.linear import full_precision
from vflow.bijections.vector import VectorBijection
from vflow.errors import InputError


@final
class Whitening(VectorBijection):
    """z = L⁻¹ (x − μ) / σ, L Lᵀ the correlations of the first batch, shrunk (Ledoit & Wolf 2004).

    Over a normal base this alone is the Gaussian of that covariance. Nothing in it is trained: ``initialize``
    sets it, once. A column that is constant in the batch is only shifted. With a condition y the covariance
    is that of (y, x), and z the residual of the regression of x on y, white.

    Args:
        dim: D.
        features: elements of a condition, whose mean must be 0 and variance 1.
    """

    mean: Tensor
    scale: Tensor
    factor: Tensor
    slope: Tensor
    initialized: Tensor

    def __init__(self, dim: int, features: int = 0) -> None:
        super().__init__()
        self.width = dim
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        self.register_buffer("factor", torch.eye(dim))
        self.register_buffer("slope", torch.zeros(dim, features), persistent=features > 0)
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Context = None) -> Tensor:
        if not self.initialized:
            rows = x.flatten(1).double()
            scale, mean = torch.std_mean(rows, 0, correction=0)
            scale = torch.where(scale > LEAST * mean.abs().clamp_min(torch.finfo().tiny), scale, 1.0)
            self.mean.copy_(mean)
            self.scale.copy_(scale)
            given = rows[:, :0] if context is None else context.flatten(1).double()
            factor = torch.linalg.cholesky(shrunk_covariance(torch.cat([given, (rows - mean) / scale], 1)))
            own, cross = given.shape[1], factor[given.shape[1] :]
            if own:
                lower = factor[:own, :own]
                self.slope.copy_(
                    torch.linalg.solve_triangular(lower, cross[:, :own], upper=False, left=False)
                )
            self.factor.copy_(cross[:, own:])
            self.initialized.fill_(True)
        return self.transform(x, context)[0]

    def initialize_inverse(self, z: Tensor, context: Context = None) -> Tensor:
        raise InputError("a layer of kind whitening inside an inverse: it whitens data, not latents")

    def _ladj(self, like: Tensor) -> Tensor:
        """log |det J| of ``transform``, (B,)."""
        return -(self.scale.log().sum() + self.factor.diagonal().log().sum()).expand(len(like))

    def transform_vectors(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        standard = (x - self.mean) / self.scale
        if context is not None:
            standard = standard - context @ self.slope.T
        return torch.linalg.solve_triangular(self.factor, standard.T, upper=False).T, self._ladj(x)

    def invert_vectors(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            standard = z @ self.factor.T
            if context is not None:
                standard = standard + context @ self.slope.T
            return self.mean + self.scale * standard, -self._ladj(z)


def shrunk_covariance(rows: Tensor) -> Tensor:
    """Covariance (D, D) of ``rows`` (N, D) of mean 0, shrunk towards a multiple of the identity.

    The share of the identity is the estimate of Ledoit & Wolf 2004, section 3.2, of what has the least mean
    square error. Of fewer rows than columns too it can be inverted, unless all rows are 0: then it is the
    identity.
    """
    count, dim = rows.shape
    sample = rows.T @ rows / count
    identity = torch.eye(dim, dtype=rows.dtype, device=rows.device)
    size = sample.diagonal().mean()
    if size == 0:
        return identity
    distance = (sample - size * identity).square().sum()
    squares = rows.square()
    error = ((squares.T @ squares).sum() / count - sample.square().sum()) / count
    share = 1.0 if distance == 0 else min(1.0, max(0.0, float(error / distance)))
    return (1 - max(share, LEAST)) * sample + max(share, LEAST) * size * identity
