"""Flows on the circle: convex sums of Möbius maps of angles."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from vflow.bijections.element import Element
from vflow.bijections.root import invert_increasing

RADIUS = 0.99  # |ω| stays below this: slopes lie in 1/199 … 199
START = 0.3  # |ω| of each component at the start, in evenly spaced directions


@final
class MobiusSum(Element):
    """f(θ) = Σ_k ρ_k f_k(θ), a convex sum of Möbius maps of the circle (Rezende et al. 2020, section 2.1.1).

    A Möbius map takes a point z of the unit circle to (1 − |ω|²) / |z − ω|² · (z − ω) − ω, turned so that
    angle 0 stays. In angles, f_k(θ) = θ + 2 arg(1 − ω e^{−iθ}) − 2 arg(1 − ω), which is smooth in θ on the
    whole line and has f_k(θ + 2π) = f_k(θ) + 2π. f_k'(θ) = (1 − |ω|²) / |z − ω|². The inverse is numeric.

    Args:
        components: K; h holds K logits of ρ and K centres ω as pairs.
    """

    def __init__(self, components: int = 8) -> None:
        self.components = components
        self.count = 3 * components

    def _parameters(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weights ρ and centres ω = (a, b), each (…, K)."""
        logit, a, b = h.chunk(3, -1)
        angle = 2 * math.pi / self.components * torch.arange(self.components, dtype=h.dtype, device=h.device)
        start = START if self.components > 1 else 0.0
        a, b = a + start * angle.cos(), b + start * angle.sin()
        shrink = RADIUS / (1 + a.square() + b.square()).sqrt()
        return logit.softmax(-1), a * shrink, b * shrink

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        weight, a, b = self._parameters(h)
        cos, sin = x.cos()[..., None], x.sin()[..., None]
        # 1 − ω e^{−iθ}; its real part is positive, so arg has no jump
        turned = torch.atan2(a * sin - b * cos, 1 - a * cos - b * sin) - torch.atan2(-b, 1 - a)
        slope = (1 - a.square() - b.square()) / ((cos - a).square() + (sin - b).square())
        return x + 2 * (weight * turned).sum(-1), (weight * slope).sum(-1).log()

    def inverse(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return invert_increasing(lambda x: self.forward(x, h), z, z - 2 * math.pi, z + 2 * math.pi)
