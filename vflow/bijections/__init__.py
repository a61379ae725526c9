"""Invertible maps and their log-determinants."""

from vflow.bijections.actnorm import ActNorm
from vflow.bijections.base import Bijection, Chain, Inverse, sum_densities, upsample_density
from vflow.bijections.coupling import AdditiveCoupling, AffineCoupling
from vflow.bijections.dequantize import (
    AnchoredDequantizer,
    Dequantizer,
    GaussianDequantizer,
    UniformDequantizer,
)
from vflow.bijections.histogram import HistogramMap
from vflow.bijections.linear import ActNormLinear, Invertible1x1
from vflow.bijections.mixture import MixtureCoupling
from vflow.bijections.reshape import ChannelPartition, CheckerboardPartition, Haar, Squeeze

__all__ = [
    "ActNorm",
    "ActNormLinear",
    "AdditiveCoupling",
    "AffineCoupling",
    "AnchoredDequantizer",
    "Bijection",
    "Chain",
    "ChannelPartition",
    "CheckerboardPartition",
    "Dequantizer",
    "GaussianDequantizer",
    "Haar",
    "HistogramMap",
    "Inverse",
    "Invertible1x1",
    "MixtureCoupling",
    "Squeeze",
    "UniformDequantizer",
    "sum_densities",
    "upsample_density",
]
