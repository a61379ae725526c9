"""The noise of colour variants, and their names: (3,) is sample 3, and (3, 0) the first step away from it.

Noise is ``normal`` of (seed, content of the photo, sample, frame 0, level), but for the levels of one
pixel: the photo's tint, where variants differ most. There samples are points of a scrambled Sobol
sequence (Owen 1995; scrambled as ``torch.quasirandom`` does, Matoušek 1998) mapped through the normal
quantile. Each point alone is as random as any draw, but a few of them never gather in one place: eight
variants differ on purpose. Point k is the same however many are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from vflow.randomness import Key, generator, normal

ANGLE = 0.35
"""Radians from a variant's noise to one near it: the two correlate by cos 0.35 = 0.94."""
Variant = tuple[int, ...]
Eps = tuple[Tensor, ...]
_HALF_STEP = 2.0**-31  # of the Sobol points' grid: keeps the quantile finite


@dataclass(frozen=True)
class ColorNoise:
    """Noise of one photo's variants.

    Attributes:
        shapes: (C, h, w) per level, fine to coarse.
        seed: of the user.
        content: hash of the photo.
    """

    shapes: Sequence[tuple[int, int, int]]
    seed: int
    content: str

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
        return plain if attempt else self._spread(plain, variant[0])

    def _spread(self, plain: Eps, sample: int) -> Eps:
        """``plain`` with Sobol points at the levels of one pixel, their first numbers at the coarsest."""
        sizes = [shape[0] if shape[1:] == (1, 1) else 0 for shape in self.shapes]
        point = tint(sum(sizes), sample, self.seed, self.content)
        eps = list(plain)
        for level in reversed(range(len(sizes))):
            if sizes[level]:
                eps[level], point = point[: sizes[level], None, None], point[sizes[level] :]
        return tuple(eps)


def tint(dimensions: int, sample: int, *key: Key) -> Tensor:
    """Point ``sample`` of the sequence named by ``key``: float32 (dimensions,), standard normal."""
    if dimensions == 0:
        return torch.empty(0)
    seed = int(generator("tint", *key).integers(2**62))
    engine = SobolEngine(dimensions, scramble=True, seed=seed)
    engine.fast_forward(sample)
    return torch.special.ndtri(engine.draw(1, dtype=torch.float64)[0] + _HALF_STEP).float()
