"""Fixed permutations of channels, and partitions of channels by a mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from vflow.bijections.base import Bijection, Context, zero_density
from vflow.bijections.reshape import Partition


@final
class Permutation(Bijection):
    """z_i = x_{index(i)} of channels; keeps volume. The index is saved with the weights.

    Args:
        index: a permutation of 0 … C − 1.

    Raises:
        ValueError: ``index`` is none.
    """

    index: Tensor

    def __init__(self, index: Sequence[int]) -> None:
        super().__init__()
        if sorted(index) != list(range(len(index))):
            raise ValueError(f"{list(index)} is not a permutation of 0 … {len(index) - 1}")
        self.width = len(index)
        self.register_buffer("index", torch.tensor(list(index)))

    @classmethod
    def reverse(cls, channels: int) -> Permutation:
        """The order reversed (Papamakarios et al. 2017, section 3.2)."""
        return cls(range(channels - 1, -1, -1))

    @classmethod
    def random(cls, channels: int, seed: int) -> Permutation:
        """A permutation drawn once, from ``seed`` alone."""
        return cls(torch.randperm(channels, generator=torch.Generator().manual_seed(seed)).tolist())

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return x[:, self.index], zero_density(x)

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return z[:, self.index.argsort()], zero_density(z)


@final
class MaskPartition(Partition):
    """Channels where ``kept`` is true, and the others.

    Args:
        kept: one flag per channel; at least one of each.

    Raises:
        ValueError: all flags are equal.
    """

    order: Tensor
    back: Tensor

    def __init__(self, kept: Sequence[bool]) -> None:
        super().__init__()
        self.width, self.kept = len(kept), sum(kept)
        if not 0 < self.kept < len(kept):
            raise ValueError("a partition needs at least one channel that is kept and one that is changed")
        order = torch.tensor([i for flag in (True, False) for i, k in enumerate(kept) if k == flag])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("back", order.argsort(), persistent=False)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, changed = x[:, self.order].split([self.kept, len(self.order) - self.kept], 1)
        return kept, changed

    def merge(self, kept: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([kept, changed], 1)[:, self.back]

    def scatter(self, density: Tensor) -> Tensor:
        return density
