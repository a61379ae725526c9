"""Location-scale maps modulo K of vectors of classes (Tran et al. 2019, *Discrete Flows*).

y = (μ + σ · x) mod K with σ coprime to K permutes the classes of a position, so no volume changes. Vectors
are one-hot, (B, D, K): forward their values are exact, backward μ and σ have the gradient of a softmax with
temperature 0.1 (straight-through, Bengio et al. 2013).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

TEMPERATURE = 0.1


def one_hot_argmax(logits: Tensor) -> Tensor:
    """One-hot of the largest of ``logits`` (..., K), with the gradient of softmax(logits / 0.1)."""
    soft = torch.softmax(logits / TEMPERATURE, -1)
    hard = functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    return hard + soft - soft.detach()


def units(classes: int) -> list[int]:
    """Whole numbers 1 … K − 1 that are coprime to K: the possible scales."""
    return [u for u in range(1, max(2, classes)) if math.gcd(u, classes) == 1]


def add_modulo(x: Tensor, shift: Tensor) -> Tensor:
    """One-hot of (x + shift) mod K, for one-hots (..., K): a circular convolution."""
    classes = x.shape[-1]
    index = (
        torch.arange(classes, device=x.device)[:, None] - torch.arange(classes, device=x.device)
    ) % classes
    return torch.einsum("...k,...jk->...j", x, shift[..., index])


def multiply_modulo(x: Tensor, scale: Tensor) -> Tensor:
    """One-hot of (scale · x) mod K, for one-hots x (..., K) and scale (..., U), by place in ``units(K)``."""
    classes = x.shape[-1]
    places = torch.tensor(
        [[u * k % classes for k in range(classes)] for u in units(classes)], device=x.device
    )
    table = functional.one_hot(places, classes).to(x.dtype)  # (U, K, K): from k to u·k
    return torch.einsum("...u,...k,ukj->...j", scale, x, table)


def divide_modulo(y: Tensor, scale: Tensor) -> Tensor:
    """Inverse of ``multiply_modulo`` in x."""
    classes = y.shape[-1]
    found = units(classes)
    reciprocal = [found.index(pow(u, -1, classes)) if classes > 1 else 0 for u in found]
    return multiply_modulo(y, scale[..., reciprocal])


def negate_modulo(x: Tensor) -> Tensor:
    """One-hot of (−x) mod K."""
    return torch.cat([x[..., :1], x[..., 1:].flip(-1)], -1)


class DiscreteMap(nn.Module, ABC):
    """Invertible map of one-hot vectors (B, D, K)."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Data to latent."""

    @abstractmethod
    def inverse(self, y: Tensor) -> Tensor:
        """Latent to data."""


class LocationScale(nn.Module):
    """y = (μ + σ · x) mod K from logits (B, D, K) of μ and, with ``scaled``, (B, D, U) of σ."""

    def __init__(self, classes: int, scaled: bool) -> None:
        super().__init__()
        self.classes, self.scaled = classes, scaled
        self.outputs = classes + (len(units(classes)) if scaled else 0)

    def _parts(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        location = one_hot_argmax(logits[..., : self.classes])
        return location, one_hot_argmax(logits[..., self.classes :]) if self.scaled else None

    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        """One-hot y of one-hot x."""
        location, scale = self._parts(logits)
        return add_modulo(x if scale is None else multiply_modulo(x, scale), location)

    def inverse(self, y: Tensor, logits: Tensor) -> Tensor:
        """One-hot x of one-hot y."""
        location, scale = self._parts(logits)
        shifted = add_modulo(y, negate_modulo(location))
        return shifted if scale is None else divide_modulo(shifted, scale)


@final
class BipartiteMap(DiscreteMap):
    """Location-scale map of the positions in ``changed``, given the others, which stay.

    ``net`` maps one-hots (B, D · K), zero where a position changes, to logits (B, D · outputs).
    """

    changed: Tensor

    def __init__(self, net: nn.Module, element: LocationScale, changed: Tensor) -> None:
        super().__init__()
        self.net, self.element = net, element
        self.register_buffer("changed", changed[:, None])

    def _logits(self, x: Tensor) -> Tensor:
        kept = torch.where(self.changed, 0.0, x)
        logits: Tensor = self.net(kept.flatten(1))
        return logits.unflatten(1, (x.shape[1], self.element.outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(self.changed, self.element(x, self._logits(x)), x)

    def inverse(self, y: Tensor) -> Tensor:
        return torch.where(self.changed, self.element.inverse(y, self._logits(y)), y)


@final
class AutoregressiveMap(DiscreteMap):
    """Location-scale map of each position given those before it; the inverse takes D passes.

    ``net`` maps one-hots (B, D · K) to logits (B, D · outputs), those of a position from earlier ones alone.
    """

    def __init__(self, net: nn.Module, element: LocationScale) -> None:
        super().__init__()
        self.net, self.element = net, element

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x.flatten(1))
        return logits.unflatten(1, (x.shape[1], self.element.outputs))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.element(x, self._logits(x))
        return result

    def inverse(self, y: Tensor) -> Tensor:
        x = torch.zeros_like(y)
        for position in range(y.shape[1]):
            logits = self._logits(x)[:, position]
            x[:, position] = self.element.inverse(y[:, position], logits)
        return x


@final
class Reversal(DiscreteMap):
    """Positions in reverse order."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1)

    def inverse(self, y: Tensor) -> Tensor:
        return y.flip(1)
