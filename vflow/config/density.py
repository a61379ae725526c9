"""Configurations of density models on vectors: a chain of bijections and a base density."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import compress
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from vflow.config.base import Config, Seed, ValidationBits

Width = Annotated[int, Field(ge=1, le=4096)]
Activation = Literal["relu", "tanh", "elu", "silu"]
READING = {
    "autoregressive",
    "continuous",
    "coupling",
    "elementwise",
    "planar",
    "radial",
    "residual",
    "transformer",
}
"""Kinds of layers that read a condition; the others see x alone."""
Space = Literal["angle", "height"]
Spaces = tuple[Space, ...]
ANGLE: Space = "angle"
HEIGHT: Space = "height"  # of a point of a sphere, in [-1, 1]
Base = Literal["normal", "logistic", "uniform", "circle", "von-mises", "sphere"]


CIRCULAR = ("circle", "von-mises")


class NormalMixtureBase(Config):
    """Mixture of normal densities, whose weights, means and scales are learned."""

    kind: Literal["normal-mixture"] = "normal-mixture"
    components: int = Field(default=8, ge=1, le=4096)


class SphereMixtureBase(Config):
    """Mixture of densities on the sphere S² (see vflow/densities/sphere_mixture.py)."""

    kind: Literal["sphere-mixture"] = "sphere-mixture"
    components: int = Field(default=256, ge=1, le=4096)


AnyBase = Annotated[
    Annotated[Base, Tag("name")]
    | Annotated[
        Annotated[NormalMixtureBase | SphereMixtureBase, Discriminator("kind")],
        Tag("settings"),
    ],
    Discriminator(lambda value: "name" if isinstance(value, str) else "settings"),
]


class AffineElementConfig(Config):
    """x + t, x · s, (x − μ) e^{−α}, or a gate between x and a value (Kingma et al. 2016)."""

    kind: Literal["shift", "scale", "affine", "gated"] = "affine"


class SplineElementConfig(Config):
    """Monotonic rational-quadratic spline (Durkan et al. 2019)."""

    kind: Literal["spline"] = "spline"
    bins: int = Field(default=8, ge=2, le=256)
    low: float = -5.0
    high: float = 5.0
    ends: Literal["linear", "free", "circular"] = "linear"
    """Identity outside [low, high]; onto [low, high]; or angles of that period."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        return self


class LogitSplineElementConfig(Config):
    """Spline of the unit interval onto itself, between logits: for copulas, after a layer of marginals."""

    kind: Literal["logit-spline"] = "logit-spline"
    bins: int = Field(default=8, ge=2, le=256)


class MixtureElementConfig(Config):
    """Logit of a mixture's CDF; over a logistic base the conditionals are mixtures (RNADE)."""

    kind: Literal["mixture"] = "mixture"
    components: int = Field(default=10, ge=1, le=256)
    family: Literal["normal", "laplace"] = "normal"


class MobiusElementConfig(Config):
    """Convex sum of Möbius maps of the circle (Rezende et al. 2020)."""

    kind: Literal["mobius"] = "mobius"
    components: int = Field(default=8, ge=1, le=256)


ElementConfig = Annotated[
    AffineElementConfig
    | SplineElementConfig
    | LogitSplineElementConfig
    | MixtureElementConfig
    | MobiusElementConfig,
    Discriminator("kind"),
]


class ActNormLayer(Config):
    """Scale and shift per element, set from the first batch."""

    kind: Literal["actnorm"] = "actnorm"


class BatchNormLayer(Config):
    """Batch normalisation with running averages (Dinh et al. 2017)."""

    kind: Literal["batchnorm"] = "batchnorm"
    momentum: float = Field(default=0.9, ge=0, lt=1)


class LinearLayer(Config):
    """Learned linear map W x, W in PLU form."""

    kind: Literal["linear"] = "linear"


class PermutationLayer(Config):
    """Fixed permutation: reversed, or random from a seed."""

    kind: Literal["permutation"] = "permutation"
    order: Literal["reverse", "random"] = "reverse"
    seed: Seed = 0


class ElementwiseLayer(Config):
    """A learned function of each element alone."""

    kind: Literal["elementwise"] = "elementwise"
    element: ElementConfig = AffineElementConfig()


class AutoregressiveLayer(Config):
    """A function of each element whose parameters depend on the elements before it (MAF)."""

    kind: Literal["autoregressive"] = "autoregressive"
    element: ElementConfig = AffineElementConfig()
    network: Literal["made", "rnade"] = "made"
    """``rnade``: one hidden layer, tied weights."""
    hidden: tuple[Width, ...] = (64, 64)
    activation: Activation = "relu"
    periodic: bool = False
    """True if elements are angles."""
    degrees: Literal["cyclic", "spread"] = "cyclic"
    """Elements that hidden units read where these are fewer; spread: all; cyclic: the first of them."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.network == "rnade" and (len(self.hidden) != 1 or self.periodic or self.activation != "relu"):
            raise ValueError("network rnade has one hidden layer, ReLU, and no angles")
        return self


class TransformerLayer(Config):
    """Scale and shift of each element, which a causal transformer gives of those before it (TarFlow)."""

    kind: Literal["transformer"] = "transformer"
    element: ElementConfig = AffineElementConfig()
    hidden: Width = 32
    depth: int = Field(default=2, ge=1, le=64)
    """Layers of the transformer."""
    heads: int = Field(default=2, ge=1, le=64)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is not divisible by heads {self.heads}")
        return self


class CouplingLayer(Config):
    """A function of some elements whose parameters depend on the others."""

    kind: Literal["coupling"] = "coupling"
    element: ElementConfig = AffineElementConfig()
    keep: Literal["even", "odd", "first", "last"] = "even"
    """Elements that stay: every other one, or the first or last half."""
    hidden: tuple[Width, ...] = (64, 64)
    activation: Activation = "relu"
    weight_norm: bool = False
    residual: bool = False
    periodic: bool = False
    """True if the elements that stay are angles."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.residual and len(set(self.hidden)) > 1:
            raise ValueError("residual needs hidden layers of one width")
        return self

    def kept(self, dim: int) -> list[bool]:
        """True for each element of a vector that stays."""
        half = (dim + 1) // 2
        return {
            "even": [i % 2 == 0 for i in range(dim)],
            "odd": [i % 2 == 1 for i in range(dim)],
            "first": [i < half for i in range(dim)],
            "last": [i >= dim - half for i in range(dim)],
        }[self.keep]


class PlanarLayer(Config):
    """x + û tanh(wᵀx + b) (Rezende & Mohamed 2015)."""

    kind: Literal["planar"] = "planar"


class RadialLayer(Config):
    """x + β (x − x₀) / (α + r) (Rezende & Mohamed 2015)."""

    kind: Literal["radial"] = "radial"


class ResidualLayer(Config):
    """x + g(x), g a contraction (Behrmann et al. 2019; Chen et al. 2019)."""

    kind: Literal["residual"] = "residual"
    hidden: tuple[Width, ...] = Field(default=(64, 64), min_length=1)
    lipschitz: float = Field(default=0.97, gt=0, lt=1)
    """Bound of how fast g changes."""


class ContinuousLayer(Config):
    """x(1) of dx/dt = v(x, t), by steps of the implicit midpoint rule (Chen et al. 2018)."""

    kind: Literal["continuous"] = "continuous"
    hidden: tuple[Width, ...] = Field(default=(64, 64), min_length=1)
    steps: int = Field(default=8, ge=1, le=1000)
    """Steps from t = 0 to 1; more let v change faster."""


class BumpsLayer(Config):
    """Radial bumps placed one after the other on the first batch (Tabak & Turner 2013)."""

    kind: Literal["bumps"] = "bumps"
    count: int = Field(default=100, ge=1, le=10_000)


class SigmoidLayerConfig(Config):
    """σ(W x + b) with a leak (Rippel & Adams 2013); without one, onto the unit cube."""

    kind: Literal["sigmoid"] = "sigmoid"
    leak: float = Field(default=0.0, ge=0, le=1)


class MonotoneLayer(Config):
    """Logits of monotone networks, each a CDF (Magdon-Ismail & Atiya 2002)."""

    kind: Literal["monotone"] = "monotone"
    hidden: int = Field(default=16, ge=1, le=1024)


class MarginalsLayer(Config):
    """Logits of CDFs with generalised-Pareto tails (Wiese et al. 2019): for a logistic base."""

    kind: Literal["marginals"] = "marginals"
    bins: int = Field(default=16, ge=2, le=256)


class RotationLayer(Config):
    """Learned rotation."""

    kind: Literal["rotation"] = "rotation"


class FoldLayer(Config):
    """Both sides of a border on one latent, with a gate between them (RAD: Dinh et al. 2019)."""

    kind: Literal["fold"] = "fold"
    hidden: tuple[Width, ...] = (32,)


class SphereLayer(Config):
    """Layers on a sphere seen as a cylinder: an angle, then heights in [−1, 1] (Rezende et al. 2020)."""

    kind: Literal["sphere"] = "sphere"
    layers: tuple[Layer, ...] = Field(min_length=1)


class InverseLayer(Config):
    """The inverse of a chain: sampling in one pass where the chain has its density in one pass (IAF)."""

    kind: Literal["inverse"] = "inverse"
    layers: tuple[Layer, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(layer.kind == "bumps" for layer in nested(self.layers)):
            raise ValueError(
                "a layer of kind bumps inside an inverse: bumps are placed on data, not on latents"
            )
        return self


class RepeatLayer(Config):
    """A chain several times over, each time with weights of its own."""

    kind: Literal["repeat"] = "repeat"
    times: int = Field(ge=1, le=256)
    layers: tuple[Layer, ...] = Field(min_length=1)


Bijective = (
    ActNormLayer
    | BatchNormLayer
    | LinearLayer
    | PermutationLayer
    | ElementwiseLayer
    | AutoregressiveLayer
    | TransformerLayer
    | CouplingLayer
    | PlanarLayer
    | RadialLayer
    | ResidualLayer
    | ContinuousLayer
    | BumpsLayer
    | SigmoidLayerConfig
    | MonotoneLayer
    | MarginalsLayer
    | RotationLayer
    | SphereLayer
    | InverseLayer
    | RepeatLayer
)
Layer = Annotated[Bijective, Discriminator("kind")]
OuterLayer = Annotated[Bijective | FoldLayer, Discriminator("kind")]


ColumnKind = Literal["number", "whole", "binary"]


class Column(Config):
    """Column of a table."""

    name: str = Field(max_length=1000)
    kind: ColumnKind = "number"
    """``whole``: whole numbers, to which noise of [0, 1) is added, so that they have a density; ``binary``: 0
    and 1 alone, likewise.
    """
    condition: bool = False
    """True if it is given, not modelled."""


class DensityConfig(Config):
    """Density of vectors: layers from data to a base density (see vflow/models/density.py)."""

    family: ClassVar[Literal["density"]] = "density"
    leaves_parts_out: ClassVar[bool] = False
    temperature: ClassVar[float] = 1.0
    kind: Literal["density"] = "density"
    dim: int = Field(default=2, ge=1, le=4096)
    """Elements of a vector; 3 on the sphere."""
    features: int = Field(default=0, ge=0, le=4096)
    """Elements of a condition; 0 for none."""
    base: AnyBase = "normal"
    layers: tuple[OuterLayer, ...] = ()
    columns: tuple[Column, ...] = ()
    """Columns of the table that it was trained on, in its order, conditions included; two on a sphere are
    latitude and longitude in degrees.
    """
    defensive: bool = False
    """The layers see points whitened by their shrunk covariance, and a share of the density stays the normal
    one that this makes: for tables of few rows (vflow/models/defensive.py); with a condition whitened by
    regression on it, and no share.
    """
    validation_bits: ValidationBits = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = {layer.kind for layer in nested(self.layers)}
        if self.defensive and self.on_manifold:
            raise ValueError("defensive is for points of all numbers; set it to false")
        conditions = sum(column.condition for column in self.columns)
        geographic = self.on_sphere and self.dim == 3 and (len(self.columns), conditions) == (2, 0)
        if (
            self.columns
            and not geographic
            and (len(self.columns) - conditions, conditions) != (self.dim, self.features)
        ):
            raise ValueError(
                f"columns: {len(self.columns) - conditions} and {conditions} of a condition, for dim "
                f"{self.dim} and features {self.features}; leave these three out"
            )
        if isinstance(self.base, SphereMixtureBase) and self.dim != 3:
            raise ValueError(f"dim {self.dim}: a base of kind sphere-mixture has points of 3 numbers")
        for kind, least in (("coupling", 2), ("sphere", 3)):
            if kind in kinds and self.dim < least:
                raise ValueError(f"dim {self.dim}: a layer of kind {kind} needs {least} elements or more")
        if self.features and not kinds & READING:
            raise ValueError(
                f"features {self.features}: no layer reads a condition; add one of kind "
                f"{', '.join(sorted(READING))}, or leave features out"
            )
        if "sphere" in kinds and not self.on_sphere:
            raise ValueError("layers of kind sphere need base: sphere, or one of kind sphere-mixture")
        _check_spheres(self.layers, self.dim)
        if self.on_sphere:
            _check_rotations(self.layers)
        if self.base in CIRCULAR:
            _check_manifold(self.layers, (ANGLE,) * self.dim, f"over base: {self.base}")
        on_cube = _on_cube(self.layers)
        if on_cube and self.base != "uniform":
            raise ValueError(f"layers {_ONTO_CUBE} lead to the unit cube: they need base: uniform")
        if on_cube is False and self.base == "uniform":
            raise ValueError(
                f"marginals and the inverse of layers {_ONTO_CUBE} lead away from the unit cube, not to "
                "base: uniform; with marginals go base: logistic and elements of kind logit-spline"
            )
        return self

    @property
    def on_sphere(self) -> bool:
        """True if points are unit vectors."""
        return self.base == "sphere" or isinstance(self.base, SphereMixtureBase)

    @property
    def on_manifold(self) -> bool:
        """True if points are angles or unit vectors."""
        return self.on_sphere or self.base in CIRCULAR

    @property
    def whitened(self) -> tuple[OuterLayer, ...]:
        """Layers for points that are white already: without an ActNorm at their head, which would stretch
        them to their own variance, as if their covariance had not been shrunk.
        """
        return self.layers[bool(self.layers and self.layers[0].kind == "actnorm") :]

    @property
    def uses_batch_statistics(self) -> bool:
        """True if a layer normalises by the batch, which gradient accumulation would cut in parts."""
        return any(layer.kind == "batchnorm" for layer in nested(self.layers))


def _check_spheres(layers: tuple[OuterLayer, ...], dim: int) -> None:
    """Raise ValueError for layers of a sphere that do not map an angle and heights to such."""
    for layer in nested(layers):
        if isinstance(layer, SphereLayer):
            spaces: Spaces = (ANGLE, *[HEIGHT] * (dim - 2))
            if _check_manifold(layer.layers, spaces, "inside a sphere") != spaces:
                raise ValueError("permutations inside a sphere must leave the angle in its place")


def _check_rotations(layers: tuple[OuterLayer, ...]) -> None:
    """Raise ValueError for layers over a sphere that lead off it."""
    for layer in expand(layers):
        if isinstance(layer, InverseLayer):
            _check_rotations(layer.layers)
        elif not isinstance(layer, SphereLayer | RotationLayer | PermutationLayer):
            raise ValueError(
                f"a layer of kind {layer.kind} over base: sphere leads off the sphere: "
                "give layers of kind sphere, rotation or permutation"
            )


def _check_manifold(
    layers: tuple[OuterLayer, ...], spaces: Spaces, place: str, backward: bool = False
) -> Spaces:
    """Spaces of the coordinates after ``layers``, which must map angles to angles and heights to heights.

    Args:
        spaces: those before them.
        place: where the layers stand, for messages.
        backward: they are inverted, and gone through from the last.

    Raises:
        ValueError: a layer that does not, so that the density would not integrate to 1.
    """
    steps = tuple(expand(layers))
    for layer in reversed(steps) if backward else steps:
        if isinstance(layer, InverseLayer):
            spaces = _check_manifold(layer.layers, spaces, place, not backward)
        elif isinstance(layer, PermutationLayer) and (layer.order == "reverse" or len(set(spaces)) == 1):
            spaces = spaces[::-1]
        elif isinstance(layer, ElementwiseLayer | CouplingLayer | AutoregressiveLayer):
            kept = layer.kept(len(spaces)) if isinstance(layer, CouplingLayer) else [False] * len(spaces)
            if not all(
                keep or _stays(layer.element, space) for space, keep in zip(spaces, kept, strict=True)
            ):
                raise ValueError(_no_density(layer, place))
            read = spaces[:-1] if isinstance(layer, AutoregressiveLayer) else tuple(compress(spaces, kept))
            if ANGLE in read and not getattr(layer, "periodic", False):
                raise ValueError(f"a layer of kind {layer.kind} {place} sees angles: it needs periodic: true")
        else:
            raise ValueError(_no_density(layer, place))
    return spaces


def _stays(element: ElementConfig, space: Space) -> bool:
    """True if ``element`` maps angles to angles, or heights to heights."""
    if isinstance(element, SplineElementConfig):
        if space == HEIGHT:
            return element.ends != "circular" and (element.low, element.high) == (-1, 1)
        return element.ends == "circular" and math.isclose(
            element.high - element.low, 2 * math.pi, rel_tol=1e-4
        )
    return space == ANGLE and element.kind in ("shift", "mobius")


def _no_density(layer: OuterLayer, place: str) -> str:
    heights = ", for heights splines from -1 to 1" if "sphere" in place else ""
    return (
        f"a layer of kind {layer.kind} {place} is no density there: give permutations, and layers of kind "
        "elementwise, coupling or autoregressive with elements shift, mobius or circular splines of period "
        f"2π{heights}"
    )


_ONTO_CUBE = "of kind sigmoid without leak"


def _on_cube(layers: tuple[OuterLayer, ...], cube: bool | None = None, backward: bool = False) -> bool | None:
    """True if ``layers`` end on the unit cube, as sigmoids do, False if not; None where that is unknown.

    Args:
        cube: the same for the points that enter them.
        backward: they are inverted, and gone through from the last.

    Raises:
        ValueError: layers onto the cube from points that lie there already, their inverse from others, or
            layers in between that do not map the cube onto itself: the density would not integrate to 1.
    """
    steps = tuple(expand(layers))
    for layer in reversed(steps) if backward else steps:
        if isinstance(layer, InverseLayer):
            cube = _on_cube(layer.layers, cube, not backward)
        elif isinstance(layer, SigmoidLayerConfig) and not layer.leak:
            if cube is not None and cube is not backward:
                raise ValueError(
                    f"an inverse of {layer.kind} after another: its points no longer lie on the unit cube"
                    if backward
                    else f"a layer of kind {layer.kind} after one {_ONTO_CUBE}, on the unit cube"
                )
            cube = not backward
        elif cube and not _keeps_cube(layer):
            raise ValueError(
                f"a layer of kind {layer.kind} leads off the unit cube, onto which one {_ONTO_CUBE} leads: "
                "give permutations, and layers of kind elementwise, coupling or autoregressive with splines "
                "from 0 to 1"
            )
        elif isinstance(layer, MarginalsLayer):
            cube = False
    return cube


def _keeps_cube(layer: OuterLayer) -> bool:
    """True if ``layer`` maps the unit cube onto itself."""
    if isinstance(layer, ElementwiseLayer | CouplingLayer | AutoregressiveLayer):
        element = layer.element
        return isinstance(element, SplineElementConfig) and (element.low, element.high) == (0, 1)
    return isinstance(layer, PermutationLayer)


def expand(layers: tuple[OuterLayer, ...]) -> Iterator[OuterLayer]:
    """Layers in order, those of ``repeat`` as often as it says."""
    for layer in layers:
        if layer.kind == "repeat":
            for _ in range(layer.times):
                yield from expand(layer.layers)
        else:
            yield layer


def nested(layers: tuple[OuterLayer, ...]) -> Iterator[OuterLayer]:
    """All layers, those of ``sphere``, ``inverse`` and ``repeat`` after the layer that holds them."""
    for layer in layers:
        yield layer
        if isinstance(layer, SphereLayer | InverseLayer | RepeatLayer):
            yield from nested(layer.layers)
