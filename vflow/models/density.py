"""Density models of vectors, whose layers and base a configuration names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, final

from vflow.bijections import ActNorm, Bijection, Chain, Inverse, Invertible1x1
from vflow.bijections.autoregressive import Autoregressive, ElementCoupling, Elementwise
from vflow.bijections.batchnorm import BatchNorm
from vflow.bijections.bumps import RadialBumps
from vflow.bijections.circle import MobiusSum
from vflow.bijections.element import Affine, Element, Gated, MixtureLogit, Scale, Shift
from vflow.bijections.fold import Fold
from vflow.bijections.marginals import ParetoMarginals
from vflow.bijections.monotone import MonotoneNetwork
from vflow.bijections.permutation import MaskPartition, Permutation
from vflow.bijections.planar import Planar, Radial
from vflow.bijections.residual import ContinuousFlow, Residual
from vflow.bijections.sigmoid import SigmoidLayer
from vflow.bijections.sphere import Rotation, SphereToCylinder
from vflow.bijections.spline import LogitSpline, RationalQuadraticSpline
from vflow.bijections.tarflow import TransformerBlock, TransformerSize
from vflow.bijections.whitening import Whitening
from vflow.config import density as configs
from vflow.densities import (
    Density,
    Logistic,
    Normal,
    NormalMixture,
    SphereMixture,
    Uniform,
    UniformCircle,
    UniformSphere,
    VonMises,
)
from vflow.models.defensive import Defensive
from vflow.models.flow import VectorFlow
from vflow.nn.masked import MADE, Masking, TiedAutoregressiveNet
from vflow.nn.mlp import MLP, VectorConditioner

AFFINE: dict[str, Callable[[], Element]] = {
    "shift": Shift,
    "scale": Scale,
    "affine": Affine,
    "gated": Gated,
}
ELEMENTS: dict[type[Any], Callable[[Any], Element]] = {
    configs.AffineElementConfig: lambda c: AFFINE[c.kind](),
    configs.SplineElementConfig: lambda c: RationalQuadraticSpline(c.bins, c.low, c.high, c.ends),
    configs.LogitSplineElementConfig: lambda c: LogitSpline(c.bins),
    configs.MixtureElementConfig: lambda c: MixtureLogit(c.components, c.family),
    configs.MobiusElementConfig: lambda c: MobiusSum(c.components),
}
BASES: dict[configs.Base, Callable[[int], Density]] = {
    "normal": Normal,
    "logistic": Logistic,
    "uniform": Uniform,
    "circle": UniformCircle,
    "von-mises": VonMises,
    "sphere": lambda dim: UniformSphere(dim - 1),
}


def build_base(config: configs.AnyBase, dim: int) -> Density:
    """The density of latents (B, dim) that ``config`` names."""
    if isinstance(config, configs.NormalMixtureBase):
        return NormalMixture(dim, config.components)
    if isinstance(config, configs.SphereMixtureBase):
        return SphereMixture(config.components)
    return BASES[config](dim)


def build_element(config: configs.ElementConfig) -> Element:
    """The function of one number that ``config`` names."""
    return ELEMENTS[type(config)](config)


def _autoregressive(config: configs.AutoregressiveLayer, dim: int, features: int) -> Bijection:
    element = build_element(config.element)
    if config.network == "rnade":
        tied = TiedAutoregressiveNet(dim, element.count, config.hidden[0], features=features)
        return Autoregressive(element, tied)
    made = MADE(
        dim,
        element.count,
        config.hidden,
        features=features,
        activation=config.activation,
        periodic=config.periodic,
        masking=Masking(degrees=config.degrees),
    )
    return Autoregressive(element, made)


def _coupling(config: configs.CouplingLayer, dim: int, features: int) -> Bijection:
    element = build_element(config.element)
    kept = config.kept(dim)
    net = MLP(
        sum(kept),
        (dim - sum(kept)) * element.count,
        config.hidden,
        activation=config.activation,
        features=features,
        weight_norm=config.weight_norm,
        residual=config.residual,
        periodic=config.periodic,
    )
    return ElementCoupling(element, VectorConditioner(net), MaskPartition(kept))


def _permutation(config: configs.PermutationLayer, dim: int) -> Bijection:
    return Permutation.reverse(dim) if config.order == "reverse" else Permutation.random(dim, config.seed)


def _sphere(config: configs.SphereLayer, dim: int, features: int) -> Bijection:
    there, back = SphereToCylinder(dim - 1), Inverse(SphereToCylinder(dim - 1))
    return Chain([there, build_chain(config.layers, dim - 1, features), back])


LAYERS: dict[type[Any], Callable[[Any, int, int], Bijection]] = {
    configs.ActNormLayer: lambda c, dim, features: ActNorm(dim),
    configs.BatchNormLayer: lambda c, dim, features: BatchNorm(dim, c.momentum),
    configs.LinearLayer: lambda c, dim, features: Invertible1x1(dim),
    configs.PermutationLayer: lambda c, dim, features: _permutation(c, dim),
    configs.ElementwiseLayer: lambda c, dim, features: Elementwise(build_element(c.element), dim, features),
    configs.AutoregressiveLayer: _autoregressive,
    configs.TransformerLayer: lambda c, dim, features: TransformerBlock(
        (dim, 1, 1),
        TransformerSize(c.hidden, c.depth, c.heads),
        token=1,
        features=features,
        element=build_element(c.element),
    ),
    configs.CouplingLayer: _coupling,
    configs.PlanarLayer: lambda c, dim, features: Planar(dim, features),
    configs.RadialLayer: lambda c, dim, features: Radial(dim, features),
    configs.ResidualLayer: lambda c, dim, features: Residual(
        dim, c.hidden, lipschitz=c.lipschitz, features=features
    ),
    configs.ContinuousLayer: lambda c, dim, features: ContinuousFlow(
        dim, c.hidden, steps=c.steps, features=features
    ),
    configs.BumpsLayer: lambda c, dim, features: RadialBumps(dim, c.count),
    configs.SigmoidLayerConfig: lambda c, dim, features: SigmoidLayer(dim, c.leak),
    configs.MonotoneLayer: lambda c, dim, features: MonotoneNetwork(dim, c.hidden),
    configs.MarginalsLayer: lambda c, dim, features: ParetoMarginals(dim, c.bins),
    configs.RotationLayer: lambda c, dim, features: Rotation(dim),
    configs.SphereLayer: _sphere,
    configs.InverseLayer: lambda c, dim, features: Inverse(build_chain(c.layers, dim, features)),
}


def build_chain(layers: Iterable[configs.Layer], dim: int, features: int = 0) -> Chain:
    """The composition of ``layers`` on vectors (B, dim, 1, 1) with contexts (B, features, 1, 1)."""
    return Chain([LAYERS[type(layer)](layer, dim, features) for layer in configs.expand(tuple(layers))])


@final
class DensityModel(VectorFlow):
    """Density that a configuration describes, so that a checkpoint can hold it."""

    def __init__(self, config: configs.DensityConfig) -> None:
        whiten = config.defensive
        if whiten and not config.features:
            flow = DensityModel(config.model_copy(update={"defensive": False, "layers": config.whitened}))
            super().__init__([Whitening(config.dim)], Defensive(flow), 0)
            self.config = config
            return
        named = list(configs.expand(config.whitened if whiten else config.layers))
        folds = [Fold(config.dim, layer.hidden) for layer in named if isinstance(layer, configs.FoldLayer)]
        made = iter(folds)  # before the other layers, so that a seed keeps its weights
        layers = [
            next(made)
            if isinstance(layer, configs.FoldLayer)
            else LAYERS[type(layer)](layer, config.dim, config.features)
            for layer in named
        ]
        if whiten:
            layers = [Whitening(config.dim, config.features), *layers]
        base = build_base(config.base, config.dim)
        super().__init__(layers, base, config.features, Whitening(config.features) if whiten else None)
        self.config = config
