"""Every bijection of images by name, with an input shape and a context, and the fixture over all maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.bijections.support import BATCH, FEATURES, Case
from tests.bijections.vectors import VECTORS
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


IMAGES: dict[str, Case] = {
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
CASES = {**IMAGES, **VECTORS}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    """One map after the other."""
    return request.param
