"""Training of density models in one process, on points by likelihood or to an energy by reverse KL."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vflow.config import TrainingConfig
from vflow.densities import Energy
from vflow.densities.base import check_rows
from vflow.errors import ConfigError, InputError, counted
from vflow.models.flow import PointBatch, VectorFlow
from vflow.models.vae import Vae
from vflow.randomness import generator, normal
from vflow.training.ema import Ema
from vflow.training.schedule import learning_rate, make_optimizer

MOST_SKIPPED = 50  # steps in a row without a finite loss and gradient
ANNEALED_FROM = 0.01  # weight of the energy at the first step; it is 1 from half of all steps on


def energy_weight(share: float) -> float:
    """β of an energy after a ``share`` of all steps: from 0.01 to 1 over the first half.

    As in Rezende & Mohamed 2015, section 6.1.
    """
    return min(1.0, ANNEALED_FROM + 2 * share)


class Progress(NamedTuple):
    """One step: its number from 1, and its loss in nats per example."""

    step: int
    nats: float


def fit(
    model: VectorFlow,
    points: Tensor,
    config: TrainingConfig,
    seconds: float | None = None,
    *,
    conditions: Tensor | None = None,
) -> Iterator[Progress]:
    """Fit ``model`` to ``points`` (N, D) by maximum likelihood; its weights end as their moving average.

    A generator: it trains as it is iterated, and stopping early, by ``close`` too, keeps what is learned.

    Args:
        model: is changed in place.
        points: on the model's device.
        config: steps, batch size, rates and seed.
        seconds: of processor time; ends the run, schedule included, if it comes before ``max_steps``.
        conditions: (N, F), one for each point, of a model with F features.

    Raises:
        InputError: points or conditions that do not suit the model, or one another, or are not finite.
        ConfigError: training diverges.
    """
    check_rows("points", points, model.dim)
    if conditions is not None and model.features:
        check_rows("conditions", conditions, model.features)
    if conditions is not None and len(conditions) != len(points):
        raise InputError(f"{counted(len(conditions), 'condition')} for {len(points)} points; give each one")
    for name, rows in (("points", points), ("conditions", conditions)):
        if rows is not None and not rows.isfinite().all():
            row = int((~rows.isfinite()).flatten(1).any(1).nonzero()[0])
            raise InputError(f"{name}[{row}] holds a number that is not finite; remove it")

    def batch(rows: Tensor | slice) -> PointBatch:
        return PointBatch(points[rows], None if conditions is None else conditions[rows])

    model.initialize(batch(slice(config.actnorm_batch)))
    stream = row_batches(len(points), config.batch_size, config.seed, points.device)
    yield from optimize(model, lambda share: -model(batch(next(stream))).mean(), config, seconds)


def batches(points: Tensor, size: int, seed: int) -> Iterator[Tensor]:
    """Batches of points (N, D) without end (see ``row_batches``)."""
    return (points[rows] for rows in row_batches(len(points), size, seed, points.device))


def row_batches(count: int, size: int, seed: int, device: torch.device) -> Iterator[Tensor]:
    """Numbers of rows of ``count``, ``size`` at a time, int64, without end.

    Each epoch is a permutation that depends on (seed, epoch) alone.
    """
    size = min(size, count)
    for epoch in itertools.count():
        order = torch.from_numpy(generator("points", seed, epoch).permutation(count))
        for rows in order[: count // size * size].split(size):
            yield rows.to(device)


def fit_energy(
    model: VectorFlow,
    energy: Energy,
    config: TrainingConfig,
    seconds: float | None = None,
) -> Iterator[Progress]:
    """Fit ``model`` to exp(−U) / Z by reverse KL: E[log q(x) + β U(x)] over its own samples x.

    The loss with β = 1 is KL − log Z. See ``fit`` for the arguments.
    """
    weight, steps = trained_parameters(model)[0], itertools.count()

    def loss(share: float) -> Tensor:
        eps = normal((config.batch_size, model.noise_dim), "energy", config.seed, next(steps)).to(weight)
        return -model(PointBatch(eps, energy=energy, weight=energy_weight(share))).mean()

    yield from optimize(model, loss, config, seconds)


def fit_autoencoder(
    model: Vae, bits: Tensor, config: TrainingConfig, seconds: float | None = None
) -> Iterator[Progress]:
    """Fit ``model`` to ``bits`` (N, D) as a plain autoencoder: least loss of reconstructions, no noise.

    See ``fit`` for the arguments.
    """
    stream = batches(bits, config.batch_size, config.seed)
    yield from optimize(model, lambda _: -model.reconstruction(next(stream)).mean(), config, seconds)


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Parameters that have gradients.

    Raises:
        ConfigError: there are none.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ConfigError("nothing to train: the model has no parameters; add layers that learn")
    return parameters


def optimize(
    model: nn.Module, loss: Callable[[float], Tensor], config: TrainingConfig, seconds: float | None = None
) -> Iterator[Progress]:
    """Minimise ``loss`` by the run's optimiser, schedule, clipping and moving average.

    A generator, as ``fit`` is; ``loss`` takes the share of the run that is done, in [0, 1). A step whose
    loss or gradient is not finite is skipped.

    Raises:
        ConfigError: there is nothing to train, or 50 steps in a row were skipped.
    """
    parameters = trained_parameters(model)
    optimizer = make_optimizer(model, config)
    ema, start, skipped = Ema(model, config.ema), time.process_time(), 0
    model.train()
    try:
        for step in range(config.max_steps):
            share = step / config.max_steps
            if seconds is not None:
                share = max(share, (time.process_time() - start) / seconds)
                if share >= 1:
                    break
            place = step if step < config.warmup_steps else int(share * config.max_steps)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, place)
            value = loss(share)
            optimizer.zero_grad()
            value.backward()
            norm = torch.nn.utils.clip_grad_norm_(parameters, config.grad_clip_norm or math.inf)
            skipped = 0 if math.isfinite(value.item()) and bool(norm.isfinite()) else skipped + 1
            if skipped == MOST_SKIPPED:
                raise ConfigError(
                    f"training diverged: no finite loss and gradient in the {skipped} steps to step "
                    f"{step + 1}; lower the learning rate ({config.learning_rate:g}), and check the data"
                )
            if not skipped:
                optimizer.step()
                ema.update(model, step)
            yield Progress(step + 1, value.item())
    finally:
        ema.copy_to(model, model)
        model.eval()
