"""Maps that only rearrange or rotate: squeeze, Haar wavelets, and the partitions that couplings use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor, nn

from vflow.bijections.base import Bijection, Context, zero_density
from vflow.bijections.linear import haar, pointwise
from vflow.nn.reshape import squeeze, unsqueeze


@final
class Squeeze(Bijection):
    """Space to depth: (B, C, H, W) ↔ (B, 4C, H/2, W/2). Channel order: row, column, then C.

    A 4×4 image of one channel becomes four 2×2 channels::

         0  1 |  2  3
         4  5 |  6  7         0 2   1 3   4 6   5 7
        ------+------   →     8 10  9 11  12 14 13 15
         8  9 | 10 11
        12 13 | 14 15
    """

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return squeeze(x), zero_density(x)

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        x = unsqueeze(z)
        return x, zero_density(x)


@final
class Haar(Bijection):
    """Haar wavelets: squeeze, then mean and three differences of each 2×2 block (orthonormal, ladj 0).

    (B, C, H, W) ↔ (B, 4C, H/2, W/2); the first C channels are twice the block means.
    """

    matrix: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("matrix", haar(channels).float(), persistent=False)

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return pointwise(squeeze(x), self.matrix), zero_density(x)

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        x = unsqueeze(pointwise(z, self.matrix.T))
        return x, zero_density(x)


class Partition(nn.Module, ABC):
    """A fixed way to part an image in two halves and to join them again.

    Attributes:
        width: channels of the image; None: any.
    """

    width: int | None = None

    @abstractmethod
    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x → the half that stays, the half that is changed."""

    @abstractmethod
    def merge(self, kept: Tensor, changed: Tensor) -> Tensor:
        """Inverse of ``split``."""

    @abstractmethod
    def scatter(self, density: Tensor) -> Tensor:
        """Put densities of the changed half's positions on the grid of x."""


@final
class ChannelPartition(Partition):
    """First channels (the larger half of an odd number) and last channels."""

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        channels = x.shape[1]
        kept, changed = x.split([(channels + 1) // 2, channels // 2], 1)  # gradients join in one pass
        return kept, changed

    def merge(self, kept: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([kept, changed], 1)

    def scatter(self, density: Tensor) -> Tensor:
        return density


@final
class CheckerboardPartition(Partition):
    """Positions with even and with odd row + column (Dinh et al. 2017), packed to (B, C, H, W/2) each.

    Args:
        keep_odd: the odd positions stay, instead of the even ones.
    """

    def __init__(self, *, keep_odd: bool = False) -> None:
        super().__init__()
        self.shifted = int(not keep_odd)  # parity of the rows whose second column stays

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[-1] % 2:
            raise ValueError(f"a checkerboard needs an even width, not {x.shape[-2]}×{x.shape[-1]}")
        pairs = x.unflatten(-1, (-1, 2))
        even, odd = pairs.unbind(-1)
        rows = self._shifted_rows(x)
        return torch.where(rows, odd, even), torch.where(rows, even, odd)

    def merge(self, kept: Tensor, changed: Tensor) -> Tensor:
        rows = self._shifted_rows(kept)
        pair = torch.where(rows, changed, kept), torch.where(rows, kept, changed)
        return torch.stack(pair, -1).flatten(-2)

    def scatter(self, density: Tensor) -> Tensor:
        return self.merge(torch.zeros_like(density), density)

    def _shifted_rows(self, x: Tensor) -> Tensor:
        return (torch.arange(x.shape[-2], device=x.device) % 2 == self.shifted)[:, None]
