"""What a frame is coded against: a discrete latent that says how the past goes on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn


class Past(NamedTuple):
    """What one frame may depend on: B frames, each with its own window of the past."""

    frames: Tensor  # uint8 (B, n, C, H, W), newest last; absent frames are zero
    mask: Tensor  # (B, n) in {0, 1}
    summary: Tensor  # (B, F), features of the window for small heads

    @property
    def last(self) -> Tensor:
        """The frame before, uint8 (B, C, H, W)."""
        return self.frames[:, -1]


class Reference(nn.Module, ABC):
    """A discrete latent k per frame, drawn first; it leads to the frame that the new one is coded against.

    The encoder is deterministic, so log p(x) ≥ log p(k | past) + log p(x | k, past): a valid bound. The noise
    that draws k is the last of a model's latents.
    """

    noise_shape: tuple[int, int, int]

    @abstractmethod
    def code(self, past: Past, target: Tensor) -> tuple[Tensor, Tensor]:
        """log p(k | past) in nats, (B,), and the reference, uint8 like ``target`` (B, C, H, W)."""

    @abstractmethod
    def draw(self, past: Past, eps: Tensor, temperature: float) -> Tensor:
        """Reference of a k drawn by standard-normal ``eps`` (B, *noise_shape); the mode at temperature 0."""

    @abstractmethod
    def whiten(self, past: Past, target: Tensor) -> Tensor:
        """eps (B, *noise_shape) with which ``draw`` finds the k of ``target`` at temperature 1."""

    @abstractmethod
    def fit(self, seen: Sequence[tuple[Past, Tensor]]) -> None:
        """Set what is counted from training data: pasts and the frames that followed."""
