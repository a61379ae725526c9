"""Coupling layers: one half of the image is transformed by parameters that depend on the other half."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Generic, TypeVar, final

import torch
from torch import Tensor, nn

from vflow.bijections.base import Bijection, Context, Recomputed, accumulation_dtype, zero_density
from vflow.bijections.reshape import Partition

LIMIT = 2.5  # |log scale| of one coupling stays below this, in both directions
P = TypeVar("P", bound=tuple[Tensor, ...])


def soft_clamp(h: Tensor, limit: float = LIMIT) -> Tensor:
    """(2/π) · limit · atan(h / limit): slope 2/π at 0, bounded by ±limit (Ardizzone et al. 2019)."""
    return (2 / math.pi * limit) * torch.atan(h / limit)


class Coupling(Bijection, ABC, Generic[P]):
    """z₂ = f(x₂; net(x₁, context)) elementwise, z₁ = x₁.

    ``net`` maps the kept half (B, C₁, H, W) and the context to the parameters of the changed half
    (B, C₂, H, W). A subclass defines f by ``element_parameters``, ``element_transform`` and its inverse.
    """

    def __init__(self, net: nn.Module, partition: Partition) -> None:
        super().__init__()
        self.net = net
        self.partition = partition
        self.width = partition.width

    @abstractmethod
    def element_parameters(self, h: Tensor) -> P:
        """Parameters of f, for both directions, from the outputs of ``net``, float32 or wider."""

    @abstractmethod
    def element_transform(self, changed: Tensor, parameters: P) -> tuple[Tensor, Tensor]:
        """z₂ = f(x₂), and its log-det (B, H, W)."""

    @abstractmethod
    def element_inverse(self, changed: Tensor, parameters: P) -> tuple[Tensor, Tensor]:
        """Inverse of f, and its log-det (B, H, W)."""

    def _parameters_from(self, kept: Tensor, context: Context) -> P:
        return self.element_parameters(self.net(kept, context).to(accumulation_dtype(kept.dtype)))

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        kept, changed = self.partition.split(x)
        moved, density = self.element_transform(changed, self._parameters_from(kept, context))
        return self.partition.merge(kept, moved), self.partition.scatter(density)

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        kept, moved = self.partition.split(z)
        changed, density = self.element_inverse(moved, self._parameters_from(kept, context))
        return self.partition.merge(kept, changed), self.partition.scatter(density)

    def recompute_from_output(self, z: Tensor, context: Context = None) -> Recomputed:
        """See the base class; ``net`` runs once, since its input is the same on both sides."""
        kept, moved = self.partition.split(z)
        kept = kept.detach().requires_grad_()
        parameters = self._parameters_from(kept, context)
        with torch.no_grad():
            changed = self.element_inverse(moved, parameters)[0]
        changed.requires_grad_()
        moved, density = self.element_transform(changed, parameters)
        z, density = self.partition.merge(kept, moved), self.partition.scatter(density)
        return Recomputed((kept, changed), self.partition.merge, z, density)


@final
class AffineCoupling(Coupling[tuple[Tensor, Tensor]]):
    """z₂ = x₂ · exp(log s) + t with (log s, t) = net(x₁, context) and z₁ = x₁; log s is softly clamped.

    Dinh et al. 2017. ``net`` has 2·C₂ outputs.
    """

    def element_parameters(self, h: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = h.chunk(2, 1)
        return soft_clamp(log_scale), shift

    def element_transform(self, changed: Tensor, parameters: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        log_scale, shift = parameters
        return torch.addcmul(shift, changed, log_scale.exp()), log_scale.sum(1)

    def element_inverse(self, changed: Tensor, parameters: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        log_scale, shift = parameters
        return (changed - shift) * (-log_scale).exp(), -log_scale.sum(1)


@final
class AdditiveCoupling(Coupling[tuple[Tensor]]):
    """z₂ = x₂ + net(x₁, context), z₁ = x₁; keeps volume (Dinh et al. 2015)."""

    def element_parameters(self, h: Tensor) -> tuple[Tensor]:
        return (h,)

    def element_transform(self, changed: Tensor, parameters: tuple[Tensor]) -> tuple[Tensor, Tensor]:
        return changed + parameters[0], zero_density(changed)

    def element_inverse(self, changed: Tensor, parameters: tuple[Tensor]) -> tuple[Tensor, Tensor]:
        return changed - parameters[0], zero_density(changed)
