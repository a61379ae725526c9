"""Base densities, targets on the plane and on manifolds, and energies."""

from vflow.densities.base import Density as Density
from vflow.densities.base import Logistic as Logistic
from vflow.densities.base import Normal as Normal
from vflow.densities.base import Target as Target
from vflow.densities.base import Uniform as Uniform
from vflow.densities.base import UniformCircle as UniformCircle
from vflow.densities.base import UniformSphere as UniformSphere
from vflow.densities.base import VonMises as VonMises
from vflow.densities.energies import ENERGIES as ENERGIES
from vflow.densities.energies import Energy as Energy
from vflow.densities.energies import EnergyFunction as EnergyFunction
from vflow.densities.manifolds import VonMisesFisherMixture as VonMisesFisherMixture
from vflow.densities.manifolds import VonMisesMixture as VonMisesMixture
from vflow.densities.mixture import NormalMixture as NormalMixture
from vflow.densities.named import TARGETS as TARGETS
from vflow.densities.named import target as target
from vflow.densities.named import target_entropy as target_entropy
from vflow.densities.plane import NAMES as NAMES
from vflow.densities.plane import PlaneDensity as PlaneDensity
from vflow.densities.plane import plane_density as plane_density
from vflow.densities.sphere_mixture import SphereMixture as SphereMixture
