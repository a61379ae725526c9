"""Invertible maps and their log-dets."""

from vflow.bijections.actnorm import ActNorm
from vflow.bijections.base import Bijection, Chain, Inverse, sum_densities, upsample_density
from vflow.bijections.coupling import AdditiveCoupling, AffineCoupling
from vflow.bijections.linear import ActNormLinear, Invertible1x1
from vflow.bijections.mixture import MixtureCoupling
from vflow.bijections.pixel_map import HistogramMap, PerPixelHistogram, PixelMap, Scaled
from vflow.bijections.reshape import ChannelPartition, CheckerboardPartition, Haar, Squeeze
