"""Optimiser of a run, and its learning rate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from vflow.config import TrainingConfig


def learning_rate(config: TrainingConfig, step: int, share: float | None = None) -> float:
    """Rate of the update from ``step`` to ``step + 1``: linear warm-up, then a cosine.

    The cosine runs from ``learning_rate`` at the end of the warm-up to ``min_lr_ratio`` times that at
    ``max_steps``. Of a run that ends by the clock it falls with ``share``, 0..1, of its time, from the start.
    """
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    if warm < 1 and share is None:
        return config.learning_rate * (step + 1) / config.warmup_steps
    span = max(1, config.max_steps - config.warmup_steps)
    progress = min(1.0, max(0, step - config.warmup_steps) / span) if share is None else share
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return warm * config.learning_rate * (config.min_lr_ratio + (1 - config.min_lr_ratio) * cosine)


def make_optimizer(model: nn.Module, config: TrainingConfig) -> Optimizer:
    """Adam, with weight decay AdamW, as configured; each step sets the learning rate."""
    common: dict[str, Any] = {
        "lr": config.learning_rate, "betas": config.betas, "eps": config.adam_eps, "fused": True
    }  # fmt: skip
    if config.weight_decay:
        return torch.optim.AdamW(model.parameters(), **common, weight_decay=config.weight_decay)
    return torch.optim.Adam(model.parameters(), **common)
