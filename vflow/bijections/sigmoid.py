"""Sigmoid layers of the deep density model, whose encoder is left out."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.base import Context
from vflow.bijections.linear import full_precision
from vflow.bijections.root import invert_increasing
from vflow.bijections.vector import VectorBijection, inside_unit_interval

LOG_SINGULAR_LIMIT = 3.0  # |log| of the singular values of W stays below this


@final
class SigmoidLayer(VectorBijection):
    """z = σ(W x + b) + leak · (W x + b) (Rippel & Adams 2013, *Deep Density Models*).

    With leak 0, the paper's layer, the image is the open unit cube: right for the last layer, over a uniform
    base. A stack of such layers would reach only a part of the cube and its density would not integrate to 1;
    a leak > 0 makes the other layers onto. The paper penalises the condition number of W; here
    W = U exp(S) V with U, V orthogonal (matrix exponentials) and |S| ≤ 3 bounds it, and log |det W| = Σ S.
    The inverse is the logit, or numeric with a leak.

    Args:
        dim: D.
        leak: slope that is added everywhere.
    """

    def __init__(self, dim: int, leak: float = 0.0) -> None:
        super().__init__()
        self.width = dim
        self.leak = leak
        self.left = nn.Parameter(0.1 * torch.randn(dim, dim))
        self.right = nn.Parameter(0.1 * torch.randn(dim, dim))
        self.log_singular = nn.Parameter(torch.zeros(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def _matrices(self) -> tuple[Tensor, Tensor, Tensor]:
        """U, V and S of W = U exp(S) V."""
        left, right = (torch.matrix_exp(a - a.T) for a in (self.left, self.right))
        return left, right, LOG_SINGULAR_LIMIT * torch.tanh(self.log_singular / LOG_SINGULAR_LIMIT)

    def _activation(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """σ(h) + leak · h and its log-slope."""
        log_slope = F.logsigmoid(h) + F.logsigmoid(-h)
        if self.leak:
            log_slope = torch.logaddexp(log_slope, torch.full_like(h, math.log(self.leak)))
        return torch.sigmoid(h) + self.leak * h, log_slope

    def transform_vectors(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            left, right, log_singular = self._matrices()
            h = (x @ right.T * log_singular.exp()) @ left.T + self.bias
        z, log_slope = self._activation(h)
        return z, log_slope.sum(1) + log_singular.sum()

    def invert_vectors(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        if self.leak:
            low, high = (z.detach() - 1) / self.leak, z.detach() / self.leak
            h, log_slope = invert_increasing(self._activation, z, low, high)
        else:
            h = torch.logit(inside_unit_interval(z))
            log_slope = -self._activation(h)[1]
        with full_precision(z):
            left, right, log_singular = self._matrices()
            x = ((h - self.bias) @ left * (-log_singular).exp()) @ right
        return x, log_slope.sum(1) - log_singular.sum()
