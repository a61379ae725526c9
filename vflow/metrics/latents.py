"""Share of a future's variance that each level of latents carries."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from vflow.randomness import Key, normal

Decoder = Callable[[Sequence[Tensor]], np.ndarray]


class Futures(NamedTuple):
    """Futures of one context as a function of their noise."""

    decode: Decoder
    """From standard-normal noise, per source (N, \\*shape), to futures (N, T, H, W, C)."""
    shapes: Sequence[tuple[int, ...]]
    """Of each source's noise of one future, the flow's levels first, fine to coarse."""


class LatentShare(NamedTuple):
    """Shares of the variance of sampled futures; 1 is all of it."""

    latents: float  # every level drawn anew together
    levels: tuple[float, ...]  # each level alone, fine to coarse
    others: float | None  # every other source drawn anew together; None where there is none
    glow: float | None  # the levels of the Glow alone drawn anew together; None where all levels are


def latent_share(
    settings: Sequence[Futures],
    levels: int,
    *,
    glow: int | None = None,
    count: int = 8,
    key: tuple[Key, ...] = (),
) -> LatentShare:
    """Variance of futures with some of the noise drawn anew, over that with all of it drawn anew.

    These are the total-effect indices of Homma & Saltelli (1996): variances within one setting of what is
    held fixed, summed over pixels, averaged over settings. Shares of levels that interact sum to over 1.

    Args:
        settings: contexts, each with noise of its own held fixed; their sources are alike.
        levels: number of the sources that are levels of the flow; the others are never counted as latents.
        glow: number of the levels, the first ones, whose share without the others is told, too; None: all.
        count: futures of each setting; up to (levels + 4) · count · len(settings) are drawn in all.
        key: name of the noise: the same key gives the same shares.

    Returns:
        NaN for every share if the futures do not vary at all.

    Raises:
        ValueError: fewer than two futures.
    """
    if count < 2:
        raise ValueError(f"a variance needs at least 2 futures, not {count}")

    def variance(anew: Sequence[int]) -> float:
        """Mean within-setting variance with the sources ``anew`` drawn anew."""
        spread = []
        for number, (decode, shapes) in enumerate(settings):
            eps = [
                _noise(shape, count, source in anew, (*key, source, number))
                for source, shape in enumerate(shapes)
            ]
            spread.append(decode(eps).astype(np.float64).var(0, ddof=1).sum())
        return float(np.mean(spread))

    sources = range(len(settings[0].shapes))
    whole = variance(sources) or math.nan
    others = variance(sources[levels:]) / whole if len(sources) > levels else None
    each = tuple(variance([level]) / whole for level in range(levels))
    alone = None if glow in (None, levels) else variance(range(glow)) / whole
    return LatentShare(variance(range(levels)) / whole, each, others, alone)


def _noise(shape: tuple[int, ...], count: int, anew: bool, key: tuple[Key, ...]) -> Tensor:
    """Noise (count, \\*shape): drawn for each future, or once for all of them."""
    if anew:
        return normal((count, *shape), "latent share", *key)
    return normal(shape, "latent share", *key, "fixed").expand(count, *shape)
