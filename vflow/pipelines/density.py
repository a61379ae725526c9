"""Points drawn from a density model, and pictures of points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vflow.config import DensityConfig
from vflow.config.ranges import check_range, check_seed
from vflow.data.datasets.points import Points
from vflow.data.media import atomic_write
from vflow.densities import ENERGIES, Energy
from vflow.errors import CheckpointError, ConfigError, InputError, counted
from vflow.models import VectorFlow
from vflow.pipelines.common import MAX_REDRAWS, config_of
from vflow.randomness import normal

CHUNK = 1024
"""Rows of every computation: padded to it, point k is the same bytes whatever the number of points."""
MAX_POINTS = 10_000_000
CELLS, SCALE = 96, 2  # of a picture of points: cells along a side, and pixels of each
ANGLES = ("circle", "von-mises")


def require_unconditional(model: nn.Module) -> VectorFlow:
    """``model``, if it is a density of vectors without a condition.

    Raises:
        CheckpointError: it is of another kind, or needs a condition.
    """
    if not isinstance(model, VectorFlow):
        config_of(model, DensityConfig)
    assert isinstance(model, VectorFlow)
    if model.features:
        raise CheckpointError(
            f"the density needs a condition of {model.features} numbers; call its sample(eps, condition)"
        )
    return model


@dataclass(frozen=True)
class Drawn:
    """Points and how many had to be drawn again for not being finite.

    Attributes:
        points: (N, D), float32, or float64 if the model is.
        redrawn: points that were drawn again.
    """

    points: np.ndarray
    redrawn: int


def sample(model: nn.Module, num_samples: int = 1000, seed: int = 0) -> np.ndarray:
    """Points (N, D) of a density model, float32, or float64 if the model is; a larger N keeps the first.

    Args:
        model: from ``vflow.load``, or a ``DensityModel`` or ``Flow`` made in Python. One with a condition is
            refused: call its own ``sample``.
        num_samples: N, 1..10,000,000.
        seed: names the noise.

    Raises:
        ConfigError: a setting is out of range. CheckpointError: the model is no density of vectors.
        InputError: points stay non-finite after 8 redraws.
    """
    return draw_points(model, num_samples, seed).points


@torch.no_grad()
def draw_points(model: nn.Module, num_samples: int, seed: int = 0) -> Drawn:
    """As ``sample``, with a count of points that had to be drawn again."""
    model = require_unconditional(model)
    check_range("num_samples", num_samples, 1, MAX_POINTS, whole=True)
    check_seed(seed)
    eps = normal((num_samples, model.noise_dim), "points", seed)
    points = torch.cat([_draw_chunk(model, part) for part in eps.split(CHUNK)])
    attempt = redrawn = 0
    while len(faulty := (~points.isfinite().all(1)).nonzero().flatten()):
        attempt += 1
        if attempt > MAX_REDRAWS:
            what = counted(len(faulty), "point")
            raise InputError(f"{what} not finite after {MAX_REDRAWS} redraws; train the model more")
        redrawn += len(faulty)
        rows = faulty.tolist()
        fresh = torch.cat([normal((1, model.noise_dim), "points", seed, "redraw", r, attempt) for r in rows])
        points[faulty] = torch.cat([_draw_chunk(model, part) for part in fresh.split(CHUNK)])
    return Drawn(points.reshape(-1, model.dim).numpy(), redrawn)


def _draw_chunk(model: VectorFlow, eps: torch.Tensor) -> torch.Tensor:
    """Points of up to 1,024 rows of noise, on the CPU, in float32 or float64."""
    padded = torch.cat([eps, eps.new_zeros(CHUNK - len(eps), eps.shape[1])])
    points = model.sample(padded.to(next(model.parameters(), eps)))[: len(eps)].cpu()
    return points.to(torch.promote_types(points.dtype, torch.float32))


def write_points(path: Path, points: np.ndarray) -> None:
    """Write points (N, D) to ``path``: a CSV, one point a line, or an npz with ``points``.

    Raises:
        ConfigError: another ending. InputError: the file cannot be written.
    """
    check_ending(path)
    with atomic_write(path) as draft:
        if path.suffix == ".npz":
            np.savez(draft, points=points)
        else:
            np.savetxt(draft, points, fmt="%.9g", delimiter=",")


def check_ending(path: Path) -> None:
    """Refuse a file of points that is neither CSV nor npz.

    Raises:
        ConfigError: naming both.
    """
    if path.suffix not in (".csv", ".npz"):
        raise ConfigError(f"{path}: points are written as .csv or .npz; name the file so")


def open_points(source: str, split: str, config: DensityConfig) -> Points:
    """Points of ``split`` that suit a model; angles, in radians, are brought to [−π, π).

    Raises:
        InputError: no such points, of another length, angles beyond 2π, or points off the sphere.
    """
    data = Points(source, split)  # type: ignore[arg-type]
    _check_length(source, data.dim, config)
    if config.base in ANGLES:
        largest = float(abs(data.points).max())
        if largest > 2 * math.pi + 1e-3:
            raise InputError(
                f"{source}: {largest:g} exceeds 2π; give angles in radians (degrees times π / 180)"
            )
        data.points = np.remainder(data.points + math.pi, 2 * math.pi) - np.float32(math.pi)
    if config.base == "sphere" and (far := abs(np.linalg.norm(data.points, axis=1) - 1) > 1e-3).any():
        row = int(np.flatnonzero(far)[0]) + 1
        raise InputError(f"{source}: point {row} does not lie on the unit sphere; divide it by its length")
    return data


def open_energy(name: str, config: DensityConfig) -> Energy:
    """The energy called ``name``, for a model of the plane.

    Raises:
        InputError: the model has points of another dimension.
    """
    _check_length(name, 2, config)
    return ENERGIES[name]


def _check_length(source: str, length: int, config: DensityConfig) -> None:
    if length != config.dim:
        raise InputError(
            f"{source}: points of {length} numbers, the model takes {config.dim}; give such points"
        )


def check_spread(source: str, points: np.ndarray) -> None:
    """Refuse points that have no density, since a column of them is constant.

    Raises:
        InputError: naming the column.
    """
    constant = np.flatnonzero(np.ptp(points, axis=0) == 0)
    if len(constant):
        raise InputError(f"{source}: column {constant[0] + 1} is constant; leave it out")


def points_picture(*clouds: np.ndarray) -> np.ndarray:
    """Clouds of points (N, D) side by side as grey histograms of their first two columns, uint8 (H, W, 1).

    Of points of one column the second axis is empty. All share the window of the first cloud.
    """
    flat = [np.pad(cloud, ((0, 0), (0, 1)))[:, :2] for cloud in clouds]
    low, high = np.quantile(flat[0], (0.002, 0.998), axis=0)
    margin = 0.1 * (high - low) + 1e-6
    pictures = []
    for cloud in flat:
        edges = [np.linspace(a, b, CELLS + 1) for a, b in zip(low - margin, high + margin, strict=True)]
        counts = np.histogramdd(cloud[np.isfinite(cloud).all(1)], bins=edges)[0].T[::-1]
        levels = np.sqrt(counts / max(1, np.quantile(counts[counts > 0], 0.99) if counts.any() else 1))
        pictures.append((255 * levels.clip(0, 1)).astype(np.uint8).repeat(SCALE, 0).repeat(SCALE, 1))
    return np.concatenate(pictures, axis=1)[..., None]
