"""Training of discrete flows by maximum likelihood: the likeliest of several starts is kept.

The gradient of a straight-through one-hot is biased, and a start may stay in a wrong permutation for good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from vflow.config import TrainingConfig
from vflow.models.discrete_flow import DiscreteFlow
from vflow.training.density import optimize


def fit_discrete(
    make: Callable[[], DiscreteFlow],
    patterns: Tensor,
    weights: Tensor,
    config: TrainingConfig,
    seeds: Iterable[int],
) -> tuple[DiscreteFlow, float]:
    """The flow of all ``seeds`` with the highest mean log-likelihood, and minus that, in nats.

    Args:
        make: builds a flow with random weights.
        patterns: int64 (N, D). weights: their probabilities (N,).
    """
    best: tuple[DiscreteFlow, float] | None = None
    for seed in seeds:
        torch.manual_seed(seed)
        flow = make()
        for _ in optimize(flow, lambda share, flow=flow: -(weights * flow(patterns)).sum(), config):  # type: ignore[misc]
            pass
        with torch.no_grad():
            nats = -float((weights * flow(patterns)).sum())
        if best is None or nats < best[1]:
            best = flow, nats
    if best is None:
        raise ValueError("seeds: give one or more")
    return best
