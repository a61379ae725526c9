"""Masked networks: outputs of each element depend on earlier elements alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.nn.mlp import ACTIVATIONS, Activation, periodic_features
from vflow.nn.modules import ModuleList


@final
class MaskedLinear(nn.Module):
    """Linear layer whose weight is multiplied by a fixed mask, one of several.

    Args:
        mask: bool (M, outputs, inputs).
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        _, outputs, inputs = mask.shape
        self.linear = nn.Linear(inputs, outputs)
        self.register_buffer("mask", mask, persistent=False)

    def masked_weight(self, index: int = 0) -> Tensor:
        """The weight (outputs, inputs) under mask number ``index``."""
        return self.linear.weight * self.mask[index]

    def forward(self, x: Tensor, index: int = 0) -> Tensor:
        return F.linear(x, self.masked_weight(index), self.linear.bias)


class AutoregressiveNet(nn.Module, ABC):
    """Network whose outputs for element i depend on the elements of lower rank, and on a context.

    Attributes:
        order: rank of each element, int64 (D,).
        count: outputs per element.
    """

    order: Tensor
    count: int
    context_in: nn.Linear | None

    @abstractmethod
    def prepare(self, context: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        """The network given ``context`` (B, F), for many calls: x (B, D) → outputs (B, D, count)."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """x (B, D) and context (B, F) or None → outputs (B, D, count)."""
        return self.prepare(context)(x)

    def _projected(self, context: Tensor | None) -> Tensor | None:
        """Term of the context in the first layer; None: the network takes no context."""
        if self.context_in is None:
            return None
        if context is None:
            raise ValueError("this network is conditional: pass its context")
        added: Tensor = self.context_in(context)
        return added


class Masking(NamedTuple):
    """Number of masks of a network, and the degrees of their hidden units.

    masks: their number. More than one: each has a random order and random degrees, from a fixed seed
        (Germain et al. 2015, sections 4.2, 4.3).
    degrees: of one mask whose units are fewer than the degrees: "spread" over all of these, or "cyclic", the
        lowest.
    """

    masks: int = 1
    degrees: Literal["cyclic", "spread"] = "spread"


SPREAD = Masking()
"""One mask, whose units read all elements."""


@final
class MADE(AutoregressiveNet):
    """Masked autoencoder for distribution estimation (Germain et al. 2015).

    Each hidden unit has a degree d and is connected to what has rank ≤ d; the outputs of an element of rank
    r are connected to hidden units of degree < r. So the outputs of element i depend on elements of lower
    rank only. The context (B, F) reaches all units. The last layer starts at zero.

    Of fewer units than D − 1 (D with a context) an output cannot depend on all elements before it. Where
    their degrees are spread, from two units on (three with a context), all elements but the last are read.

    Args:
        dim: D.
        count: outputs per element.
        hidden: widths of the hidden layers.
        order: rank 0 … D − 1 of each element; by default its index.
        features: F of the context; 0 for none.
        activation: after each hidden layer.
        periodic: elements are angles, seen as cosines and sines.
        masking: number of masks, and degrees of hidden units.

    Attributes:
        orders: rank of each element under each mask, int64 (M, D).

    Raises:
        ValueError: ``order`` is no permutation, or is given together with several masks.
    """

    orders: Tensor

    def __init__(
        self,
        dim: int,
        count: int,
        hidden: Sequence[int],
        *,
        order: Sequence[int] | None = None,
        features: int = 0,
        activation: Activation = "relu",
        periodic: bool = False,
        masking: Masking = SPREAD,
    ) -> None:
        super().__init__()
        if order is not None and (sorted(order) != list(range(dim)) or masking.masks > 1):
            raise ValueError("order must be a permutation of 0 … D − 1, and needs a single mask")
        self.dim, self.count, self.masks, self.periodic = dim, count, masking.masks, periodic
        self.activation = ACTIVATIONS[activation]
        ranks = torch.arange(dim)[None] if order is None else torch.tensor(order)[None]
        random = torch.Generator().manual_seed(0)
        if masking.masks > 1:
            ranks = torch.stack([torch.randperm(dim, generator=random) for _ in range(masking.masks)])
        self.register_buffer("orders", ranks, persistent=False)
        self.register_buffer("order", ranks[0], persistent=False)

        lowest = -1 if features else 0  # units of degree −1 see the context alone
        number = max(dim - 1, 1) - lowest
        below = torch.cat([ranks, ranks], 1) if periodic else ranks
        layers = []
        for width in hidden:
            degree = lowest + _degrees(width, number, masking, random)
            layers.append(MaskedLinear(degree[:, :, None] >= below[:, None, :]))
            below = degree
        self.hidden = ModuleList(layers)
        last = ranks[:, :, None] > below[:, None, :]
        self.linear_out = MaskedLinear(last.repeat(1, count, 1))
        nn.init.zeros_(self.linear_out.linear.weight)
        nn.init.zeros_(self.linear_out.linear.bias)
        first = hidden[0] if hidden else dim * count
        self.context_in = nn.Linear(features, first, bias=False) if features else None

    def prepare(self, context: Tensor | None = None, mask: int = 0) -> Callable[[Tensor], Tensor]:
        """The network given ``context`` under mask number ``mask``, for many calls."""
        layers = [*self.hidden, self.linear_out]
        weights = [(layer.masked_weight(mask), layer.linear.bias) for layer in layers]
        added = self._projected(context)

        def run(x: Tensor) -> Tensor:
            h = periodic_features(x) if self.periodic else x
            for index, (weight, bias) in enumerate(weights):
                h = F.linear(h if index == 0 else self.activation(h), weight, bias)
                if index == 0 and added is not None:
                    h = h + added
            return h.unflatten(1, (self.count, self.dim)).transpose(1, 2)

        return run


def _degrees(width: int, number: int, masking: Masking, random: torch.Generator) -> Tensor:
    """Degrees 0 … ``number`` − 1 of the units of a hidden layer under each mask, int64 (M, width)."""
    if masking.masks > 1:
        return torch.randint(number, (masking.masks, width), generator=random)
    if width < number and masking.degrees == "spread":
        return torch.linspace(0, number - 1, width).round().long()[None]
    return (torch.arange(width) % number)[None]


@final
class TiedAutoregressiveNet(AutoregressiveNet):
    """The network of RNADE: one hidden layer whose weights all elements share (Uria et al. 2013, section 2).

    a_1 = c, a_{d+1} = a_d + x_d W_{·,d}; h_d = relu(ρ_d a_d); outputs of element d are V_d h_d + b_d. The
    learned ρ_d keeps the activations' size as more terms join the sum. Elements keep their order.

    Args:
        dim: D.
        count: outputs per element.
        hidden: width of the hidden layer.
        features: F of a context (B, F) that is added to c; 0 for none.
    """

    def __init__(self, dim: int, count: int, hidden: int, *, features: int = 0) -> None:
        super().__init__()
        self.count = count
        self.register_buffer("order", torch.arange(dim), persistent=False)
        self.weight_in = nn.Parameter(torch.randn(dim, hidden) / dim**0.5)
        self.bias_in = nn.Parameter(0.5 * torch.randn(hidden))
        self.scale = nn.Parameter(torch.ones(dim))
        self.weight_out = nn.Parameter(torch.zeros(dim, count, hidden))
        self.bias_out = nn.Parameter(torch.zeros(dim, count))
        self.context_in = nn.Linear(features, hidden, bias=False) if features else None

    def prepare(self, context: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        added = self._projected(context)

        def run(x: Tensor) -> Tensor:
            terms = x[:, :, None] * self.weight_in
            activation = self.bias_in + terms.cumsum(1) - terms
            if added is not None:
                activation = activation + added[:, None]
            h = F.relu(self.scale[:, None] * activation)
            return torch.einsum("bdh,dch->bdc", h, self.weight_out) + self.bias_out

        return run
