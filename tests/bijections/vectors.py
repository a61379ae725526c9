"""Every bijection of vectors (B, D, 1, 1) by name: what the tests of the contract run over."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from examples.vae import GaussianCopula
from tests.bijections.support import BATCH, FEATURES, Case
from vflow.bijections import ActNorm, Bijection, Chain, Inverse
from vflow.bijections.autoregressive import Autoregressive, ElementCoupling, Elementwise
from vflow.bijections.batchnorm import BatchNorm
from vflow.bijections.bumps import RadialBumps
from vflow.bijections.circle import MobiusSum
from vflow.bijections.element import Affine, Element, Gated, MixtureLogit, Scale, Shift
from vflow.bijections.marginals import ParetoMarginals
from vflow.bijections.monotone import MonotoneNetwork
from vflow.bijections.permutation import MaskPartition, Permutation
from vflow.bijections.planar import Planar, Radial
from vflow.bijections.residual import ContinuousFlow, Residual
from vflow.bijections.sigmoid import SigmoidLayer
from vflow.bijections.sphere import Rotation
from vflow.bijections.spline import LogitSpline, RationalQuadraticSpline
from vflow.bijections.tarflow import TransformerBlock, TransformerSize
from vflow.nn.masked import MADE, TiedAutoregressiveNet
from vflow.nn.mlp import MLP, VectorConditioner


def normal(shape: tuple[int, ...]) -> Tensor:
    return 1.5 * torch.randn(shape)


def cube(shape: tuple[int, ...]) -> Tensor:
    return 0.05 + 0.9 * torch.rand(shape)


def wide(shape: tuple[int, ...]) -> Tensor:
    """Logits, some of masses that a float near 1 could not hold."""
    return 20 * torch.randn(shape)


def both_tails(shape: tuple[int, ...]) -> Tensor:
    """Rows of values far below, near, and far above zero."""
    return torch.tensor([-4.0, 0.3, 4.0])[:, None, None, None] + 0.5 * torch.rand(shape)


def angles(shape: tuple[int, ...]) -> Tensor:
    return 2 * math.pi * torch.rand(shape)


ELEMENTS: dict[str, tuple[Element, Callable[[tuple[int, ...]], Tensor]]] = {
    "shift": (Shift(), normal),
    "scale": (Scale(), normal),
    "affine": (Affine(), normal),
    "gated": (Gated(), normal),
    "normals": (MixtureLogit(3, spread=1.0), normal),
    "laplacians": (MixtureLogit(3, "laplace", spread=1.0), normal),
    "spline": (RationalQuadraticSpline(6, -2.0, 2.0), normal),
    "logit-spline": (LogitSpline(6), wide),
    "spline-in-interval": (RationalQuadraticSpline(6, 0.0, 1.0, "free"), cube),
    "circular-spline": (RationalQuadraticSpline(6, -math.pi, math.pi, "circular"), angles),
    "mobius": (MobiusSum(3), angles),
}
PERIODIC = {"circular-spline", "mobius"}


def vector(
    build: Callable[[], Bijection],
    dim: int = 3,
    inputs: Callable[[tuple[int, ...]], Tensor] = normal,
    features: int = 0,
) -> Case:
    return Case(
        build,
        (dim, 1, 1),
        inputs,
        (lambda: torch.randn(BATCH, features, 1, 1)) if features else None,
    )


def autoregressive(name: str, features: int = 0) -> Case:
    element, inputs = ELEMENTS[name]
    order = [1, 0, 2]

    def build() -> Bijection:
        net = MADE(3, element.count, [8, 8], order=order, features=features, periodic=name in PERIODIC)
        return Autoregressive(element, net)

    return vector(build, 3, inputs, features)


def coupling(name: str, features: int = 0) -> Case:
    element, inputs = ELEMENTS[name]

    def build() -> Bijection:
        net = MLP(2, 2 * element.count, [8], features=features, periodic=name in PERIODIC)
        return ElementCoupling(element, VectorConditioner(net), MaskPartition([False, True] * 2))

    return vector(build, 4, inputs, features)


def batchnorm() -> BatchNorm:
    bijection = BatchNorm(3)
    bijection.mean.copy_(torch.randn(3))
    bijection.variance.copy_(torch.rand(3) + 0.5)
    return bijection


def tied() -> Autoregressive:
    element = MixtureLogit(2, spread=1.0)
    return Autoregressive(element, TiedAutoregressiveNet(3, element.count, 8))


def transformer(dim: int, *, element: str = "affine", **changes: Any) -> TransformerBlock:
    size = TransformerSize(hidden=6, layers=2, heads=2)
    return TransformerBlock((dim, 1, 1), size, element=ELEMENTS[element][0], **changes)


VECTORS: dict[str, Case] = {
    **{
        f"elementwise-{name}": vector(lambda e=e: Elementwise(e, 3), 3, i)
        for name, (e, i) in ELEMENTS.items()
    },
    **{f"autoregressive-{name}": autoregressive(name) for name in ELEMENTS},
    **{f"coupling-{name}": coupling(name) for name in ELEMENTS},
    "elementwise-context": vector(lambda: Elementwise(Affine(), 3, FEATURES), features=FEATURES),
    "autoregressive-context": autoregressive("affine", FEATURES),
    "coupling-context": coupling("spline", FEATURES),
    "one-element": vector(
        lambda: Autoregressive(Affine(), MADE(1, 2, [16], features=FEATURES)), 1, normal, FEATURES
    ),
    "inverse-autoregressive": vector(lambda: Inverse(Autoregressive(Gated(), MADE(3, 2, [8])))),
    "rnade": vector(tied),
    "transformer": vector(lambda: transformer(3, token=1)),
    "transformer-pairs-context": vector(
        lambda: transformer(4, token=2, offsets=(1, 2), features=FEATURES, reverse=True), 4, features=FEATURES
    ),
    "transformer-spline": vector(lambda: transformer(3, token=1, element="spline")),
    "planar": vector(lambda: Planar(3)),
    "planar-context": vector(lambda: Planar(3, FEATURES), features=FEATURES),
    "radial": vector(lambda: Radial(3)),
    "radial-context": vector(lambda: Radial(3, FEATURES), features=FEATURES),
    "bumps": vector(lambda: RadialBumps(3, 2)),
    "sigmoid": vector(lambda: SigmoidLayer(3)),
    "leaky-sigmoid": vector(lambda: SigmoidLayer(3, leak=0.1)),
    "monotone-network": vector(lambda: MonotoneNetwork(3, 6)),
    "pareto-marginals": vector(lambda: ParetoMarginals(3, 4), 3, both_tails),
    "gaussian-copula": vector(lambda: GaussianCopula(3)),
    "gaussian-copula-context": vector(lambda: GaussianCopula(3, FEATURES), features=FEATURES),
    "rotation": vector(lambda: Rotation(3)),
    "residual": vector(lambda: Residual(3, [8, 8])),
    "residual-context": vector(lambda: Residual(3, [8], features=FEATURES), features=FEATURES),
    "continuous": vector(lambda: ContinuousFlow(3, [8, 8], steps=3)),
    "continuous-context": vector(
        lambda: ContinuousFlow(3, [8], steps=2, features=FEATURES), features=FEATURES
    ),
    "reverse": vector(lambda: Permutation.reverse(3)),
    "random-permutation": vector(lambda: Permutation.random(5, seed=3), 5),
    "batchnorm": vector(batchnorm),
    "chain": vector(
        lambda: Chain(
            [ActNorm(3), Autoregressive(Affine(), MADE(3, 2, [8])), Permutation.reverse(3), batchnorm()]
        )
    ),
}
