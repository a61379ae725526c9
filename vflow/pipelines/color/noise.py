"""Noise of colour variants, and their names: (3,) is sample 3, and (3, 0) the first step away from it.

Noise is ``normal`` of (seed, content of the photo, sample, frame 0, level), but for the photo's tint, the
coarsest level if that is one pixel: there variants differ most. Eight variants get the eight of many draws
that stand for all of them best (representative points: Flury 1990, *Principal Points*): each is a draw, and
together they differ on purpose. Variant k is the same however many are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from vflow.randomness import Key, normal

ANGLE = 0.35
"""Radians from a variant's noise to one near it: the two correlate by cos 0.35 = 0.94."""
Variant = tuple[int, ...]
Eps = tuple[Tensor, ...]
GROUP, DRAWS = 8, 512  # so many variants stand for so many draws
_ROUNDS = 12  # of k-means


@dataclass(frozen=True)
class ColorNoise:
    """Noise of one photo's variants.

    Attributes:
        shapes: (C, h, w) per level, fine to coarse.
        seed: of the user.
        content: hash of the photo.
        representative: False: all draws are independent.
    """

    shapes: Sequence[tuple[int, int, int]]
    seed: int
    content: str
    representative: bool = True

    def chunk(self, variants: Sequence[Variant], attempts: Sequence[int]) -> Eps:
        """Noise per level (B, C, h, w); ``attempts`` counts how often each variant was drawn before."""
        rows = [self.variant(*pair) for pair in zip(variants, attempts, strict=True)]
        return tuple(torch.stack(level) for level in zip(*rows, strict=True))

    def variant(self, variant: Variant, attempt: int = 0) -> Eps:
        """Noise per level (C, h, w), standard normal."""
        key: tuple[Key, ...] = (self.seed, self.content, *variant)
        redraw: tuple[Key, ...] = ("redraw", attempt) if attempt else ()
        plain = tuple(normal(shape, *key, 0, level, *redraw) for level, shape in enumerate(self.shapes))
        if len(variant) > 1:
            start = self.variant(variant[:-1])
            return tuple(math.cos(ANGLE) * a + math.sin(ANGLE) * b for a, b in zip(start, plain, strict=True))
        return plain if attempt or not self.representative else self._spread(plain, variant[0])

    def _spread(self, plain: Eps, sample: int) -> Eps:
        """``plain`` with one of the representative draws where the tint is."""
        channels, *side = self.shapes[-1]
        if side != [1, 1]:
            return plain
        group, place = divmod(sample, GROUP)
        return (*plain[:-1], representatives(channels, self.seed, self.content, group)[place, :, None, None])


@lru_cache(maxsize=64)
def representatives(dimensions: int, *key: Key) -> Tensor:
    """Draws, of many named by ``key``, that are nearest to the centres of their eight clusters (k-means).

    Returns standard-normal draws, float32 (8, dimensions), in no particular order.
    """
    draws = normal((DRAWS, dimensions), "tints", *key)
    points = draws.double()
    centres = points[:GROUP]
    for _ in range(_ROUNDS):
        nearest = _distances(points, centres).argmin(1)
        members = torch.nn.functional.one_hot(nearest, GROUP).double()
        counts = members.sum(0)[:, None]
        centres = torch.where(counts > 0, members.T @ points / counts.clamp_min(1), centres)
    return draws[_distances(points, centres).argmin(0)]


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, None] - b).square().sum(2)
