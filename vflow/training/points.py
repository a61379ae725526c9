"""Data modules of density models: points to be learned by likelihood, or an energy by reverse KL."""

from __future__ import annotations

import itertools
import math
from abc import ABC
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vflow.bijections.whitening import Whitening
from vflow.config import DensityConfig, Preset
from vflow.data.datasets.points import MIN_ROWS, Points, held_out_rows
from vflow.data.datasets.registry import open_validation, require_path, require_suitable
from vflow.densities import ENERGIES, Energy
from vflow.errors import ConfigError, InputError
from vflow.models import DensityModel, PointBatch
from vflow.pipelines.common import evenly_spaced
from vflow.pipelines.density import (
    check_spread,
    draw_points,
    open_energy,
    open_points,
    points_picture,
    score_rows,
)
from vflow.randomness import forked_rng, normal
from vflow.training.data import DataModule, S, Samples, begins, permutation
from vflow.training.density import HeldOut, energy_weight, nats_of, optimize
from vflow.training.ema import Ema

DRAWN = 20_000  # points of a picture
RANKED, QUANTILES = 10_000, 1001  # training rows that are scored, and quantiles of them that are kept
ENERGY_EXAMPLES = 20_000  # an epoch's length where there are no data, and samples for validation


@dataclass(frozen=True)
class _Scored(DataModule[S, PointBatch], ABC):
    """Data of densities, scored point by point."""

    chunk: ClassVar[int] = 2000

    def bits(self, model: DensityModel, batch: PointBatch) -> Tensor:
        return model.bits_per_dim(model(batch))[:, None]


@dataclass(frozen=True)
class PointData(_Scored[Points]):
    """The training stream of points and those held out (None: there are none).

    noise: deviation of noise on training points, once these are white; the first epoch, which initialises a
        model, has none.
    """

    noise: float = 0.0

    def batch(self, start: int, size: int) -> PointBatch:
        epochs, offsets = np.divmod(np.arange(start, start + size), len(self.train))
        index = [
            permutation(self.seed, int(epoch), len(self.train))[offsets[epochs == epoch]]
            for epoch in np.unique(epochs)
        ]
        batch = point_batch(self.train, np.concatenate(index), self.seed, start)
        points = batch.points
        if self.noise:
            eps = normal(tuple(points.shape), "input-noise", self.seed, start)
            blur = self.noise * self.whitening.scale * (eps @ self.whitening.factor.T)
            points = points + torch.from_numpy(epochs > 0)[:, None] * blur
        return batch._replace(points=points)

    @cached_property
    def whitening(self) -> Whitening:
        """Map after which the training points are white."""
        whitening = Whitening(self.train.dim)
        whitening.initialize(torch.from_numpy(self.train.dequantized(slice(None)))[:, :, None, None])
        return whitening

    def validation(self, indices: Sequence[int]) -> PointBatch:
        rows, (points, conditions, *_) = list(indices), self.scored
        return PointBatch(points[rows], None if conditions is None else conditions[rows])

    @cached_property
    def scored(self) -> PointBatch:
        """The points held out."""
        assert self.held
        return point_batch(self.held, slice(None))

    def draw(
        self, model: DensityModel, device: torch.device, cancelled: Callable[[], bool]
    ) -> Samples | None:
        """Points of the data beside sampled ones, as histograms."""
        return _picture(model, self.held)

    def describe(self, model: DensityModel, *, refitted: bool) -> dict[str, Any]:
        """Number of a table's rows that the model was trained on, and quantiles of their log p."""
        if not model.config.columns:
            return {}
        parts = [self.train, *([self.held] if self.held and refitted else [])]
        rows = sum(map(len, parts))
        chosen = [evenly_spaced(len(part), math.ceil(min(rows, RANKED) * len(part) / rows)) for part in parts]
        found = [score_rows(model, *each) for each in zip(parts, map(np.array, chosen), strict=True)]
        log_p = np.concatenate(found)
        levels = np.linspace(0, 1, min(len(log_p), QUANTILES))
        return {"train_rows": rows, "train_log_p": np.quantile(log_p, levels).tolist()}


@dataclass(frozen=True)
class EnergySamples(_Scored[tuple[()]]):
    """Noise of samples that an energy judges, with a weight that rises over the first half of the run."""

    energy: Energy
    noise_dim: int
    examples: int  # of the whole run
    batch_size: int  # of the global batch, whose parts share its noise and its weight

    @property
    def length(self) -> int:
        return ENERGY_EXAMPLES

    @property
    def held_out(self) -> int:
        return ENERGY_EXAMPLES

    def batch(self, start: int, size: int) -> PointBatch:
        first = begins(start, self.batch_size)
        eps = normal((start - first + size, self.noise_dim), "energy", self.seed, first)[start - first :]
        return PointBatch(eps, energy=self.energy, weight=energy_weight(first / self.examples))

    def validation(self, indices: Sequence[int]) -> PointBatch:
        eps = normal((ENERGY_EXAMPLES, self.noise_dim), "energy-validation")
        return PointBatch(eps[list(indices)], energy=self.energy)

    def draw(
        self, model: DensityModel, device: torch.device, cancelled: Callable[[], bool]
    ) -> Samples | None:
        """Sampled points as a histogram."""
        return _picture(model, None)


def open_point_data(config: DensityConfig, preset: Preset) -> PointData | EnergySamples:
    """The points or the energy that the preset names.

    Raises:
        ConfigError, InputError: no such points, or points that do not suit the model.
    """
    require_suitable(preset.data, config.family)
    source, training = require_path(preset.data, "FILE|NAME"), preset.training
    if config.features and not config.columns:
        raise ConfigError("model.features: give a table with --data, and its conditions with --condition")
    if source in ENERGIES:
        energy, noise_dim, size = (
            open_energy(source, config),
            DensityModel(config).noise_dim,
            training.batch_size,
        )
        return EnergySamples((), None, training.seed, energy, noise_dim, training.max_steps * size, size)
    opened = partial(open_points, source, config=config, drop_missing=preset.data.drop_missing)
    train = opened("train")
    if not train.named:
        check_spread(source, train.points, [c.name for c in config.columns if not c.condition])
    held = open_validation(lambda: opened("validation"))
    return PointData(train, held, training.seed, noise=training.input_noise)


def refit(preset: Preset, steps: int) -> DensityModel:
    """A model trained for ``steps`` on all rows of the preset's file, as a run trains on those not held out.

    On the CPU, by the averaged weights; after 0 steps it is what the rows initialise.
    """
    assert isinstance(preset.model, DensityConfig)
    source = require_path(preset.data, "FILE|NAME")
    rows = open_points(source, "all", preset.model, drop_missing=preset.data.drop_missing)
    return _train(preset, rows, steps).model


def fit_rows(preset: Preset, numbers: np.ndarray) -> DensityModel:
    """A model trained on a table's numbers, float32 (N, columns), as a run trains on a file of them.

    The best step for rows held out is found, then it is trained as long on all. Of rows too few to hold any
    out it is the Gaussian that they initialise. On the CPU.
    """
    assert isinstance(preset.model, DensityConfig)
    columns, held = preset.model.columns, held_out_rows(len(numbers))
    rows, kept = Points.of(numbers, columns), Points.of(numbers[held], columns)
    if len(kept) < MIN_ROWS or len(rows) - len(kept) < MIN_ROWS:
        return _train(preset, rows, 0).model
    found = _train(preset, Points.of(numbers[~held], columns), preset.training.max_steps, kept)
    return _train(preset, rows, found.step).model if preset.training.refit else found.model


class _Trained(NamedTuple):
    model: DensityModel
    step: int


def _train(preset: Preset, rows: Points, steps: int, held: Points | None = None) -> _Trained:
    """A model trained on ``rows``, and the step after which its weights were best for those ``held``."""
    assert isinstance(preset.model, DensityConfig)
    training = preset.training
    data = PointData(rows, held, training.seed, noise=training.input_noise)
    with forked_rng(training.seed):
        model = DensityModel(preset.model)
    model.initialize(point_batch(rows, slice(None), training.seed))
    held_out = None
    if held:
        held_out = HeldOut(lambda: nats_of(model, data.scored), training.patience, errors=1.0)
        held_out.score(model, Ema(model, 0), 0)
    starts = itertools.count(0, training.batch_size)

    def loss(share: float) -> Tensor:
        return -model(data.batch(next(starts), training.batch_size)).mean()

    for progress in itertools.islice(optimize(model, loss, training, held_out=held_out), steps):
        if progress.step == steps:
            break
    return _Trained(model.eval(), held_out.step if held_out else steps)


def point_batch(points: Points, index: np.ndarray | slice, *key: int) -> PointBatch:
    """Points at ``index`` with their conditions; noise on whole numbers is named by ``key``."""
    conditions = None if points.conditions is None else torch.from_numpy(points.conditions[index])
    return PointBatch(torch.from_numpy(points.dequantized(index, *key)), conditions)


def _picture(model: DensityModel, held: Points | None) -> Samples | None:
    given = None if held is None or held.conditions is None else held.conditions[:DRAWN]
    try:
        drawn = draw_points(model, DRAWN if given is None else len(given), condition=given)
    except InputError:  # early in training nothing may be finite
        return None
    clouds = [drawn.points] if held is None else [held.points[:DRAWN], drawn.points]
    return Samples(points_picture(*clouds), drawn.redrawn, 0)
