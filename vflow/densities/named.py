"""Targets by name: densities of the plane, of the torus and of the sphere."""

from __future__ import annotations

from functools import cache

import torch

from vflow.densities import plane
from vflow.densities.base import Target
from vflow.densities.manifolds import VonMisesFisherMixture, VonMisesMixture
from vflow.errors import ConfigError

TORUS = ((-1.6, 0.6), (0.4, 1.2), (2.6, 1.6))
SPHERE = ((1.0, 0.0, 0.2), (-0.5, 0.9, -0.3), (-0.4, -0.8, 0.6), (0.1, 0.2, -1.0))
CONCENTRATIONS = {"torus": 6.0, "sphere": 10.0}
TARGETS = (*plane.NAMES, *CONCENTRATIONS)


def target(name: str) -> Target:
    """The density called ``name``: of the plane, or a mixture on the ``torus`` or the ``sphere``.

    Raises:
        ConfigError: no density is called so.
    """
    match name:
        case "torus":
            return VonMisesMixture(torch.tensor(TORUS, dtype=torch.float64), CONCENTRATIONS[name])
        case "sphere":
            return VonMisesFisherMixture(torch.tensor(SPHERE, dtype=torch.float64), CONCENTRATIONS[name])
        case _ if name in plane.NAMES:
            return plane.plane_density(name)
    raise ConfigError(f"{name}: no such density; use {', '.join(TARGETS)}")


@cache
def target_entropy(name: str) -> float:
    """Entropy in nats of the density called ``name``; by quadrature about a second, then remembered."""
    return target(name).entropy()
