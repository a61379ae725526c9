"""One optimisation step: gradients over micro-batches, the spike guard, the update and its average."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from vflow.config import TrainingConfig
from vflow.errors import counted
from vflow.models import Model
from vflow.training.data import on_device
from vflow.training.ema import Ema
from vflow.training.features import FeatureCache
from vflow.training.losses import LOSSES, Loss, auxiliary_losses, pretraining_loss
from vflow.training.state import Progress

SPIKE = 50.0  # times the usual gradient norm, or grad_clip_norm if that is larger
WARM = 20  # accepted steps before a norm can be called unusual
MEMORY = 0.95  # of the running mean of log norms
PATIENCE = 5  # skipped steps in a row before a roll-back
ROLLBACKS = 3  # roll-backs before giving up
BACKBONE_BATCH = 8  # pictures: the features of more do not fit a CPU's caches
BACKOFF = 0.5  # of the learning rate at each roll-back
USUAL_RATE = TrainingConfig().learning_rate  # no higher one is advised to a run that diverged


def accept(progress: Progress, loss: float, norm: float, clip: float | None) -> bool:
    """Spike guard: False for a loss or gradient norm that is not finite, or a norm far beyond the usual one.

    A skipped step keeps one bad batch from ruining Adam's moments (STARFlow does the same).
    ``progress`` is updated: counts of skipped steps, the usual norm. All inputs are the same on all
    processes, so all decide alike.
    """
    usual = max(math.exp(progress.log_norm), clip or 0.0)
    spike = progress.accepted >= WARM and norm > SPIKE * usual
    if not math.isfinite(loss) or not math.isfinite(norm) or spike:
        progress.skipped += 1
        progress.skipped_in_a_row += 1
        return False
    progress.skipped_in_a_row = 0
    progress.accepted += 1
    log_norm = math.log(max(norm, 1e-12))
    weight = max(1 - MEMORY, 1 / progress.accepted)
    progress.log_norm += weight * (log_norm - progress.log_norm)
    return True


def advice(progress: Progress, peak: float, *, resume: bool) -> str:
    """One line of advice for a run that diverges after all roll-backs.

    Args:
        peak: its rate after warm-up.
        resume: its last commit is usable: a step after it was accepted.
    """
    how = "--resume and" if resume else "another --output and"
    rate = min(peak * BACKOFF, USUAL_RATE)
    skipped = progress.skipped_in_a_row
    what = f"{counted(skipped, 'step')} in a row were skipped" if skipped else "weights are not finite"
    return (
        f"{what} at step {progress.step}, after {counted(progress.rollbacks, 'roll-back')}; "
        f"run again with {how} --set training.learning_rate={rate:.1g}, "
        "a longer training.warmup_steps, or --dtype float32, and check the data"
    )


@dataclass(frozen=True)
class StepResult:
    """Mean ``TrainState.objective`` of the global batch, gradient norm before clipping, and the decisions."""

    loss: float
    norm: float
    accepted: bool
    stop: bool


@dataclass(frozen=True)
class TrainState:
    """The prepared model, its optimiser and the average of its weights.

    Attributes:
        plain: the model without wrappers.
        autocast: precision of conditioners; None: float32.
        targets: pictures per example that are scored.
        cache: known features of a frozen backbone.
    """

    accelerator: Accelerator
    model: nn.Module
    plain: Model
    optimizer: Optimizer
    ema: Ema
    config: TrainingConfig
    autocast: torch.dtype | None
    targets: int
    cache: FeatureCache | None = None

    @property
    def objective(self) -> str:
        """Name of the logged loss: bits_per_dim, or color_mean while that is pretrained."""
        return "color_mean" if pretraining_loss(self.config) else "bits_per_dim"

    def is_finite(self) -> bool:
        """False if weights, buffers or averages hold a NaN or an infinity, which must not be committed.

        Buffers change in skipped steps too: the running averages of a batch norm.
        """
        values = [*self.plain.state_dict().values(), *self.ema.tensors().values()]
        return all(bool(value.isfinite().all()) for value in values if value.is_floating_point())

    def step(self, batches: list[Any], progress: Progress, rate: float, stop: bool) -> StepResult:
        """Gradients accumulated over ``batches`` and one update with learning rate ``rate``.

        ``stop`` asks to end after this step; the result's ``stop`` is True when any process asks.
        """
        loss = self._gradients(batches, progress.step)
        limit = self.config.grad_clip_norm
        norm = float(self.accelerator.clip_grad_norm_(self.model.parameters(), limit or torch.inf))
        loss, stop = self._agree(loss, stop)
        accepted = accept(progress, loss, norm, limit)
        if accepted:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
            self.ema.update(self.model, progress.accepted - 1)
        self.optimizer.zero_grad(set_to_none=True)
        return StepResult(loss, norm, accepted, stop)

    def _gradients(self, batches: list[Any], step: int) -> float:
        """Backward of the mean loss over micro-batches; returns the mean objective of this process."""
        device = self.accelerator.device
        losses: list[Loss] = [] if pretraining_loss(self.config) else auxiliary_losses(self.config, step)
        total = torch.zeros((), device=device)
        for number, batch in enumerate(batches, start=1):
            last = number == len(batches)
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                batch = self.with_features(self.with_backbone_features(on_device(batch, device)))
                objective = self.loss(batch)
                with self._autocast():
                    auxiliary = [loss(cast(Any, self.plain), batch) for loss in losses]
                self.accelerator.backward(sum(auxiliary, objective) / len(batches))
            total += objective.detach() / len(batches)
        return float(total)

    @torch.no_grad()
    def with_backbone_features(self, batch: Any) -> Any:
        """The batch with the backbone's features, from the cache; what is missing there is computed once."""
        if self.cache is None:
            return batch
        rows, backbone = batch.rows.cpu(), cast(Any, self.plain).backbone
        missing = self.cache.missing(rows)
        with self._autocast():
            for places in missing.nonzero()[:, 0].split(BACKBONE_BATCH):
                self.cache.put(rows[places], backbone(batch.condition[places.to(batch.rows.device), :1]))
        return batch._replace(backbone_features=[f.to(batch.rows.device) for f in self.cache.get(rows)])

    def with_features(self, batch: Any) -> Any:
        """The batch with the condition's features, computed once where several losses use them."""
        if not any(LOSSES[type(loss)].uses_features for loss in self.config.losses):
            return batch
        with self._autocast():
            return batch._replace(features=cast(Any, self.plain).features_of(batch))

    def loss(self, batch: Any) -> Tensor:
        """Objective of a batch: mean bits/dim, or the pretraining loss."""
        with self._autocast():
            if pretraining := pretraining_loss(self.config):
                return pretraining(cast(Any, self.plain), batch)
            nats = self.model(batch)
        return self.plain.bits_per_dim(nats, self.targets).mean()

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
