"""Noise of colour variants, and their names: (3,) is sample 3, and (3, 0) the first step away from it.

Noise is ``normal`` of (seed, content of the photo, sample, frame 0, level), but for the coarse levels, which
decide the colour of regions: there eight variants get the eight of many draws that stand for all of them best
(representative points: Flury 1990, *Principal Points*). Each is a draw, and together they differ on purpose.
The most typical come first, led by the one nearest to the mean of all draws made more vivid: that mean is
paler than photos are, but its hues belong to the things. Variant k is the same however many are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vflow.randomness import Key, normal

ANGLE = 0.35
"""Radians from a variant's noise to one near it: the two correlate by cos 0.35 = 0.94."""
Variant = tuple[int, ...]
Eps = tuple[Tensor, ...]
GROUP, DRAWS = 8, 256  # so many variants stand for so many draws
_ROUNDS = 12  # of k-means


@dataclass(frozen=True)
class ColorNoise:
    """Noise of one photo's variants.

    Attributes:
        shapes: (C, h, w) per level, fine to coarse.
        seed: of the user.
        content: hash of the photo.
        representative: False: all draws are independent.
        project: noise of the levels from ``coarse`` up, (N, C, h, w) each, to the colours (N, D) in which
            draws are compared, 0 where grey; None: they are compared by the noise of the coarsest level.
        vividness: with ``project``, the first is the one nearest to this times the mean of all draws.
        coarse: levels from this one up are chosen among draws; None: the coarsest, if it is one pixel.
    """

    shapes: Sequence[tuple[int, int, int]]
    seed: int
    content: str
    representative: bool = True
    project: Callable[[Sequence[Tensor]], Tensor] | None = None
    vividness: float = 1.0
    coarse: int | None = None
    _chosen: dict[int, Eps] = field(default_factory=dict, repr=False, compare=False)

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
        """``plain`` with one of the representative draws where colours of regions are decided."""
        start = len(self.shapes) - 1 if self.coarse is None else self.coarse
        if self.coarse is None and self.shapes[-1][1:] != (1, 1):
            return plain
        group, place = divmod(sample, GROUP)
        if group not in self._chosen:
            draws = [
                normal((DRAWS, *shape), "draws", self.seed, self.content, group, level)
                for level, shape in enumerate(self.shapes[start:], start)
            ]
            points = (self.project(draws) if self.project else draws[-1].flatten(1)).double().nan_to_num()
            best = representatives(points)
            if self.project:
                best = led_by_nearest(self.vividness * points.mean(0), best, points)
            self._chosen[group] = tuple(level[best] for level in draws)
        return (*plain[:start], *(level[place] for level in self._chosen[group]))


def representatives(points: Tensor) -> Tensor:
    """Indices of the points (N, D) nearest to the centres of their eight clusters (k-means).

    In order of the distance to the mean of all points: the most typical comes first.
    """
    points = points.double().nan_to_num()
    centres = points[:GROUP]
    for _ in range(_ROUNDS):
        nearest = _distances(points, centres).argmin(1)
        members = torch.nn.functional.one_hot(nearest, GROUP).double()
        counts = members.sum(0)[:, None]
        centres = torch.where(counts > 0, members.T @ points / counts.clamp_min(1), centres)
    chosen = _distances(points, centres).argmin(0)
    return chosen[_distances(points[chosen], points.mean(0, keepdim=True))[:, 0].argsort()]


def led_by_nearest(point: Tensor, chosen: Tensor, points: Tensor) -> Tensor:
    """``chosen`` of ``points`` (N, D), led by the one nearest to ``point`` (D,)."""
    first = int(_distances(points[chosen], point[None]).argmin())
    return torch.cat([chosen[first : first + 1], chosen[:first], chosen[first + 1 :]])


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return torch.cdist(a, b).square()
