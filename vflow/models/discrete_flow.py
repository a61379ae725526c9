"""Discrete flow: vectors of K classes to latents of K classes, modulo K (Tran et al. 2019).

y_d = (μ_d + σ_d · x_d) mod K, with μ_d and σ_d (coprime to K) functions of the elements of lower rank, and of
a condition. Every layer is a permutation of the K^D vectors, so log P(x) = log P(latents) under a base. All
elements of different ranks: autoregressive; two ranks: bipartite.

Vectors are one-hot. μ and σ are one-hot by argmax, with the gradient of softmax(logits / τ): straight
through. Conditions are sequences of symbols, one an element.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from vflow.nn.masked import MaskedLinear
from vflow.nn.modules import ModuleList

Context = Tensor | None

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


def coprime(classes: int) -> list[int]:
    """Scales that have an inverse modulo ``classes``, from 1 on."""
    return [scale for scale in range(1, classes) if math.gcd(scale, classes) == 1] or [1]


class ParameterNet(nn.Module, ABC):
    """Network that gives logits of an element's μ and σ from elements of lower rank.

    Args:
        ranks: of the D elements, from 0 on.
        classes: K.
    """

    def __init__(self, ranks: Sequence[int], classes: int) -> None:
        super().__init__()
        self.ranks, self.classes = tuple(ranks), classes
        self.outputs = classes + len(coprime(classes))

    @abstractmethod
    def forward(self, x: Tensor, context: Context) -> Tensor:
        """One-hots (B, D, K) and symbols, int64 (B, D), → logits (B, D, outputs)."""


@final
class MaskedNet(ParameterNet):
    """Masked network with one hidden layer and no condition; elements of rank 0 are given a constant."""

    def __init__(self, ranks: Sequence[int], classes: int, hidden: int) -> None:
        super().__init__(ranks, classes)
        rank = torch.tensor(ranks)
        degree = torch.arange(hidden) % max(1, int(rank.max()))
        first = degree[:, None] >= rank.repeat_interleave(classes)[None]
        last = rank.repeat_interleave(self.outputs)[:, None] > degree[None]
        self.first, self.last = MaskedLinear(first[None]), MaskedLinear(last[None])

    def forward(self, x: Tensor, context: Context) -> Tensor:
        h: Tensor = self.last(torch.relu(self.first(x.flatten(1))))
        return h.unflatten(1, (len(self.ranks), -1))


@final
class CausalLSTM(ParameterNet):
    """LSTM from right to left: an element sees those to its right, and the symbols from its own on.

    Args:
        dim: D.
        symbols: number of them in a condition's alphabet.
    """

    def __init__(self, dim: int, classes: int, symbols: int, hidden: int) -> None:
        super().__init__(range(dim)[::-1], classes)
        self.symbol = nn.Embedding(symbols, hidden)
        self.lstm = nn.LSTM(classes + hidden, hidden, batch_first=True)
        self.last = nn.Linear(hidden, self.outputs)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        right = functional.pad(x, (0, 0, 0, 1))[:, 1:]
        h, _ = self.lstm(torch.cat([right, self.symbol(context)], -1).flip(1))
        logits: Tensor = self.last(h.flip(1))
        return logits


@final
class BipartiteLSTM(ParameterNet):
    """LSTMs both ways over symbols and the elements of rank 0, which stay; μ and σ are those of rank 1."""

    def __init__(self, ranks: Sequence[int], classes: int, symbols: int, hidden: int) -> None:
        super().__init__(ranks, classes)
        self.symbol = nn.Embedding(symbols, hidden)
        self.lstm = nn.LSTM(classes + hidden, hidden // 2, batch_first=True, bidirectional=True)
        self.last = nn.Linear(2 * (hidden // 2), self.outputs)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        changed = x.new_tensor(self.ranks)[:, None]
        h, _ = self.lstm(torch.cat([x * (1 - changed), self.symbol(context)], -1))
        logits: Tensor = self.last(h)
        return logits * changed  # all logits alike where nothing changes


@final
class ModuloLayer(nn.Module):
    """y = (μ + σx) mod K, where μ and σ of an element are ``net``'s, of elements of lower rank."""

    def __init__(self, net: ParameterNet) -> None:
        super().__init__()
        self.net, self.classes, self.scales = net, net.classes, coprime(net.classes)

    def parameters_of(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        """One-hots of μ (B, D, K) and of σ (B, D, S) given one-hots (B, D, K)."""
        location, scale = self.net(x, context).split([self.classes, len(self.scales)], -1)
        return straight_through_one_hot(location), straight_through_one_hot(scale)

    def forward(self, x: Tensor, context: Context = None) -> Tensor:
        """One-hots (B, D, K) → latents (B, D, K)."""
        location, scale = self.parameters_of(x, context)
        return add_modulo(self._multiply(x, scale, self.scales), location)

    @torch.no_grad()
    def inverse(self, y: Tensor, context: Context = None) -> Tensor:
        """Latents (B, D, K) → one-hots (B, D, K), in one pass per rank."""
        x = torch.zeros_like(y)
        inverses = [pow(scale, -1, self.classes) for scale in self.scales]
        for rank in sorted(set(self.net.ranks)):
            location, scale = self.parameters_of(x, context)
            minus = location[..., (-torch.arange(self.classes, device=y.device)) % self.classes]
            found = self._multiply(add_modulo(y, minus), scale, inverses)
            now = torch.tensor([r == rank for r in self.net.ranks], device=y.device)
            x = torch.where(now[:, None], found, x)
        return x

    def _multiply(self, x: Tensor, scale: Tensor, factors: Sequence[int]) -> Tensor:
        """One-hots of σ·x mod K, σ the one of ``factors`` that ``scale`` picks."""
        index = torch.arange(self.classes, device=x.device)
        products = [x[..., index * pow(factor, -1, self.classes) % self.classes] for factor in factors]
        return torch.einsum("...s,...sk->...k", scale, torch.stack(products, -2))


class DiscreteBase(nn.Module, ABC):
    """Distribution of latents, given the condition."""

    classes: int

    @abstractmethod
    def forward(self, z: Tensor, context: Context) -> Tensor:
        """log P of each class at each element given the elements before it, (B, D, K), of one-hots z."""

    def log_probability(self, z: Tensor, context: Context) -> Tensor:
        """log P (B,), nats, of one-hots (B, D, K)."""
        nats: Tensor = (z * self(z, context)).sum((1, 2))
        return nats

    @torch.no_grad()
    def sample(self, uniform: Tensor, context: Context) -> Tensor:
        """Latents, int64 (B, D), of noise (B, D) in (0, 1), in D passes."""
        z = torch.zeros(uniform.shape, dtype=torch.int64, device=uniform.device)
        for element in range(uniform.shape[1]):
            below = self(functional.one_hot(z, self.classes).float(), context)[:, element].exp().cumsum(-1)
            z[:, element] = (below < uniform[:, element, None]).sum(-1).clamp_max(self.classes - 1)
        return z


@final
class CategoricalBase(DiscreteBase):
    """Product of categorical distributions; conditions are ignored."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.logits = nn.Parameter(torch.zeros(dim, classes))

    def forward(self, z: Tensor, context: Context) -> Tensor:
        return torch.log_softmax(self.logits, -1).expand(len(z), -1, -1)


@final
class ZeroInflatedBase(DiscreteBase):
    """Product of distributions with a mass at 0 and all other classes alike; conditions are ignored.

    For vectors that their condition decides: a base that could learn two classes to be likely would leave the
    layers between them nothing to gain.
    """

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.logit = nn.Parameter(torch.zeros(dim))

    def forward(self, z: Tensor, context: Context) -> Tensor:
        zero = functional.logsigmoid(self.logit)[:, None]
        others = functional.logsigmoid(-self.logit)[:, None] - math.log(self.classes - 1)
        return torch.cat([zero, others.expand(-1, self.classes - 1)], 1).expand(len(z), -1, -1)


@final
class LSTMBase(DiscreteBase):
    """LSTM from left to right over latents and symbols: an element sees those up to its own.

    ``encode``: it starts in the last state of another LSTM, which has read all symbols.
    """

    def __init__(self, classes: int, symbols: int, hidden: int, *, encode: bool) -> None:
        super().__init__()
        self.classes = classes
        self.symbol = nn.Embedding(symbols, hidden)
        self.encoder = nn.LSTM(hidden, hidden, batch_first=True) if encode else None
        self.decoder = nn.LSTM(classes + hidden, hidden, batch_first=True)
        self.last = nn.Linear(hidden, classes)

    def forward(self, z: Tensor, context: Context) -> Tensor:
        symbols = self.symbol(context)
        state = self.encoder(symbols)[1] if self.encoder else None
        left = functional.pad(z, (0, 0, 1, 0))[:, :-1]
        h, _ = self.decoder(torch.cat([left, symbols], -1), state)
        return torch.log_softmax(self.last(h), -1)


@final
class DiscreteFlow(nn.Module):
    """Modulo layers, then a base; without layers the base alone."""

    def __init__(self, base: DiscreteBase, layers: Sequence[ModuloLayer] = ()) -> None:
        super().__init__()
        self.base, self.layers = base, ModuleList(layers)

    def forward(self, x: Tensor, context: Context = None) -> Tensor:
        """log P (B,), nats, of vectors x, int64 (B, D) in 0 … K − 1, given symbols, int64 (B, D)."""
        return self.base.log_probability(self._latents(x, context), context)

    @torch.no_grad()
    def encode(self, x: Tensor, context: Context = None) -> Tensor:
        """Latents, int64 (B, D)."""
        return self._latents(x, context).argmax(-1)

    @torch.no_grad()
    def decode(self, z: Tensor, context: Context = None) -> Tensor:
        """Inverse of ``encode``, int64 (B, D)."""
        x = functional.one_hot(z, self.base.classes).float()
        for layer in reversed(self.layers):
            x = layer.inverse(x, context)
        return x.argmax(-1)

    @torch.no_grad()
    def sample(self, uniform: Tensor, context: Context = None) -> Tensor:
        """Vectors, int64 (B, D), of noise (B, D) in (0, 1)."""
        return self.decode(self.base.sample(uniform, context), context)

    def _latents(self, x: Tensor, context: Context) -> Tensor:
        """One-hots of the latents, (B, D, K)."""
        z = functional.one_hot(x, self.base.classes).float()
        for layer in self.layers:
            z = layer(z, context)
        return z


def masked_flow(dim: int, classes: int, layers: Sequence[Sequence[int]], hidden: int = 32) -> DiscreteFlow:
    """Flow of vectors without a condition: masked networks, and a product as the base.

    Args:
        layers: ranks of the elements in each layer; none: the product alone.
    """
    nets = [MaskedNet(ranks, classes, hidden) for ranks in layers]
    return DiscreteFlow(CategoricalBase(dim, classes), [ModuloLayer(net) for net in nets])


def autoregressive_ranks(dim: int, layers: int) -> list[list[int]]:
    """Ranks of autoregressive layers, in turn from the first and from the last element on."""
    forward = list(range(dim))
    return [forward if layer % 2 == 0 else forward[::-1] for layer in range(layers)]


def bipartite_ranks(dim: int, layers: int) -> list[list[int]]:
    """Ranks of bipartite layers: even elements given odd ones and the reverse, in turn."""
    return [[(element + layer) % 2 for element in range(dim)] for layer in range(layers)]
