"""Share of a future's variance that each level of latents carries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from vflow.randomness import Key, normal

Decoder = Callable[[Sequence[Tensor]], np.ndarray]


class LatentShare(NamedTuple):
    """Shares of the variance of sampled futures; 1 is all of it."""

    latents: float  # every level drawn anew together
    levels: tuple[float, ...]  # each level alone, fine to coarse


class Draws(NamedTuple):
    """Numbers of futures: ``bases`` settings of the noise held fixed, ``futures`` of each."""

    bases: int = 4
    futures: int = 8


def latent_share(
    decode: Decoder,
    shapes: Sequence[tuple[int, ...]],
    levels: int,
    num_frames: int,
    *,
    draws: Draws | None = None,
    key: tuple[Key, ...] = (),
) -> LatentShare:
    """Variance of futures with some of the noise drawn anew, over that with all of it drawn anew.

    These are the total-effect indices of Homma & Saltelli (1996): variances within one setting of the noise
    held fixed, summed over pixels, averaged over settings. Shares of levels that interact sum to over 1.

    Args:
        decode: from standard-normal noise, per source (N, T, \\*shape), to futures (N, T, H, W, C).
        shapes: of one frame's noise for each source, the Glow's levels first, fine to coarse.
        levels: number of the sources that are levels of the Glow; the others are never counted as latents.
        num_frames: T.
        draws: numbers of futures; with the levels + 2 sets of noise they make (levels + 2) · bases · futures.
        key: name of the noise: the same key gives the same shares.

    Raises:
        ValueError: fewer than two futures for each base, or futures that do not vary at all.
    """
    draws = draws or Draws()
    if draws.futures < 2:
        raise ValueError(f"a variance needs at least 2 futures for each base, not {draws.futures}")

    def variance(anew: Sequence[int]) -> float:
        """Mean within-base variance with the sources ``anew`` drawn anew."""
        spread = []
        for base in range(draws.bases):
            eps = [
                _noise((num_frames, *shape), draws.futures, source in anew, (*key, source, base))
                for source, shape in enumerate(shapes)
            ]
            spread.append(decode(eps).astype(np.float64).var(0, ddof=1).sum())
        return float(np.mean(spread))

    whole = variance(range(len(shapes)))
    if whole == 0:
        raise ValueError("the futures do not vary: there is no variance to share out")
    each = tuple(variance([level]) / whole for level in range(levels))
    return LatentShare(variance(range(levels)) / whole, each)


def _noise(shape: tuple[int, ...], count: int, anew: bool, key: tuple[Key, ...]) -> Tensor:
    """Noise (count, \\*shape): drawn for each future, or once for all of them."""
    if anew:
        return normal((count, *shape), "latent share", *key)
    return normal(shape, "latent share", *key, "fixed").expand(count, *shape)
