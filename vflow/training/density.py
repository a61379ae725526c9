"""Training of density models in one process, on points by likelihood or to an energy by reverse KL."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vflow.config import TrainingConfig
from vflow.densities import EnergyFunction
from vflow.densities.base import check_rows
from vflow.errors import ConfigError, InputError, counted
from vflow.models.flow import PointBatch, VectorFlow
from vflow.randomness import generator, normal
from vflow.training.ema import Ema
from vflow.training.schedule import learning_rate, make_optimizer

MOST_SKIPPED = 50  # steps in a row without a finite loss and gradient
VALIDATED = 4096  # held-out points at once
ANNEALED_FROM = 0.01  # weight of the energy at the first step; it is 1 from half of all steps on


def energy_weight(share: float) -> float:
    """β of an energy after a ``share`` of all steps: from 0.01 to 1 over the first half.

    As in Rezende & Mohamed 2015, section 6.1.
    """
    return min(1.0, ANNEALED_FROM + 2 * share)


class Progress(NamedTuple):
    """One step: its number from 1, and its loss in nats per example.

    ``val_nats`` is the mean over held-out examples by the averaged weights, at steps that compute it.
    """

    step: int
    nats: float
    val_nats: float | None = None


class HeldOut:
    """Selection of the averaged weights that are best for held-out examples.

    Args:
        nats: losses of the held-out examples, (N,).
        patience: scores in a row that are no better than the best, after which the run ends; None: no end.
        errors: standard errors by which the mean gain of a better score exceeds 0.
    """

    def __init__(self, nats: Callable[[], Tensor], patience: int | None, errors: float = 0.0) -> None:
        self.nats, self.patience, self.errors = nats, patience, errors
        self.best, self.least, self.waited = list[Tensor](), torch.tensor(math.inf), 0
        self.step = 0
        """Step of the best score."""

    def score(self, model: nn.Module, ema: Ema, step: int) -> float:
        """Mean loss with the averaged weights after ``step``, which are kept if none was better."""
        with _averaged(model, ema):
            nats = self.nats()
            self.waited += 1
            if self._better(nats):
                self.best, self.least, self.waited = [x.clone() for x in _values(model)], nats, 0
                self.step = step
        return float(nats.mean())

    def _better(self, nats: Tensor) -> bool:
        if not self.best or not self.errors:
            return bool(nats.mean() < self.least.mean())
        gain = self.least - nats
        error = gain.std() / len(gain) ** 0.5 if len(gain) > 1 else 0.0
        return bool(gain.mean() > self.errors * error)

    def exhausted(self) -> bool:
        """True where the patience is at its end."""
        return self.waited == self.patience

    def restore(self, model: nn.Module) -> None:
        """Give ``model`` the best weights, if any were scored."""
        if self.best:
            for value, kept in zip(_values(model), self.best, strict=True):
                value.copy_(kept)


def fit(
    model: VectorFlow,
    points: Tensor,
    config: TrainingConfig,
    seconds: float | None = None,
    *,
    conditions: Tensor | None = None,
    validation: PointBatch | None = None,
    patience: int | None = None,
) -> Iterator[Progress]:
    """Fit ``model`` to ``points`` (N, D) by maximum likelihood; its weights end as their moving average.

    With ``validation`` they end as the average that gave those points the most likelihood.

    A generator: it trains as it is iterated, and stopping early, by ``close`` too, keeps what is learned.

    Args:
        model: is changed in place.
        points: on the model's device.
        config: steps, batch size, rates and seed.
        seconds: of processor time; ends the run, schedule included, if it comes before ``max_steps``.
        conditions: (N, F), one for each point, of a model with F features.
        validation: held-out points and their conditions, scored every ``config.validate_every`` steps.
        patience: scores in a row that are no better than the best; the run ends after so many.

    Raises:
        InputError: no points, or points or conditions that do not suit the model, or one another, or are not
            finite.
        ConfigError: training diverges, or ``patience`` is below 1 or without ``validation``.
    """
    _check("", PointBatch(points, conditions), model)
    if validation is not None:
        _check("validation ", validation, model)
    elif patience is not None:
        raise ConfigError("patience: goes with validation; give held-out points")
    if patience is not None and patience < 1:
        raise ConfigError(f"patience {patience}: must be at least 1")

    def batch(rows: Tensor | slice) -> PointBatch:
        return PointBatch(points[rows], None if conditions is None else conditions[rows])

    model.initialize(batch(slice(config.actnorm_batch)))
    stream = row_batches(len(points), config.batch_size, config.seed, points.device)

    def loss(share: float) -> Tensor:
        return -model(batch(next(stream))).mean()

    held_out = None
    if validation is not None:
        held_out = HeldOut(lambda: nats_of(model, validation), patience)
    yield from optimize(model, loss, config, seconds, held_out)


def _check(name: str, batch: PointBatch, model: VectorFlow) -> None:
    """Refuse no points, and points and conditions that do not suit ``model`` or one another."""
    points, conditions = batch.points, batch.condition
    check_rows(f"{name}points", points, model.dim)
    if not len(points):
        raise InputError(f"{name}points: there are none; give at least one row")
    if conditions is not None and model.features:
        check_rows(f"{name}conditions", conditions, model.features)
    if conditions is None and model.features:
        raise InputError(f"{name}conditions: the model needs them, a tensor (B, {model.features})")
    if conditions is not None and len(conditions) != len(points):
        text = f"{counted(len(conditions), f'{name}condition')} for {len(points)} points; give each one"
        raise InputError(text)
    for what, rows in (("points", points), ("conditions", conditions)):
        if rows is not None and not rows.isfinite().all():
            row = int((~rows.isfinite()).flatten(1).any(1).nonzero()[0])
            raise InputError(f"{name}{what}[{row}] holds a number that is not finite; remove it")


@torch.no_grad()
def nats_of(model: VectorFlow, batch: PointBatch) -> Tensor:
    """−log p of each point of ``batch``, float64 (N,)."""
    found = []
    for start in range(0, len(batch.points), VALIDATED):
        rows = slice(start, start + VALIDATED)
        condition = None if batch.condition is None else batch.condition[rows]
        found.append(-model(PointBatch(batch.points[rows], condition)).double())
    return torch.cat(found)


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
    energy: EnergyFunction,
    config: TrainingConfig,
    seconds: float | None = None,
    *,
    conditions: Tensor | None = None,
) -> Iterator[Progress]:
    """Fit ``model`` to exp(−U) / Z by reverse KL: E[log q(x) + β U(x)] over its own samples x.

    The loss with β = 1 is KL − log Z; β rises from 0.01 (see ``energy_weight``). With conditions y the model
    learns q(x | y) ∝ exp(−U(x, y)) for all of them at once. A generator, as ``fit`` is.

    Args:
        model: is changed in place.
        energy: U in nats, (B,), of points (B, D), differentiable; of points and conditions (B, F), if the
            model takes a condition.
        config, seconds: as those of ``fit``.
        conditions: (N, F), from which each sample takes one at random, of a model with F features.

    Raises:
        InputError: conditions that do not suit the model or are not finite, or what ``energy`` returns is no
            tensor (B,).
        ConfigError: training diverges.
    """
    weight, steps = trained_parameters(model)[0], itertools.count()
    if conditions is not None and not len(conditions):
        raise InputError("conditions: there are none; give at least one row")
    if conditions is not None or model.features:
        size = 1 if conditions is None else len(conditions)
        _check("", PointBatch(weight.new_zeros(size, model.dim), conditions), model)

    def loss(share: float) -> Tensor:
        step = next(steps)
        eps = normal((config.batch_size, model.noise_dim), "energy", config.seed, step).to(weight)
        given = None
        if conditions is not None:
            rows = generator("conditions", config.seed, step).integers(len(conditions), size=len(eps))
            given = conditions[torch.from_numpy(rows).to(conditions.device)]
        return -model(PointBatch(eps, given, energy, energy_weight(share))).mean()

    yield from optimize(model, loss, config, seconds)


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
    model: nn.Module,
    loss: Callable[[float], Tensor],
    config: TrainingConfig,
    seconds: float | None = None,
    held_out: HeldOut | None = None,
) -> Iterator[Progress]:
    """Minimise ``loss`` by the run's optimiser, schedule, clipping and moving average.

    A generator, as ``fit`` is; ``loss`` takes the share of the run that is done, in [0, 1). A step whose
    loss or gradient is not finite is skipped. With ``held_out`` the weights end as the averages that were
    best for it.

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
            done, val_nats = step + 1, None
            if held_out and (done % config.validate_every == 0 or done == config.max_steps):
                val_nats = held_out.score(model, ema, done)
            yield Progress(done, value.item(), val_nats)
            if held_out and held_out.exhausted():
                break
    finally:
        ema.copy_to(model, model)
        if held_out:
            held_out.restore(model)
        model.eval()


def _values(model: nn.Module) -> list[Tensor]:
    """Weights and buffers, since the running averages of a batch norm belong to its weights."""
    return [value.detach() for value in (*model.parameters(), *model.buffers())]


@contextmanager
def _averaged(model: nn.Module, ema: Ema) -> Iterator[None]:
    """Context in which ``model`` has the averaged weights and is in evaluation mode."""
    present = Ema(model, 0)
    ema.copy_to(model, model)
    model.eval()
    try:
        yield
    finally:
        present.copy_to(model, model)
        model.train()
