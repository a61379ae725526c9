"""Base densities, targets on the plane and on manifolds, and energies."""

from vflow.densities.base import (
    Density,
    Logistic,
    Normal,
    Uniform,
    UniformCircle,
    UniformSphere,
    VonMises,
)
from vflow.densities.energies import ENERGIES, Energy
from vflow.densities.manifolds import VonMisesFisherMixture, VonMisesMixture
from vflow.densities.plane import NAMES, PlaneDensity, plane_density

__all__ = [
    "ENERGIES",
    "NAMES",
    "Density",
    "Energy",
    "Logistic",
    "Normal",
    "PlaneDensity",
    "Uniform",
    "UniformCircle",
    "UniformSphere",
    "VonMises",
    "VonMisesFisherMixture",
    "VonMisesMixture",
    "plane_density",
]
