"""When not to take a step: non-finite numbers and gradients far beyond the usual."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from vflow.config import TrainingConfig
from vflow.models import Model
from vflow.training.data import on_device
from vflow.training.distributed import full
from vflow.training.ema import Ema
from vflow.training.losses import best_of_penalty, contrast_penalty, energy_penalty, outline_penalty
from vflow.training.state import Progress

SPIKE = 50.0  # times the usual gradient norm, or the clip if that is larger
WARM = 20  # accepted steps before a norm can be called unusual
MEMORY = 0.95  # of the running mean of log norms
PATIENCE = 5  # skipped steps in a row before a roll-back
ROLLBACKS = 3  # roll-backs before giving up
BACKOFF = 0.5  # of the learning rate at each roll-back


def accept(progress: Progress, loss: float, norm: float, clip: float | None) -> bool:
    """Whether a step with this loss and gradient norm may change the weights.

    Skipping such steps keeps one bad batch from ruining Adam's moments (STARFlow does the same).
    ``progress`` is updated: counts of skipped steps, the usual norm. All inputs are the same on all
    processes, so all decide alike.
    """
    if not math.isfinite(loss) or not math.isfinite(norm) or _spike(progress, norm, clip):
        progress.skipped += 1
        progress.skipped_in_a_row += 1
        return False
    progress.skipped_in_a_row = 0
    progress.accepted += 1
    log_norm = math.log(max(norm, 1e-12))
    weight = max(1 - MEMORY, 1 / progress.accepted)
    progress.log_norm += weight * (log_norm - progress.log_norm)
    return True


def _spike(progress: Progress, norm: float, clip: float | None) -> bool:
    usual = max(math.exp(progress.log_norm), clip or 0.0)
    return progress.accepted >= WARM and norm > SPIKE * usual


def advice(progress: Progress, rate: float) -> str:
    """What to do when roll-backs did not help."""
    return (
        f"{progress.skipped_in_a_row} steps in a row were skipped at step {progress.step}, "
        f"after {progress.rollbacks} roll-backs; try --set training.learning_rate={rate * BACKOFF:.1g}, "
        "a longer training.warmup_steps, or --dtype float32, and check the data"
    )


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Rate of the update from ``step`` to ``step + 1``: linear warm-up, then a cosine.

    The cosine runs from ``learning_rate`` at the end of the warm-up to ``final_rate`` times that at
    ``max_steps``.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    span = max(1, config.max_steps - config.warmup_steps)
    progress = min(1.0, (step - config.warmup_steps) / span)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return config.learning_rate * (config.final_rate + (1 - config.final_rate) * cosine)


@dataclass(frozen=True)
class StepResult:
    """Mean loss over the global batch (``Learner.aim``), gradient norm before clipping, what was decided."""

    loss: float
    norm: float
    accepted: bool
    stop: bool


@dataclass(frozen=True)
class Learner:
    """What a step changes: the prepared model, its optimiser and the average of its weights.

    ``plain`` is the model without wrappers; ``autocast`` the precision of conditioners, None: float32;
    ``targets`` the pictures per example that the likelihood is of.
    """

    accelerator: Accelerator
    model: nn.Module
    plain: Model
    optimizer: Optimizer
    ema: Ema
    config: TrainingConfig
    autocast: torch.dtype | None
    targets: int

    @property
    def aim(self) -> Literal["bits_per_dim", "outline"]:
        """What the loss is of: the outline's error (grey levels) where the preset wishes it alone."""
        outline = self.config.outline
        return "outline" if outline and outline.alone else "bits_per_dim"

    def step(self, batches: list[Any], progress: Progress, rate: float, stop: bool) -> StepResult:
        """Accumulate gradients over ``batches``, then update with learning rate ``rate``.

        ``stop`` is this process's wish to end; the result's is true when any process wishes so.
        """
        loss = self._gradients(batches)
        norm = full(
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.clip or torch.inf)
        ).item()
        loss, stop = self._agree(loss, stop)
        accepted = accept(progress, loss, norm, self.config.clip)
        if accepted:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
            self.ema.update(self.model, progress.accepted - 1)
        self.optimizer.zero_grad(set_to_none=True)
        return StepResult(loss, norm, accepted, stop)

    def _gradients(self, batches: list[Any]) -> float:
        """Backward of the mean bits/dim; returns that mean over this process's examples."""
        device = self.accelerator.device
        total = torch.zeros((), device=device)
        for number, batch in enumerate(batches, start=1):
            last = number == len(batches)
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                batch = self.shared(on_device(batch, device))
                loss = self.loss(batch) / len(batches)
                self.accelerator.backward(loss + self.further(batch) / len(batches))
            total += loss.detach()
        return float(total)

    def shared(self, batch: Any) -> Any:
        """The batch with what all aims look at, computed once for them."""
        if not (self.config.best_of or self.config.outline):
            return batch
        with self._autocast():
            return batch._replace(features=cast(Any, self.plain).features(batch.condition))

    def loss(self, batch: Any) -> Tensor:
        """Mean bits/dim of a batch, or what else the ``aim`` is."""
        with self._autocast():
            if self.aim == "outline":
                assert self.config.outline
                return outline_penalty(cast(Any, self.plain), batch, self.config.outline)
            nats = self.model(batch)
        return self.plain.bits_per_dim(nats, self.targets).mean()

    def further(self, batch: Any) -> Tensor | float:
        """What is minimised beside the bits/dim; it is not logged as loss. Preset says which models can."""
        config, plain = self.config, cast(Any, self.plain)
        with self._autocast():
            total: Tensor | float = 0.0
            if config.best_of and batch.sample_eps is not None:
                total += best_of_penalty(plain, batch, config.best_of)
            if config.outline and self.aim != "outline":
                total += outline_penalty(plain, batch, config.outline)
            if config.energy and batch.sample_eps is not None:
                total += energy_penalty(plain, batch, config.energy)
            if config.contrast:
                total += contrast_penalty(plain, batch, config.contrast)
        return total

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.accelerator.device.type, self.autocast, enabled=self.autocast is not None)

    def _agree(self, loss: float, stop: bool) -> tuple[float, bool]:
        """Mean loss and any stop over processes; one small collective call a step."""
        accelerator = self.accelerator
        if accelerator.num_processes == 1:
            return loss, stop
        mine = torch.tensor([loss / accelerator.num_processes, float(stop)], dtype=torch.float64)
        total = accelerator.reduce(mine.to(accelerator.device), "sum")
        return float(total[0]), bool(total[1] > 0)


def make_optimizer(model: nn.Module, config: TrainingConfig) -> Optimizer:
    """Adam, AdamW (with weight decay) or Adamax as configured; the rate is set before each step."""
    if config.optimizer == "adamax":
        return torch.optim.Adamax(
            model.parameters(), config.learning_rate, betas=config.betas, eps=config.adam_eps
        )
    if config.weight_decay:
        return torch.optim.AdamW(
            model.parameters(),
            config.learning_rate,
            betas=config.betas,
            eps=config.adam_eps,
            weight_decay=config.weight_decay,
            fused=True,
        )
    return torch.optim.Adam(
        model.parameters(), config.learning_rate, betas=config.betas, eps=config.adam_eps, fused=True
    )
