"""Base of models of whole numbers: probabilities, not densities, so nothing is dequantised."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

B = TypeVar("B", bound=tuple[Any, ...])


class DiscreteModel(nn.Module, ABC, Generic[B]):
    """P(x) of 8-bit images; nothing of it is counted from training data."""

    image_shape: tuple[int, int, int]
    """(C, H, W) of training images."""

    @abstractmethod
    def forward(self, batch: B) -> Tensor:
        """log P of each image, (B,), nats."""

    def log_likelihood(self, batch: B) -> Tensor:
        """log P of each image as a row, (B, 1), nats."""
        nats: Tensor = self(batch)
        return nats[:, None]

    def bits_per_dim(self, nats: Tensor, count: int = 1) -> Tensor:
        """−nats / (ln 2 · C · H · W · count), of log-likelihoods of ``count`` images of the training size."""
        return -nats / (math.log(2) * math.prod(self.image_shape) * count)

    def fit(self, batches: Sequence[B]) -> None:
        """Nothing to fit."""

    def initialize(self, batch: B) -> None:
        """Data-dependent start from one batch, where there is one."""

    @abstractmethod
    def reconstruct(self, batch: B) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) in grey levels, and what their code gives back, the same."""
