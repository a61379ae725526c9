"""Discrete flow: location-scale maps modulo K, from vectors of classes to independent ones (Tran 2019)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from vflow.bijections.discrete import (
    AutoregressiveMap,
    BipartiteMap,
    DiscreteMap,
    LocationScale,
    Reversal,
)
from vflow.config import Config
from vflow.nn.modules import ModuleList


class DiscreteFlowConfig(Config):
    """Discrete flow of D classes out of K."""

    kind: Literal["discrete_flow"] = "discrete_flow"
    size: int = Field(2, ge=1, le=4096, description="positions D")
    classes: int = Field(2, ge=2, le=1024, description="classes K of each")
    maps: Literal["bipartite", "autoregressive", "none"] = "bipartite"
    depth: int = Field(4, ge=1, le=64)
    hidden: int = Field(64, ge=1, le=4096)
    scaled: bool = Field(False, description="a scale beside the location; it must be coprime to K")


@final
class MaskedNet(nn.Module):
    """MLP in which the outputs of a position see earlier positions alone (MADE, Germain et al. 2015)."""

    def __init__(self, size: int, inputs: int, outputs: int, hidden: int) -> None:
        super().__init__()
        widths = [size * inputs, hidden, hidden, size * outputs]
        self.layers = ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise(widths)])
        degree = torch.arange(hidden) % max(1, size - 1)  # a unit sees the positions 0 … degree
        position = torch.arange(size)
        masks = (
            position.repeat_interleave(inputs) <= degree[:, None],
            degree <= degree[:, None],
            degree < position.repeat_interleave(outputs)[:, None],
        )
        for index, mask in enumerate(masks):
            self.register_buffer(f"mask{index}", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D · inputs) → (B, D · outputs)."""
        for index, layer in enumerate(self.layers):
            x = functional.linear(x, layer.weight * self.get_buffer(f"mask{index}"), layer.bias)
            if index < len(self.layers) - 1:
                x = torch.relu(x)
        return x


def _mlp(inputs: int, outputs: int, hidden: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


@final
class DiscreteFlow(nn.Module):
    """log p(x) = Σ log p_d(y_d), y = f(x): a permutation of the K^D vectors, then independent classes."""

    def __init__(self, config: DiscreteFlowConfig, maps: Sequence[DiscreteMap] | None = None) -> None:
        super().__init__()
        self.config = config
        self.maps = ModuleList(list(self._maps(config) if maps is None else maps))
        self.base = nn.Parameter(torch.zeros(config.size, config.classes))

    @staticmethod
    def _maps(config: DiscreteFlowConfig) -> list[DiscreteMap]:
        size, classes, hidden = config.size, config.classes, config.hidden
        element = LocationScale(classes, config.scaled)
        made: list[DiscreteMap] = []
        for index in range(config.depth if config.maps != "none" else 0):
            if config.maps == "autoregressive":
                made += [
                    AutoregressiveMap(MaskedNet(size, classes, element.outputs, hidden), element),
                    Reversal(),
                ]
            else:
                changed = torch.arange(size) % 2 == index % 2
                made.append(
                    BipartiteMap(_mlp(size * classes, size * element.outputs, hidden), element, changed)
                )
        return made

    def encode(self, x: Tensor) -> Tensor:
        """Classes (B, D), int64, to latents as one-hots (B, D, K)."""
        y = functional.one_hot(x, self.config.classes).to(self.base.dtype)
        for layer in self.maps:
            y = layer(y)
        return y

    def decode(self, y: Tensor) -> Tensor:
        """Latent classes (B, D), int64, to classes (B, D)."""
        x = functional.one_hot(y, self.config.classes).to(self.base.dtype)
        for layer in reversed(self.maps):
            x = layer.inverse(x)
        return x.argmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        """log p (B,), nats, of classes (B, D), int64."""
        return (self.encode(x) * torch.log_softmax(self.base, -1)).sum((1, 2))

    def sample(self, uniform: Tensor) -> Tensor:
        """Classes (B, D) from noise in (0, 1), (B, D)."""
        cumulative = torch.softmax(self.base, -1).cumsum(-1)
        y = (cumulative < uniform[..., None]).sum(-1).clamp_max(self.config.classes - 1)
        return self.decode(y)


def fit(
    model: nn.Module, examples: Tensor, *, steps: int, batch_size: int = 256, rate: float = 1e-2
) -> float:
    """Train on classes (N, D) by Adam; returns the mean nats of an example at the end, over all of them."""
    optimizer = torch.optim.Adam(model.parameters(), rate)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        batch = examples[torch.randint(len(examples), (batch_size,), generator=generator)]
        loss = -model(batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return -float(model(examples).mean())
