"""What multi-scale flows have in common: Glow and the wavelet flow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

from vflow.bijections.base import Bijection

Features = Sequence[Tensor | None]
Shapes = tuple[tuple[int, int, int], ...]
Chains = Sequence[Bijection]  # one per level


class Encoded(NamedTuple):
    """Latents, halves passed upward and density terms of frames; one entry per level, fine to coarse."""

    latents: tuple[Tensor, ...]
    aboves: tuple[Tensor | None, ...]
    densities: list[Tensor]


class MultiScale(Protocol):
    """Image ↔ latents; sequences run fine to coarse, one entry per level."""

    latent_shapes: Shapes

    def level_channels(self, level: int) -> int: ...
    def encode(self, x: Tensor, features: Features) -> Encoded: ...
    def decode_level(
        self, level: int, z: Tensor, above: Tensor | None, features: Tensor | None
    ) -> Tensor: ...
    def initialize(self, x: Tensor, features: Features) -> None: ...


def decode(flow: MultiScale, latents: Sequence[Tensor], features: Features) -> Tensor:
    """Inverse of ``flow.encode``: latents → x, from the top down."""
    h: Tensor | None = None
    for level in reversed(range(len(latents))):
        h = flow.decode_level(level, latents[level], h, features[level])
    assert h is not None
    return h


def split_levels(flat: Tensor, shapes: Sequence[tuple[int, ...]]) -> tuple[Tensor, ...]:
    """Noise or latents of all levels one after the other, (B, D) → per level (B, C, h, w)."""
    parts = flat.split([math.prod(shape) for shape in shapes], 1)
    return tuple(part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True))
