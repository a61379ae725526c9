"""Conditional flows fitted to inverse problems by likelihood."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from torch import Tensor

from vflow.config import TrainingConfig
from vflow.densities.inverse import InverseProblem
from vflow.models.flow import PointBatch, VectorFlow
from vflow.training.density import Progress, optimize, trained_parameters


def fit_posterior(
    model: VectorFlow, problem: InverseProblem, config: TrainingConfig, seconds: float | None = None
) -> Iterator[Progress]:
    """Fit p(x | y) by maximum likelihood to fresh pairs; as ``vflow.training.density.fit``, a generator."""
    weight, steps = trained_parameters(model)[0], itertools.count()

    def pairs(count: int, key: int | str) -> PointBatch:
        points, observed = problem.pairs(count, config.seed, key)
        return PointBatch(points.to(weight), observed.to(weight))

    model.initialize(pairs(config.actnorm_batch, "first"))

    def loss(share: float) -> Tensor:
        return -model(pairs(config.batch_size, next(steps))).mean()

    yield from optimize(model, loss, config, seconds)
