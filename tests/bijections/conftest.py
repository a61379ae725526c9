"""Every bijection by name, with an input shape and a context: what the parametrised tests run over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from vflow.bijections import (
    ActNorm,
    ActNormLinear,
    AdditiveCoupling,
    AffineCoupling,
    Bijection,
    Chain,
    ChannelPartition,
    CheckerboardPartition,
    Haar,
    HistogramMap,
    Inverse,
    Invertible1x1,
    MixtureCoupling,
    Squeeze,
)
from vflow.bijections.conditional import ConditionalAffine
from vflow.bijections.integer_haar import IntegerHaar
from vflow.bijections.pixel_map import PerPixelHistogram, Scaled
from vflow.bijections.tarflow import Patches, TransformerBlock, TransformerSize
from vflow.nn.layers import Conditioner

BATCH, FEATURES = 2, 2


@dataclass(frozen=True)
class Case:
    """One bijection: how to build it, the shape it takes, and what its context looks like.

    ``local``: output position (h, w) belongs to input position (h, w), and its density is its own.
    """

    build: Callable[[], Bijection]
    shape: tuple[int, int, int]
    inputs: Callable[[tuple[int, ...]], Tensor] = torch.randn
    context: Callable[[], Tensor] | None = None
    local: bool = True

    def example(self, dtype: torch.dtype = torch.float64) -> tuple[Bijection, Tensor, Tensor | None]:
        """A map away from its starting point, an input (B, C, H, W) and a context."""
        bijection = perturb(self.build()).to(dtype)
        context = None if self.context is None else self.context().to(dtype)
        return bijection, self.inputs((BATCH, *self.shape)).to(dtype), context


@torch.no_grad()
def perturb(module: Bijection) -> Bijection:
    """Move every parameter off its initial value: with zero-initialised layers a test sees the identity."""
    for parameter in module.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    for name, buffer in module.named_buffers():
        if name.split(".")[-1] == "initialized":  # else the first step would set what was moved
            buffer.fill_(True)
    return module


def grey_levels(shape: tuple[int, ...]) -> Tensor:
    """Values in (0, 256), clear of the edges of their bins."""
    return torch.randint(256, shape) + 0.05 + 0.9 * torch.rand(shape)


def histogram(rows: int) -> HistogramMap:
    bijection = HistogramMap(2, rows)
    bijection.set_counts(torch.randint(1000, (2, rows, 256)) * (torch.rand(2, rows, 256) < 0.5), exponent=0.5)
    return bijection


def positions() -> PerPixelHistogram:
    bijection = PerPixelHistogram(2, 4, 4)
    bijection.fit([(torch.randint(256, (20, 2, 4, 4)), None)])
    return bijection


def mixture(net: Conditioner, partition: Any) -> MixtureCoupling:
    return MixtureCoupling(net, partition, 2)


COUPLINGS: dict[str, tuple[Callable[..., Bijection], int]] = {
    "affine": (AffineCoupling, 2),
    "additive": (AdditiveCoupling, 1),
    "mixture": (mixture, MixtureCoupling.parameters_per_channel(2)),
}


def coupling(kind: str, checkerboard: bool, features: int) -> Bijection:
    make, parameters = COUPLINGS[kind]
    kept = 3 if checkerboard else 2
    changed = 3 - (0 if checkerboard else kept)
    partition = CheckerboardPartition() if checkerboard else ChannelPartition()
    return make(Conditioner(kept, changed * parameters, 6, "gatu", features), partition)


def coupling_case(kind: str, checkerboard: bool, features: int) -> Case:
    size = (4, 2) if checkerboard else (4, 4)
    context = (lambda: torch.randn(BATCH, features, *size)) if features else None
    return Case(lambda: coupling(kind, checkerboard, features), (3, 4, 4), context=context)


def chain() -> Chain:
    """Grids that change on the way, and a coupling at the end."""
    return Chain([ActNorm(1), Squeeze(), ActNormLinear(4), Haar(4), Invertible1x1(16)])


CASES: dict[str, Case] = {
    "actnorm": Case(lambda: ActNorm(3), (3, 4, 2)),
    "invertible-1x1": Case(lambda: Invertible1x1(4), (4, 2, 4)),
    "actnorm-linear": Case(lambda: ActNormLinear(4), (4, 2, 4)),
    "squeeze": Case(Squeeze, (2, 4, 6), local=False),
    "patches": Case(lambda: Patches(2), (2, 4, 6), local=False),
    "transformer-block": Case(
        lambda: TransformerBlock((3, 2, 3), TransformerSize(6, 2, 2), offsets=(1, 3), reverse=True), (3, 2, 3)
    ),
    "transformer-block-context": Case(
        lambda: TransformerBlock((4, 2, 2), TransformerSize(6, 1, 2, 0), token=2, features=FEATURES),
        (4, 2, 2),
        context=lambda: torch.randn(BATCH, FEATURES, 2, 2),
    ),
    "haar": Case(lambda: Haar(2), (2, 4, 6), local=False),
    "integer-haar": Case(lambda: IntegerHaar(2), (2, 4, 8), grey_levels, local=False),
    "histogram-map": Case(lambda: histogram(1), (2, 4, 4), grey_levels),
    "conditional-histogram-map": Case(
        lambda: histogram(256), (2, 4, 4), grey_levels, lambda: torch.randint(256, (BATCH, 2, 4, 4))
    ),
    "scaled": Case(Scaled, (2, 4, 4), grey_levels),
    "positions": Case(positions, (2, 4, 4), grey_levels),
    "conditional-affine": Case(
        lambda: ConditionalAffine(3, FEATURES), (3, 4, 4), context=lambda: torch.randn(BATCH, FEATURES, 4, 4)
    ),
    "chain": Case(chain, (1, 4, 8), local=False),
    "inverse-actnorm": Case(lambda: Inverse(ActNorm(3)), (3, 4, 2)),
    "inverse-affine-channel-context": Case(
        lambda: Inverse(coupling("affine", False, FEATURES)),
        (3, 4, 4),
        context=lambda: torch.randn(BATCH, FEATURES, 4, 4),
    ),
    "inverse-squeeze": Case(lambda: Inverse(Squeeze()), (8, 2, 3), local=False),
    "inverse-chain": Case(lambda: Inverse(chain()), (16, 1, 2), local=False),
    **{
        f"{name}-{'checkerboard' if board else 'channel'}{'-context' if features else ''}": coupling_case(
            name, board, features
        )
        for name in COUPLINGS
        for board in (False, True)
        for features in (0, FEATURES)
    },
}


def fixture(keep: Callable[[str, Case], bool], doc: str) -> Any:
    """A fixture that runs a test over the entries that ``keep`` picks."""
    kept = {name: case for name, case in CASES.items() if keep(name, case)}

    def entry(request: pytest.FixtureRequest) -> Case:
        return request.param

    entry.__doc__ = doc
    return pytest.fixture(params=kept.values(), ids=kept.keys())(entry)


case = fixture(lambda name, case: True, "One entry of the registry after the other.")
local_case = fixture(lambda name, case: case.local, "Entries whose densities belong to single positions.")
trained_case = fixture(lambda name, case: bool(list(case.build().parameters())), "Entries with parameters.")
guided_case = fixture(lambda name, case: case.context is not None, "Entries that depend on their context.")
free_case = fixture(
    lambda name, case: case.context is None and not any(kind in name for kind in COUPLINGS),
    "Entries that have no use for a context.",
)
