"""When not to take a step: non-finite numbers and gradients far beyond the usual."""

from __future__ import annotations

import math

from vflow.training.progress import Progress

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
