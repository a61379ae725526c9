"""Probe: what a small classifier reads from features, such as a direction from the latents of a frame."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.randomness import forked_rng

LEAST_DEVIATION = 0.1  # of the largest: features that hardly vary are not brought to the size of the others


class ProbeSettings(NamedTuple):
    """One hidden layer, trained by AdamW on mini-batches."""

    hidden: int = 512
    epochs: int = 150
    batch_size: int = 128
    learning_rate: float = 5e-3
    weight_decay: float = 0.05
    seed: int = 0


def probe_accuracy(
    train: tuple[Tensor, Tensor], held: tuple[Tensor, Tensor], settings: ProbeSettings | None = None
) -> float:
    """Share of held-out examples whose label a probe with one hidden layer reads from their features.

    Args:
        train: features (N, D) and labels int64 (N,) from 0; their moments standardise all features.
        held: the same of examples that the probe is not trained on.

    Raises:
        ValueError: a held-out label that no training example has.
    """
    settings = settings or ProbeSettings()
    (features, labels), (held_features, held_labels) = train, held
    if unknown := set(held_labels.tolist()) - set(labels.tolist()):
        raise ValueError(f"no training example has the labels {sorted(unknown)}")
    deviation, mean = torch.std_mean(features, 0)
    deviation = deviation.clamp_min(LEAST_DEVIATION * float(deviation.max().clamp_min(1e-12)))
    with forked_rng(settings.seed):
        net = nn.Sequential(
            nn.Linear(features.shape[1], settings.hidden),
            nn.ReLU(),
            nn.Linear(settings.hidden, int(labels.max()) + 1),
        )
        _fit(net, (features - mean) / deviation, labels, settings)
    with torch.no_grad():
        guess = net((held_features - mean) / deviation).argmax(1)
    return float((guess == held_labels).float().mean())


def _fit(net: nn.Module, features: Tensor, labels: Tensor, settings: ProbeSettings) -> None:
    optimizer = torch.optim.AdamW(
        net.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    steps = settings.epochs * -(-len(features) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(settings.epochs):
        for rows in torch.randperm(len(features)).split(settings.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(net(features[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()
