"""Gaussian copula: correlations between elements whose marginals stay standard normal."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from vflow.bijections.base import Context
from vflow.bijections.linear import full_precision
from vflow.bijections.planar import ParametersFromContext
from vflow.bijections.vector import VectorBijection


@final
class GaussianCopula(VectorBijection):
    """x = L z, L lower triangular with rows of length 1, diagonal positive (Wang & Wang 2019, section 4).

    L Lᵀ is a correlation matrix, so a standard-normal z gives x standard-normal marginals: the copula alone
    is learned. Row i of L is (a_i, 1) / ‖(a_i, 1)‖ for i numbers a_i. log |det L| = −Σ log ‖(a_i, 1)‖. The
    map to the latent solves the triangular system.

    Args:
        dim: D.
        features: F of a context that moves all a; 0 for none.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, dim: int, features: int = 0) -> None:
        super().__init__()
        self.dim, self.features = dim, features
        rows, columns = torch.tril_indices(dim, dim, -1)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)
        self.parameters_of_map = ParametersFromContext(torch.zeros(len(rows)), features)

    def _factor(self, like: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """L (B, D, D) and the log-lengths of its rows before they are made 1, (B, D)."""
        # An amortised copula learns slowly: noise in so many numbers, each of which a step of Adam would move
        # by its learning rate times all that enters it, leads a posterior away from the diagonal for good.
        if self.features:
            a = self.parameters_of_map(like, None if context is None else context / self.features) / self.dim
        else:
            a = self.parameters_of_map(like, context)
        lower = torch.eye(self.dim, dtype=a.dtype, device=a.device).repeat(len(like), 1, 1)
        lower = lower.index_put(
            (torch.arange(len(like), device=a.device)[:, None], self.rows, self.columns), a
        )
        square = lower.square().sum(2)
        return lower * square.rsqrt()[:, :, None], 0.5 * square.log()

    def transform_vectors(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        lower, log_length = self._factor(x, context)
        z = torch.linalg.solve_triangular(lower, x[:, :, None], upper=False)[:, :, 0]
        return z, log_length.sum(1)

    def invert_vectors(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        lower, log_length = self._factor(z, context)
        with full_precision(z):
            return (lower @ z[:, :, None])[:, :, 0], -log_length.sum(1)
