"""Invertible maps and their log-dets."""

from vflow.bijections.actnorm import ActNorm
from vflow.bijections.autoregressive import Autoregressive, ElementCoupling, Elementwise
from vflow.bijections.base import Bijection, Chain, Inverse, sum_densities, upsample_density
from vflow.bijections.batchnorm import BatchNorm
from vflow.bijections.bumps import RadialBumps
from vflow.bijections.circle import MobiusSum
from vflow.bijections.conditional import ConditionalAffine
from vflow.bijections.copula import GaussianCopula
from vflow.bijections.coupling import AdditiveCoupling, AffineCoupling, Coupling
from vflow.bijections.element import Affine, Element, Gated, MixtureLogit, Scale, Shift
from vflow.bijections.fold import Fold
from vflow.bijections.integer_haar import IntegerHaar
from vflow.bijections.linear import PLU, ActNormLinear, CachedLinear, Invertible1x1
from vflow.bijections.marginals import ParetoMarginals
from vflow.bijections.mixture import MixtureCoupling
from vflow.bijections.monotone import MonotoneNetwork
from vflow.bijections.permutation import MaskPartition, Permutation
from vflow.bijections.pixel_map import (
    BinnedMap,
    Difference,
    HistogramMap,
    PerPixelHistogram,
    PixelMap,
    Scaled,
)
from vflow.bijections.planar import ParametersFromContext, Planar, Radial
from vflow.bijections.reshape import ChannelPartition, CheckerboardPartition, Haar, Partition, Squeeze
from vflow.bijections.residual import ContinuousFlow, Residual
from vflow.bijections.root import invert_increasing
from vflow.bijections.sigmoid import SigmoidLayer
from vflow.bijections.sphere import Rotation, SphereToCylinder
from vflow.bijections.spline import LogitSpline, RationalQuadraticSpline
from vflow.bijections.tarflow import (
    CausalLayer,
    CausalTransformer,
    Patches,
    TransformerBlock,
    TransformerSize,
)
from vflow.bijections.vector import VectorBijection
from vflow.bijections.whitening import Whitening

__all__ = [
    "PLU",
    "ActNorm",
    "ActNormLinear",
    "AdditiveCoupling",
    "Affine",
    "AffineCoupling",
    "Autoregressive",
    "BatchNorm",
    "Bijection",
    "BinnedMap",
    "CachedLinear",
    "CausalLayer",
    "CausalTransformer",
    "Chain",
    "ChannelPartition",
    "CheckerboardPartition",
    "ConditionalAffine",
    "ContinuousFlow",
    "Coupling",
    "Difference",
    "Element",
    "ElementCoupling",
    "Elementwise",
    "Fold",
    "Gated",
    "GaussianCopula",
    "Haar",
    "HistogramMap",
    "IntegerHaar",
    "Inverse",
    "Invertible1x1",
    "LogitSpline",
    "MaskPartition",
    "MixtureCoupling",
    "MixtureLogit",
    "MobiusSum",
    "MonotoneNetwork",
    "ParametersFromContext",
    "ParetoMarginals",
    "Partition",
    "Patches",
    "PerPixelHistogram",
    "Permutation",
    "PixelMap",
    "Planar",
    "Radial",
    "RadialBumps",
    "RationalQuadraticSpline",
    "Residual",
    "Rotation",
    "Scale",
    "Scaled",
    "Shift",
    "SigmoidLayer",
    "SphereToCylinder",
    "Squeeze",
    "TransformerBlock",
    "TransformerSize",
    "VectorBijection",
    "Whitening",
    "invert_increasing",
    "sum_densities",
    "upsample_density",
]
