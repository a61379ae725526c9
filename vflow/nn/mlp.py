"""Fully connected networks on vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.nn.modules import ModuleList

Activation = Literal["relu", "tanh", "elu", "silu"]
# of a layer's output, which nothing else reads: in place where the gradient needs only the result
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "tanh": torch.tanh_,
    "elu": F.elu,
    "silu": F.silu,
}


def periodic_features(x: Tensor) -> Tensor:
    """(cos x, sin x) of angles (B, D): (B, 2D), equal for angles that differ by 2π."""
    return torch.cat([x.cos(), x.sin()], 1)


@final
class MLP(nn.Module):
    """Fully connected network (B, inputs) → (B, outputs) whose last layer starts at zero.

    Args:
        inputs: D of the input.
        outputs: D of the output.
        hidden: widths of the hidden layers.
        activation: after each hidden layer.
        features: F of a context (B, F) that joins the input; 0 for none.
        weight_norm: weights w = g · v / ‖v‖ in hidden layers (Salimans & Kingma 2016).
        residual: every hidden layer after the first adds to its input; widths must be equal.
        periodic: inputs are angles, seen as cosines and sines.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int],
        *,
        activation: Activation = "relu",
        features: int = 0,
        weight_norm: bool = False,
        residual: bool = False,
        periodic: bool = False,
    ) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.residual, self.periodic = residual, periodic
        widths = [inputs * (2 if periodic else 1) + features, *hidden]
        layers = [nn.Linear(n, m) for n, m in pairwise(widths)]
        if weight_norm:
            layers = [nn.utils.parametrizations.weight_norm(layer) for layer in layers]
        self.hidden = ModuleList(layers)
        self.linear_out = nn.Linear(widths[-1], outputs)
        nn.init.zeros_(self.linear_out.weight)
        nn.init.zeros_(self.linear_out.bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if self.periodic:
            x = periodic_features(x)
        h = x if context is None else torch.cat([x, context], 1)
        for index, layer in enumerate(self.hidden):
            change = self.activation(layer(h))
            h = h + change if self.residual and index else change
        return self.linear_out(h)


@final
class VectorConditioner(nn.Module):
    """An ``MLP`` on vectors stored as images (B, D, 1, 1): what couplings expect of their network."""

    def __init__(self, mlp: MLP) -> None:
        super().__init__()
        self.mlp = mlp

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.mlp(x.flatten(1), None if context is None else context.flatten(1))[:, :, None, None]
