"""Diagonal normal densities with a smoothly bounded scale."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

LOG_SCALE_LIMIT = 6.0


class Gaussian(NamedTuple):
    """N(mean, exp(log_scale)²), elementwise, float32."""

    mean: Tensor
    log_scale: Tensor

    @classmethod
    def bounded(cls, mean: Tensor, raw: Tensor) -> Gaussian:
        """Clamp log σ smoothly to ±6: slope 1 at 0."""
        return cls(mean, LOG_SCALE_LIMIT * torch.tanh(raw / LOG_SCALE_LIMIT))

    def log_prob(self, z: Tensor) -> Tensor:
        """log N(z), summed over channels: (B, H, W), nats."""
        eps = self.whiten(z)
        return -(0.5 * eps.square() + self.log_scale).sum(1) - 0.5 * math.log(2 * math.pi) * z.shape[1]

    def log_mass(self, low: Tensor, high: Tensor) -> Tensor:
        """log P(low < z < high) of finite bounds, elementwise, in float64: exact in the tails."""
        _, a, b = self._bounds(low, high)
        upper = torch.special.log_ndtr(b)
        return (upper + torch.log1p(-(torch.special.log_ndtr(a) - upper).exp().clamp_max(1 - 1e-12))).float()

    def _bounds(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """ε of both bounds in float64, mirrored where that is the side on which Φ keeps its digits."""
        a, b = (self.whiten(edge).double() for edge in (low, high))
        mirrored = a + b > 0
        return mirrored, torch.where(mirrored, -b, a), torch.where(mirrored, -a, b)

    def whiten(self, z: Tensor) -> Tensor:
        """ε = (z − μ) / σ."""
        return (z - self.mean) * (-self.log_scale).exp()

    def sample(self, eps: Tensor, scale: float = 1.0) -> Tensor:
        """z = μ + scale · σ · ε."""
        return self.mean + scale * self.log_scale.exp() * eps
