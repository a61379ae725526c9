"""Measures of drawn digits that use no flow: a small classifier, and distances within a class."""

from __future__ import annotations

import math
from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.randomness import forked_rng

CLASSES = 10
EPOCHS, BATCH, RATE = 3, 128, 3e-3
MOST = 200
"""Pictures of a class whose pairs are measured."""


@final
class DigitClassifier(nn.Module):
    """Three convolutions and a linear layer over pictures 28×28; a judge, so in float32 always."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 32, 3, padding=1)
        self.third = nn.Conv2d(32, 64, 3, padding=1)
        self.leave = nn.Linear(64 * 9, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 10) of uint8 (B, 28, 28)."""
        with torch.autocast(images.device.type, enabled=False):
            return self.leave(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """Input of the last layer, (B, 576), for uint8 (B, 28, 28)."""
        x = images[:, None].float() / 255 - 0.13  # MNIST's mean
        with torch.autocast(images.device.type, enabled=False):
            for layer in (self.first, self.second, self.third):
                x = F.max_pool2d(F.relu(layer(x)), 2)
        return x.flatten(1)


def train_classifier(
    images: np.ndarray, labels: np.ndarray, seed: int = 0, epochs: int = EPOCHS
) -> DigitClassifier:
    """A classifier trained on uint8 (N, 28, 28) and labels (N,); over 99% on MNIST's test digits.

    About a minute of one core for all of MNIST. On one machine and thread count, a function of its arguments.
    """
    with forked_rng(seed):
        model = DigitClassifier()
        order = [torch.randperm(len(images)) for _ in range(epochs)]
    x, y = torch.from_numpy(images), torch.from_numpy(labels).long()
    batches = [rows for one in order for rows in one.split(BATCH)]
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=len(batches) + 1)
    for rows in batches:
        loss = F.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def predict_labels(classifier: nn.Module, images: np.ndarray) -> np.ndarray:
    """Most likely class of each of uint8 (N, 28, 28): int64 (N,)."""
    parts = torch.from_numpy(images).split(1000)
    return torch.cat([classifier(part).argmax(1) for part in parts]).numpy()


def agreement(classifier: nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of ``images`` that the classifier takes for their labels, 0..1."""
    return float((predict_labels(classifier, images) == labels).mean())


def pairwise_distance(images: np.ndarray) -> float:
    """Mean L2 distance over pairs of ``images`` (N, H, W), in grey levels; NaN for fewer than two.

    Of more than 200, evenly spaced ones: neighbours in a data set are often by one writer.
    """
    if len(images) < 2:
        return math.nan
    some = np.linspace(0, len(images) - 1, min(len(images), MOST)).astype(int)
    x = images[some].reshape(len(some), -1).astype(np.float64)
    squares = (x**2).sum(1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0))
    first, second = np.triu_indices(len(x), 1)
    return float(distances[first, second].mean())


def spread_ratios(
    images: np.ndarray, labels: np.ndarray, real: np.ndarray, real_labels: np.ndarray
) -> np.ndarray:
    """Pairwise distance of drawn digits over that of real ones, per class: float64 (10,).

    NaN for a class of which there are no two drawn, or no two different real ones.
    """
    drawn, known = (
        np.array([pairwise_distance(x[y == label]) for label in range(CLASSES)])
        for x, y in ((images, labels), (real, real_labels))
    )
    ratios: np.ndarray = drawn / np.where(known > 0, known, np.nan)
    return ratios
