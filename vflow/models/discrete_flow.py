"""Discrete flow: vectors of K classes to latents of K classes, modulo K (Tran et al. 2019).

y_d = (μ_d + σ_d · x_d) mod K, with μ_d and σ_d (coprime to K) functions of the elements of lower rank. Every
layer is a permutation of the K^D vectors, so log P(x) = log P(latents), and the latents' distribution is a
product over elements. All elements of different ranks: autoregressive; two ranks: bipartite.

Vectors are one-hot. μ and σ are one-hot by argmax, with the gradient of softmax(logits / τ): straight
through.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from vflow.nn.masked import MaskedLinear
from vflow.nn.modules import ModuleList

TEMPERATURE = 0.1  # τ of the paper


def straight_through_one_hot(logits: Tensor) -> Tensor:
    """One-hots of the largest of ``logits`` along the last axis, with the gradient of softmax(logits / τ)."""
    soft = torch.softmax(logits / TEMPERATURE, -1)
    hard = functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(soft.dtype)
    return hard + soft - soft.detach()


def add_modulo(a: Tensor, b: Tensor) -> Tensor:
    """One-hots of (a + b) mod K of one-hots (..., K): a circular convolution."""
    classes = a.shape[-1]
    index = torch.arange(classes, device=a.device)
    return torch.einsum("...m,...km->...k", b, a[..., (index[:, None] - index) % classes])


@final
class ModuloLayer(nn.Module):
    """y = (μ + σx) mod K, where μ and σ of an element depend on elements of lower rank.

    Args:
        ranks: of the D elements, from 0 on; an element of rank 0 is given a constant.
        classes: K.
        hidden: width of the network's hidden layer.
    """

    def __init__(self, ranks: Sequence[int], classes: int, hidden: int) -> None:
        super().__init__()
        self.ranks, self.classes = tuple(ranks), classes
        self.scales = [scale for scale in range(1, classes) if math.gcd(scale, classes) == 1] or [1]
        rank = torch.tensor(ranks)
        degree = torch.arange(hidden) % max(1, int(rank.max()))
        outputs = classes + len(self.scales)
        first = degree[:, None] >= rank.repeat_interleave(classes)[None]
        last = rank.repeat_interleave(outputs)[:, None] > degree[None]
        self.first, self.last = MaskedLinear(first[None]), MaskedLinear(last[None])

    def parameters_of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """One-hots of μ (B, D, K) and of σ (B, D, S) given one-hots (B, D, K)."""
        h = self.last(torch.relu(self.first(x.flatten(1)))).unflatten(1, (len(self.ranks), -1))
        location, scale = h.split([self.classes, len(self.scales)], -1)
        return straight_through_one_hot(location), straight_through_one_hot(scale)

    def forward(self, x: Tensor) -> Tensor:
        """One-hots (B, D, K) → latents (B, D, K)."""
        location, scale = self.parameters_of(x)
        return add_modulo(self._multiply(x, scale, self.scales), location)

    @torch.no_grad()
    def inverse(self, y: Tensor) -> Tensor:
        """Latents (B, D, K) → the one-hots they are of, in as many passes as there are ranks."""
        x = torch.zeros_like(y)
        inverses = [pow(scale, -1, self.classes) for scale in self.scales]
        for rank in sorted(set(self.ranks)):
            location, scale = self.parameters_of(x)
            minus = location[..., (-torch.arange(self.classes, device=y.device)) % self.classes]
            found = self._multiply(add_modulo(y, minus), scale, inverses)
            now = torch.tensor([r == rank for r in self.ranks], device=y.device)
            x = torch.where(now[:, None], found, x)
        return x

    def _multiply(self, x: Tensor, scale: Tensor, factors: Sequence[int]) -> Tensor:
        """One-hots of σ·x mod K, σ the one of ``factors`` that ``scale`` picks."""
        index = torch.arange(self.classes, device=x.device)
        products = [x[..., index * pow(factor, -1, self.classes) % self.classes] for factor in factors]
        return torch.einsum("...s,...sk->...k", scale, torch.stack(products, -2))


@final
class DiscreteFlow(nn.Module):
    """Modulo layers, then a product of categorical distributions.

    Args:
        layers: ranks of the elements in each layer, see ``ModuloLayer``; none: the product alone.
    """

    def __init__(self, dim: int, classes: int, layers: Sequence[Sequence[int]], hidden: int = 32) -> None:
        super().__init__()
        self.classes = classes
        self.layers = ModuleList([ModuloLayer(ranks, classes, hidden) for ranks in layers])
        self.logits = nn.Parameter(torch.zeros(dim, classes))

    def forward(self, x: Tensor) -> Tensor:
        """log P (B,), nats, of vectors x, int64 (B, D) in 0 … K − 1."""
        return (self._latents(x) * torch.log_softmax(self.logits, -1)).sum((1, 2))

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Latents, int64 (B, D)."""
        return self._latents(x).argmax(-1)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Inverse of ``encode``, int64 (B, D)."""
        x = functional.one_hot(z, self.classes).to(self.logits.dtype)
        for layer in reversed(self.layers):
            x = layer.inverse(x)
        return x.argmax(-1)

    @torch.no_grad()
    def sample(self, uniform: Tensor) -> Tensor:
        """Vectors, int64 (B, D), of noise (B, D) in (0, 1)."""
        below = torch.softmax(self.logits, -1).cumsum(-1)
        z = (below < uniform[..., None]).sum(-1).clamp_max(self.classes - 1)
        return self.decode(z)

    def _latents(self, x: Tensor) -> Tensor:
        """One-hots of the latents, (B, D, K)."""
        z = functional.one_hot(x, self.classes).to(self.logits.dtype)
        for layer in self.layers:
            z = layer(z)
        return z


def autoregressive_ranks(dim: int, layers: int) -> list[list[int]]:
    """Ranks of autoregressive layers, in turn from the first and from the last element on."""
    forward = list(range(dim))
    return [forward if layer % 2 == 0 else forward[::-1] for layer in range(layers)]


def bipartite_ranks(dim: int, layers: int) -> list[list[int]]:
    """Ranks of bipartite layers: even elements given odd ones and the reverse, in turn."""
    return [[(element + layer) % 2 for element in range(dim)] for layer in range(layers)]
