"""Dequantisation: from 8-bit values to continuous ones. Not a bijection: a random map with a known density.

x̃ = x + u with u ~ q(u | x) in the bin of x, and log p(x) ≥ E_q[log p(x̃) − log q(u | x)]. Each ``Dequantizer``
takes standard-normal noise and returns x̃ and the log-weight −log q. Bins have width 1 (grey levels).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor, nn

MARGIN = 2.0**-15  # noise keeps this far from the bin's edges, so that float32 never rounds into the next bin
WIDTH = 1 / 12  # standard deviation of the Gaussian inside a bin: its edges lie 6σ from its centre


class Dequantizer(nn.Module, ABC):
    """Noise inside the bin: (x uint8, eps) → (x̃ float32, log-weight per element)."""

    @abstractmethod
    def forward(self, x: Tensor, eps: Tensor, mode: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x̃ in [x, x + 1) and −log q, both shaped like ``x``, float32.

        ``eps`` is standard normal; ``mode`` is each pixel's most likely value before it is seen, if known.
        """


def uniform_noise(eps: Tensor) -> tuple[Tensor, Tensor]:
    """u uniform over the bin, and −log q."""
    return MARGIN + (1 - 2 * MARGIN) * torch.special.ndtr(eps), torch.full_like(eps, math.log1p(-2 * MARGIN))


def gaussian_noise(eps: Tensor) -> tuple[Tensor, Tensor]:
    """u normal around the bin's centre with σ = 1/12, cut at the edges, and −log q."""
    inside = eps.clamp(-(0.5 - MARGIN) / WIDTH, (0.5 - MARGIN) / WIDTH)
    return 0.5 + WIDTH * inside, 0.5 * inside.square() + math.log(WIDTH * math.sqrt(2 * math.pi))


@final
class UniformDequantizer(Dequantizer):
    """q uniform over the bin: right where neighbouring values are all in use, as in photographs."""

    def forward(self, x: Tensor, eps: Tensor, mode: Tensor | None = None) -> tuple[Tensor, Tensor]:
        noise, weight = uniform_noise(eps)
        return x + noise, weight


@final
class GaussianDequantizer(Dequantizer):
    """q Gaussian inside the bin: a Gaussian model can fit a known pixel exactly; for drawn pictures."""

    def forward(self, x: Tensor, eps: Tensor, mode: Tensor | None = None) -> tuple[Tensor, Tensor]:
        noise, weight = gaussian_noise(eps)
        return x + noise, weight


@final
class AnchoredDequantizer(Dequantizer):
    """Gaussian where a pixel has its most likely value (it stands still), uniform where it has another."""

    def forward(self, x: Tensor, eps: Tensor, mode: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if mode is None:
            raise ValueError("AnchoredDequantizer needs each pixel's most likely value")
        still = x == mode
        (narrow, narrow_weight), (flat, flat_weight) = gaussian_noise(eps), uniform_noise(eps)
        return x + torch.where(still, narrow, flat), torch.where(still, narrow_weight, flat_weight)
