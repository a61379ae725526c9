"""Invertible maps and their log-determinants."""

from vflow.bijections.actnorm import ActNorm
from vflow.bijections.base import Bijection, Chain, Inverse, spread, total
from vflow.bijections.coupling import AdditiveCoupling, AffineCoupling
from vflow.bijections.dequantize import AnchoredNoise, GaussianNoise, Stochastic, UniformNoise
from vflow.bijections.histogram import HistogramMap
from vflow.bijections.linear import ActNormLinear, Invertible1x1
from vflow.bijections.mixture import MixtureCoupling
from vflow.bijections.reshape import ChannelPartition, CheckerboardPartition, Haar, Squeeze

__all__ = [
    "ActNorm",
    "ActNormLinear",
    "AdditiveCoupling",
    "AffineCoupling",
    "AnchoredNoise",
    "Bijection",
    "Chain",
    "ChannelPartition",
    "CheckerboardPartition",
    "GaussianNoise",
    "Haar",
    "HistogramMap",
    "Inverse",
    "Invertible1x1",
    "MixtureCoupling",
    "Squeeze",
    "Stochastic",
    "UniformNoise",
    "spread",
    "total",
]
