"""Densities over latents."""

from vflow.priors.gaussian import Gaussian as Gaussian
from vflow.priors.gaussian_mixture import GaussianMixture as GaussianMixture
from vflow.priors.lattice import LatticePrior as LatticePrior
from vflow.priors.made import MADEPrior as MADEPrior
from vflow.priors.temporal import TemporalPrior as TemporalPrior
from vflow.priors.wavelet import BlockDensity as BlockDensity
from vflow.priors.wavelet import LevelFeatures as LevelFeatures
from vflow.priors.wavelet import PastEncoder as PastEncoder
from vflow.priors.wavelet import WaveletPrior as WaveletPrior
