"""Base densities, targets on the plane and on manifolds, and energies."""

from vflow.densities.base import (
    Density,
    Logistic,
    Normal,
    Target,
    Uniform,
    UniformCircle,
    UniformSphere,
    VonMises,
)
from vflow.densities.energies import ENERGIES, Energy, EnergyFunction
from vflow.densities.manifolds import VonMisesFisherMixture, VonMisesMixture
from vflow.densities.mixture import NormalMixture
from vflow.densities.named import TARGETS, target, target_entropy
from vflow.densities.plane import NAMES, PlaneDensity, plane_density
from vflow.densities.sphere_mixture import SphereMixture

__all__ = [
    "ENERGIES",
    "NAMES",
    "TARGETS",
    "Density",
    "Energy",
    "EnergyFunction",
    "Logistic",
    "Normal",
    "NormalMixture",
    "PlaneDensity",
    "SphereMixture",
    "Target",
    "Uniform",
    "UniformCircle",
    "UniformSphere",
    "VonMises",
    "VonMisesFisherMixture",
    "VonMisesMixture",
    "plane_density",
    "target",
    "target_entropy",
]
