"""Networks on vectors with a bound on how fast they change, and their Jacobians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.nn.modules import ModuleList

STEEPEST = 1.1  # slope of x σ(x), rounded up from 1.0998
SQUARINGS = 4


@final
class LipschitzMLP(nn.Module):
    """Fully connected network g with ‖g(x) − g(y)‖ ≤ L ‖x − y‖ (Behrmann et al. 2019), 0 at the start.

    A weight whose ``norm_bound`` is above L^(1/layers) is scaled down to that. The activation is LipSwish,
    x σ(βx) / 1.1 with a learned β > 0, whose slope is at most 1 (Chen et al. 2019).

    Args:
        dim: D of both ends.
        hidden: widths of the hidden layers, one or more.
        lipschitz: L.
        features: F of a context (B, F) that joins the input, which L does not concern; 0 for none.
    """

    def __init__(self, dim: int, hidden: Sequence[int], *, lipschitz: float, features: int = 0) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("hidden: give one width or more")
        self.hidden = ModuleList([nn.Linear(n, m) for n, m in pairwise([dim, *hidden])])
        self.linear_out = nn.Linear(hidden[-1], dim)
        nn.init.zeros_(self.linear_out.weight)
        nn.init.zeros_(self.linear_out.bias)
        self.raw_sharpness = nn.Parameter(torch.full((len(hidden),), 0.5413))  # softplus of it is 1
        self.context_in = nn.Linear(features, hidden[0], bias=False) if features else None
        self.norm = lipschitz ** (1 / (len(hidden) + 1))

    def bounded(self) -> BoundedMLP:
        """The network as its weights are now, bounded once for many evaluations."""
        weights = [self._bounded(layer.weight) for layer in (*self.hidden, self.linear_out)]
        biases = [layer.bias for layer in (*self.hidden, self.linear_out)]
        return BoundedMLP(weights, biases, F.softplus(self.raw_sharpness).unbind(), self.context_in)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """g(x), (B, D)."""
        return self.bounded().at(context).value(x)

    def _bounded(self, weight: Tensor) -> Tensor:
        return weight / (norm_bound(weight) / self.norm).clamp_min(1)


@dataclass(frozen=True)
class BoundedMLP:
    """A ``LipschitzMLP`` whose weights have been bounded."""

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    sharpness: Sequence[Tensor]
    context_in: nn.Linear | None

    def at(self, context: Tensor | None, scale: float = 1.0) -> Field:
        """The network for a context (B, F), times ``scale``."""
        first, *others = self.biases
        if self.context_in is not None:
            if context is None:
                raise ValueError("this map is conditional: pass its context")
            first = first + self.context_in(context)
        return Field(self.weights, (first, *others), self.sharpness, scale)


@dataclass(frozen=True)
class Field:
    """A function of vectors x (B, D) with its Jacobian."""

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    sharpness: Sequence[Tensor]
    scale: float

    def value(self, x: Tensor) -> Tensor:
        """g(x), (B, D)."""
        for weight, bias, beta in zip(self.weights[:-1], self.biases[:-1], self.sharpness, strict=True):
            a = x @ weight.T + bias
            x = a * torch.sigmoid(beta * a) / STEEPEST
        return self.scale * (x @ self.weights[-1].T + self.biases[-1])

    def with_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """g(x), (B, D), and its Jacobian (B, D, D), [b, i, j] = ∂g_i / ∂x_j."""
        tangents = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)  # [b,] j, i: ∂h_i / ∂x_j
        for weight, bias, beta in zip(self.weights[:-1], self.biases[:-1], self.sharpness, strict=True):
            a = x @ weight.T + bias
            gate = torch.sigmoid(beta * a)
            x = a * gate / STEEPEST
            slope = gate / STEEPEST + beta * (x - gate * x)
            tangents = (tangents @ weight.T) * slope[:, None]
        value = x @ self.weights[-1].T + self.biases[-1]
        return self.scale * value, self.scale * (tangents @ self.weights[-1].T).mT


def norm_bound(weight: Tensor) -> Tensor:
    """Bound of a matrix's spectral norm from above, smooth in its entries: its Schatten 32-norm, ().

    (Σ σᵢ³²)^(1/32) over the singular values is at most rank^(1/32) times the largest: 14% above it for 64
    equal ones, and much less where they differ.
    """
    tiny = torch.finfo(weight.dtype).tiny
    scale = weight.detach().abs().amax().clamp_min(tiny)
    unit = weight / scale
    gram = unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit
    size = gram.norm().clamp_min(tiny)  # so that the largest power is no smaller than rank⁻⁸
    power = gram / size
    for _ in range(SQUARINGS):
        power = power @ power
    return scale * (size * (power.diagonal().sum() + tiny) ** (0.5**SQUARINGS)).sqrt()
