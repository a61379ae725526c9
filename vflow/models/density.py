"""Density models of vectors: a chain of bijections over a base density."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from vflow.bijections import ActNorm, Bijection, Chain, Inverse, Invertible1x1
from vflow.bijections.autoregressive import Autoregressive, ElementCoupling, Elementwise
from vflow.bijections.batchnorm import BatchNorm
from vflow.bijections.bumps import RadialBumps
from vflow.bijections.circle import MobiusSum
from vflow.bijections.copula import GaussianCopula
from vflow.bijections.element import Affine, Element, Gated, MixtureLogit, Scale, Shift
from vflow.bijections.fold import Fold
from vflow.bijections.marginals import ParetoMarginals
from vflow.bijections.monotone import MonotoneNetwork
from vflow.bijections.permutation import MaskPartition, Permutation
from vflow.bijections.planar import Planar, Radial
from vflow.bijections.sigmoid import SigmoidLayer
from vflow.bijections.sphere import Rotation, SphereToCylinder
from vflow.bijections.spline import RationalQuadraticSpline
from vflow.config import density as configs
from vflow.densities import (
    Density,
    Energy,
    Logistic,
    Normal,
    Uniform,
    UniformCircle,
    UniformSphere,
    VonMises,
)
from vflow.densities.base import check_rows
from vflow.errors import InputError, counted
from vflow.nn.masked import MADE, TiedAutoregressiveNet
from vflow.nn.mlp import MLP, VectorConditioner
from vflow.nn.modules import ModuleList

AFFINE: dict[str, Callable[[], Element]] = {
    "shift": Shift,
    "scale": Scale,
    "affine": Affine,
    "gated": Gated,
}
ELEMENTS: dict[type[Any], Callable[[Any], Element]] = {
    configs.AffineElementConfig: lambda c: AFFINE[c.kind](),
    configs.SplineElementConfig: lambda c: RationalQuadraticSpline(c.bins, c.low, c.high, c.ends),
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
    configs.CouplingLayer: _coupling,
    configs.PlanarLayer: lambda c, dim, features: Planar(dim, features),
    configs.RadialLayer: lambda c, dim, features: Radial(dim, features),
    configs.BumpsLayer: lambda c, dim, features: RadialBumps(dim, c.count),
    configs.SigmoidLayerConfig: lambda c, dim, features: SigmoidLayer(dim, c.leak),
    configs.MonotoneLayer: lambda c, dim, features: MonotoneNetwork(dim, c.hidden),
    configs.MarginalsLayer: lambda c, dim, features: ParetoMarginals(dim, c.bins),
    configs.GaussianCopulaLayer: lambda c, dim, features: GaussianCopula(dim, features),
    configs.RotationLayer: lambda c, dim, features: Rotation(dim),
    configs.SphereLayer: _sphere,
    configs.InverseLayer: lambda c, dim, features: Inverse(build_chain(c.layers, dim, features)),
}


def build_chain(layers: Iterable[configs.Layer], dim: int, features: int = 0) -> Chain:
    """The composition of ``layers`` on vectors (B, dim, 1, 1) with contexts (B, features, 1, 1)."""
    return Chain([LAYERS[type(layer)](layer, dim, features) for layer in configs.expand(tuple(layers))])


class PointBatch(NamedTuple):
    """Points whose likelihood is asked for, or noise of samples that an energy judges.

    points: float32 (B, D); with an energy standard-normal noise, (B, noise_dim).
    condition: float32 (B, F) or None.
    energy: U, for a fit to exp(−U) / Z by reverse KL; None: a fit to ``points`` by likelihood.
    weight: β of the energy.
    """

    points: Tensor
    condition: Tensor | None = None
    energy: Energy | None = None
    weight: float = 1.0


@final
class DensityModel(nn.Module):
    """p(x) = p(z) |det ∂z/∂x| with z the image of x under a chain of bijections.

    Points are matrices (B, D), conditions (B, F), all of the parameters' type. A model with features needs a
    condition wherever one may be given, a model without takes none; what does not suit is an InputError.
    Log-densities are in nats, on a manifold per unit of its area.

    Folds among the layers make p(x) a mixture (see ``Fold``); sampling then takes one more number for each.

    Attributes:
        noise_dim: standard-normal numbers that one sample takes.
    """

    def __init__(self, config: configs.DensityConfig) -> None:
        super().__init__()
        self.config = config
        flows: list[list[Any]] = [[]]
        folds = []
        for layer in configs.expand(config.layers):
            if layer.kind == "fold":
                folds.append(Fold(config.dim, layer.hidden))
                flows.append([])
            else:
                flows[-1].append(layer)
        self.flows = ModuleList([build_chain(layers, config.dim, config.features) for layers in flows])
        self.folds = ModuleList(folds)
        self.base = BASES[config.base](config.dim)
        self.noise_dim = self.base.noise_dim + len(folds)

    def forward(self, batch: PointBatch) -> Tensor:
        """Nats of each example, (B,): log p(x), or of samples x judged by an energy −log q(x) − β U(x)."""
        if batch.energy is None:
            return self.log_prob(batch.points, batch.condition)
        x, log_q = self.sample_with_log_prob(batch.points, batch.condition)
        return -(log_q + batch.weight * batch.energy(x))

    def log_prob(self, points: Tensor, condition: Tensor | None = None) -> Tensor:
        """log p(x | condition), (B,), of ``points`` (B, D)."""
        self._check("points", points, self.config.dim, condition)
        z, density, _ = self._encode(points, condition)
        return self.base.log_prob(z) + density

    def _check(self, name: str, rows: Tensor, width: int, condition: Tensor | None) -> None:
        """Refuse points, or noise, and a condition that do not suit the model.

        Raises:
            InputError: names the shape and type that they must have.
        """
        weight = next(self.parameters(), None)
        dtype = None if weight is None else weight.dtype
        check_rows(name, rows, width, dtype)
        features = self.config.features
        if condition is None:
            if features:
                raise InputError(f"the density needs a condition: a tensor ({len(rows)}, {features})")
        elif not features:
            raise InputError("the density takes no condition; its configuration has features 0")
        else:
            check_rows("condition", condition, features, dtype)
            if len(condition) != len(rows):
                raise InputError(
                    f"{counted(len(condition), 'condition')} for {len(rows)} {name}; give each one"
                )

    def bits_per_dim(self, nats: Tensor, count: int = 1) -> Tensor:
        """−nats / (ln 2 · D · count), of log-densities of ``count`` points."""
        return -nats / (math.log(2) * self.config.dim * count)

    def _encode(self, points: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Latents (B, D) of points (B, D), log p(x) − log p(z), (B,), and noise of each fold's side, (B,)."""
        x, context = _as_images(points), _as_images(condition)
        density = torch.zeros_like(points[:, 0])
        sides = []
        for index, flow in enumerate(self.flows):
            if index:
                sides.append(torch.where(x[:, 0, 0, 0] < 0, math.inf, -math.inf))
                x, change = self.folds[index - 1].transform(x)
                density = density + change.flatten()
            x, change = flow.transform(x, context)
            density = density + change.flatten()
        return x.flatten(1), density, sides

    def sample(self, eps: Tensor, condition: Tensor | None = None) -> Tensor:
        """Samples (B, D) from standard-normal noise (B, noise_dim)."""
        return self.sample_with_log_prob(eps, condition)[0]

    def sample_with_log_prob(self, eps: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Samples (B, D) from standard-normal noise, and their log-densities (B,): one pass back."""
        self._check("eps", eps, self.noise_dim, condition)
        z = self.base.sample(eps[:, : self.base.noise_dim])
        x, density = self._decode(z, eps[:, self.base.noise_dim :].unbind(1), condition)
        return x, self.base.log_prob(z) + density

    def _decode(
        self, z: Tensor, sides: Sequence[Tensor], condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Inverse of ``_encode``: points (B, D) and log p(x) − log p(z), (B,)."""
        x, context = _as_images(z), _as_images(condition)
        density = torch.zeros_like(z[:, 0])
        for index in reversed(range(len(self.flows))):
            x, change = self.flows[index].invert(x, context)
            density = density - change.flatten()
            if index:
                x, change = self.folds[index - 1].invert(x, sides[index - 1])
                density = density - change.flatten()
        return x.flatten(1), density

    @torch.no_grad()
    def reconstruct(self, batch: PointBatch) -> tuple[Tensor, Tensor]:
        """Points (B, D), and the same encoded and decoded; of an energy its samples."""
        points = batch.points if batch.energy is None else self.sample(batch.points, batch.condition)
        self._check("points", points, self.config.dim, batch.condition)
        z, _, sides = self._encode(points, batch.condition)
        return points, self._decode(z, sides, batch.condition)[0]

    @torch.no_grad()
    def stages(self, eps: Tensor, condition: Tensor | None = None) -> list[Tensor]:
        """Images of noise (B, noise_dim) after each layer, from a sample of the base to one of the data.

        Layers of an inverted chain count one by one.
        """
        self._check("eps", eps, self.noise_dim, condition)
        z = self.base.sample(eps[:, : self.base.noise_dim])
        x, context = _as_images(z), _as_images(condition)
        stages = [z]
        for index in reversed(range(len(self.flows))):
            for step in _decoding_steps(self.flows[index]):
                x = step(x, context)[0]
                stages.append(x.flatten(1))
            if index:
                x = self.folds[index - 1].invert(x, eps[:, self.base.noise_dim + index - 1])[0]
                stages.append(x.flatten(1))
        return stages

    def fit(self, batches: Sequence[PointBatch]) -> None:
        """Nothing is counted before training."""

    @torch.no_grad()
    def initialize(self, batch: PointBatch) -> None:
        """Set data-dependent parameters from the points of ``batch``, of an energy its noise."""
        name, width = ("points", self.config.dim) if batch.energy is None else ("eps", self.noise_dim)
        self._check(name, batch.points, width, batch.condition)
        x, context = _as_images(batch.points[:, : self.config.dim]), _as_images(batch.condition)
        for index, flow in enumerate(self.flows):
            if index:
                x = self.folds[index - 1].transform(x)[0]
            x = flow.initialize(x, context)


def _decoding_steps(flow: Chain) -> Iterator[Callable[[Any, Any], tuple[Tensor, Tensor]]]:
    """Maps from latent to data, one for each layer."""
    for layer in reversed(flow.layers):
        if isinstance(layer, Inverse) and isinstance(layer.bijection, Chain):
            yield from (inner.transform for inner in layer.bijection.layers)
        else:
            yield layer.invert


def _as_images(x: Any) -> Any:
    """(B, D) → (B, D, 1, 1); None stays None."""
    return None if x is None else x[:, :, None, None]
