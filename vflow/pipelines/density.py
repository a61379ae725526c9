"""Points drawn from a density model, and pictures of points."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from vflow.config import DensityConfig
from vflow.config.density import CIRCULAR, Column
from vflow.config.ranges import check_range, check_seed
from vflow.data.datasets.points import Points, unit_vectors
from vflow.data.media import atomic_write
from vflow.densities import ENERGIES, TARGETS, Energy
from vflow.errors import ConfigError, InputError, counted
from vflow.models import DensityModel, VectorFlow
from vflow.pipelines.common import MAX_REDRAWS, config_of
from vflow.randomness import normal

CHUNK = 1024
"""Rows of every computation: padded to it, point k is the same bytes whatever the number of points."""
MAX_POINTS = 10_000_000
DRAWS = 16  # points of a unit over which the density of whole numbers is averaged
CELLS, SCALE = 96, 2  # of a picture of points: cells along a side, and pixels of each


def require_vectors(model: nn.Module) -> VectorFlow:
    """``model``, if it is a density of vectors.

    Raises:
        CheckpointError: it is of another kind.
    """
    if not isinstance(model, VectorFlow):
        config_of(model, DensityConfig)
    assert isinstance(model, VectorFlow)
    return model


def table_columns(model: nn.Module) -> tuple[Column, ...]:
    """Columns of the table that a model was trained on; none for other data, and flows made in Python."""
    return model.config.columns if isinstance(model, DensityModel) else ()


@dataclass(frozen=True)
class Drawn:
    """Points and how many had to be drawn again for not being finite.

    Attributes:
        points: (N, D), float32, or float64 if the model is.
        redrawn: points that were drawn again.
    """

    points: np.ndarray
    redrawn: int


def sample(
    model: nn.Module, num_samples: int = 1000, seed: int = 0, condition: ArrayLike | None = None
) -> np.ndarray:
    """Points (N, D) of a density model, float32, or float64 if the model is; a larger N keeps the first.

    Of a table, columns of whole numbers are rounded down, as noise of [0, 1) was added to learn them.

    Args:
        model: from ``vflow.load``, or a ``DensityModel`` or ``Flow`` made in Python.
        num_samples: N, 1..10,000,000.
        seed: names the noise.
        condition: (F,) for all points, or (N, F), of a model with F features.

    Raises:
        ConfigError: a setting is out of range. CheckpointError: the model is no density of vectors.
        InputError: a condition that does not suit the model, or points stay non-finite after 8 redraws.

    Examples:
        >>> vflow.sample(vflow.flows.RealNVP(features=3, transforms=2), num_samples=5).shape
        (5, 3)
    """
    return draw_points(model, num_samples, seed, condition).points


@torch.no_grad()
def draw_points(
    model: nn.Module, num_samples: int, seed: int = 0, condition: ArrayLike | None = None
) -> Drawn:
    """As ``sample``, with a count of points that had to be drawn again."""
    model = require_vectors(model)
    check_range("num_samples", num_samples, 1, MAX_POINTS, whole=True)
    check_seed(seed)
    given = _conditions(model, condition, num_samples)
    eps = normal((num_samples, model.noise_dim), "points", seed)
    points = torch.cat(
        [_draw_chunk(model, e, c) for e, c in zip(eps.split(CHUNK), given.split(CHUNK), strict=True)]
    )
    attempt = redrawn = 0
    while len(faulty := (~points.isfinite().all(1)).nonzero().flatten()):
        attempt += 1
        if attempt > MAX_REDRAWS:
            what = counted(len(faulty), "point")
            raise InputError(f"{what} not finite after {MAX_REDRAWS} redraws; train the model more")
        redrawn += len(faulty)
        rows = faulty.tolist()
        fresh = torch.cat([normal((1, model.noise_dim), "points", seed, "redraw", r, attempt) for r in rows])
        parts = zip(fresh.split(CHUNK), given[faulty].split(CHUNK), strict=True)
        points[faulty] = torch.cat([_draw_chunk(model, e, c) for e, c in parts])
    kinds = [column.kind for column in table_columns(model) if not column.condition]
    for values, kind in zip(points.unbind(1), kinds, strict=False):  # views; other data have no kinds
        if kind != "number":
            values.floor_()
        if kind == "binary":
            values.clamp_(0, 1)
    return Drawn(points.reshape(-1, model.dim).numpy(), redrawn)


def _conditions(model: VectorFlow, condition: ArrayLike | None, count: int) -> torch.Tensor:
    """Conditions (count, F) of points to draw; of a model without one (count, 0)."""
    if condition is None and model.features:
        raise InputError(f"the model needs a condition of {model.features} numbers; give it as condition")
    given = np.asarray([] if condition is None else condition, dtype=np.float64)
    if given.shape not in ((model.features,), (count, model.features)):
        raise InputError(
            f"condition has shape {given.shape}; give ({model.features},) for all points, or "
            f"({count}, {model.features})"
        )
    return torch.from_numpy(np.broadcast_to(given, (count, model.features)).copy())


def _draw_chunk(model: VectorFlow, eps: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """Points of up to 1,024 rows of noise and conditions, on the CPU, in float32 or float64."""
    like, count = next(model.parameters(), eps), len(eps)
    eps, given = (pad(rows).to(like) for rows in (eps, given))
    points = model.sample(eps, given)[:count] if model.features else model.sample(eps)[:count]
    return points.cpu().to(torch.promote_types(points.dtype, torch.float32))


def pad(rows: torch.Tensor) -> torch.Tensor:
    """Up to 1,024 rows, padded to so many by zeros."""
    return torch.cat([rows, rows.new_zeros(CHUNK - len(rows), rows.shape[1])])


@torch.no_grad()
def score_rows(model: VectorFlow, rows: Points, index: np.ndarray | None = None) -> np.ndarray:
    """log p of rows in nats, float64 (N,), each whatever the others are.

    Columns of whole numbers have the probability of their value: the mean of p over ``DRAWS`` points of its
    unit (Sobol, the same for all rows), so with other columns it is a density of those.

    Args:
        index: rows to score, all when not given.
    """
    index = np.arange(len(rows)) if index is None else index
    points = torch.from_numpy(rows.points[index])
    given = (
        torch.zeros(len(points), 0) if rows.conditions is None else torch.from_numpy(rows.conditions[index])
    )
    noise = torch.zeros(1, rows.dim)
    if rows.whole.any():
        whole = torch.from_numpy(rows.whole)
        engine = torch.quasirandom.SobolEngine(int(whole.sum()), scramble=True, seed=0)
        noise = torch.zeros(DRAWS, rows.dim).masked_scatter(whole, engine.draw(DRAWS))
    like = next(model.parameters(), noise)
    found = []
    for part, condition in zip(points.split(CHUNK), given.split(CHUNK), strict=True):
        context = pad(condition).to(like) if model.features else None
        draws = [model.log_prob(pad(part + u).to(like), context)[: len(part)].double().cpu() for u in noise]
        found.append(torch.stack(draws).logsumexp(0) - math.log(len(draws)))
    return torch.cat(found).numpy() if found else np.zeros(0)


def write_points(path: Path, points: np.ndarray, names: Sequence[str] = ()) -> None:
    """Write points (N, D) to ``path``: a CSV, one point a line, or an npz with ``points``.

    Args:
        names: of the columns; a CSV has them as its header.

    Raises:
        ConfigError: another ending. InputError: the file cannot be written.
    """
    check_ending(path)
    with atomic_write(path) as draft:
        if path.suffix == ".npz":
            np.savez(draft, points=points)
            return
        with draft.open("w", newline="", encoding="utf-8") as file:
            if names:
                csv.writer(file, lineterminator="\n").writerow(names)
            np.savetxt(file, points, fmt="%.9g", delimiter=",")


def check_ending(path: Path) -> None:
    """Refuse a file of points that is neither CSV nor npz.

    Raises:
        ConfigError: naming both.
    """
    if path.suffix not in (".csv", ".npz"):
        raise ConfigError(f"{path}: points are written as .csv or .npz; name the file so")


def open_points(source: str, split: str, config: DensityConfig, *, drop_missing: bool = False) -> Points:
    """Points of ``split`` that suit a model; angles, in radians, are brought to [−π, π).

    Raises:
        InputError: no such points, of another length, angles beyond 2π, or points off the sphere.
    """
    columns = () if source in TARGETS else config.columns
    data = Points(source, split, columns, drop_missing=drop_missing)  # type: ignore[arg-type]
    if config.on_sphere and data.dim == 2 and not data.named:
        _place(data)
    _check_length(source, data.dim, config)
    if config.features and data.conditions is None:
        raise InputError(
            f"{source}: the model needs {config.features} conditions; give a table with such columns"
        )
    if config.base in CIRCULAR:
        largest = float(abs(data.points).max())
        if largest > 2 * math.pi + 1e-3:
            raise InputError(
                f"{source}: {largest:g} exceeds 2π; give angles in radians (degrees times π / 180)"
            )
        data.points = np.remainder(data.points + math.pi, 2 * math.pi) - np.float32(math.pi)
    if config.on_sphere and (far := abs(np.linalg.norm(data.points, axis=1) - 1) > 1e-3).any():
        row = int(np.flatnonzero(far)[0]) + 1
        raise InputError(f"{source}: point {row} does not lie on the unit sphere; divide it by its length")
    return data


def _place(data: Points) -> None:
    """Take latitudes and longitudes to the unit sphere.

    Raises:
        InputError: naming the file, a row that is no place.
    """
    try:
        data.points = unit_vectors(data.points, data.table.names)
    except InputError as error:
        raise InputError(f"{data.source}: {error}") from error
    data.whole = np.zeros(0, dtype=bool)


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


def check_spread(source: str, points: np.ndarray, names: Sequence[str] = ()) -> None:
    """Refuse points that have no density, since a column of them is constant.

    Raises:
        InputError: naming the column.
    """
    constant = np.flatnonzero(np.ptp(points, axis=0) == 0)
    if len(constant):
        name = names[constant[0]] if names else constant[0] + 1
        raise InputError(f"{source}: column {name} is constant; leave it out")


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
