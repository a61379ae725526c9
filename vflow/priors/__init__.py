"""Densities over latents."""

from vflow.priors.gaussian import Gaussian
from vflow.priors.gaussian_mixture import GaussianMixture
from vflow.priors.lattice import LatticePrior
from vflow.priors.made import MADEPrior
from vflow.priors.temporal import TemporalPrior
from vflow.priors.wavelet import BlockDensity, LevelFeatures, PastEncoder, WaveletPrior

__all__ = [
    "BlockDensity",
    "Gaussian",
    "GaussianMixture",
    "LatticePrior",
    "LevelFeatures",
    "MADEPrior",
    "PastEncoder",
    "TemporalPrior",
    "WaveletPrior",
]
