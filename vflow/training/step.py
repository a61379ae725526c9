"""One optimisation step over the micro-batches of one process."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from vflow.config import TrainingConfig
from vflow.models import Model
from vflow.training import guards
from vflow.training.best_of import best_of_penalty
from vflow.training.contrast import contrast_penalty
from vflow.training.ema import Ema
from vflow.training.energy import energy_penalty
from vflow.training.material import on_device
from vflow.training.outline import outline_penalty
from vflow.training.progress import Progress
from vflow.training.tensors import full


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
        accepted = guards.accept(progress, loss, norm, self.config.clip)
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
            return batch._replace(features=cast(Any, self.plain).features(batch.given))

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
            if config.best_of and batch.guesses is not None:
                total += best_of_penalty(plain, batch, config.best_of)
            if config.outline and self.aim != "outline":
                total += outline_penalty(plain, batch, config.outline)
            if config.energy and batch.guesses is not None:
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
