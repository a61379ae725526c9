"""Integer Haar wavelets: whole numbers to whole numbers, by lifting."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from vflow.bijections.actnorm import constant_density
from vflow.bijections.base import Context
from vflow.bijections.pixel_map import LEVELS, OUTSIDE, BinnedMap

MEAN, ROWS, UPPER, LOWER = range(4)  # slots of a block of 2×2, see ``haar_blocks``
SLOTS = 4
GREY = LEVELS / 2
REACH = 2.0 * GREY  # of wavelets: −256 … 255


def haar_blocks(image: Tensor) -> Tensor:
    """Mean and three differences of each block of 2×2: whole numbers (…, C, H, W) → (…, 4, C, H/2, W/2).

    The S transform (Said & Pearlman 1996, *An Image Multiresolution Representation for Lossless and Lossy
    Compression*): a pair becomes its mean, rounded, and its difference. Pairs in the upper and in the lower
    row give UPPER and LOWER, left less right; their means give MEAN, and ROWS, upper less lower. Rounding
    down there and up here, means keep their level.
    """
    a, b = image[..., 0::2, 0::2], image[..., 0::2, 1::2]
    c, d = image[..., 1::2, 0::2], image[..., 1::2, 1::2]
    upper, lower = ((a + b) / 2).floor_(), ((c + d) / 2).floor_()
    return torch.stack([((upper + lower + 1) / 2).floor_(), upper - lower, a - b, c - d], -4)


def join_blocks(blocks: Tensor) -> Tensor:
    """Inverse of ``haar_blocks``; where all differences are 0, a block has a single value."""
    mean, rows, upper, lower = blocks.unbind(-4)
    below = mean - ((rows + 1) / 2).floor()
    a, c = below + rows + ((upper + 1) / 2).floor(), below + ((lower + 1) / 2).floor()
    pairs = [torch.stack(pair, -1).flatten(-2) for pair in ((a, a - upper), (c, c - lower))]
    return torch.stack(pairs, -2).flatten(-3, -2)


def slot_offset(slot: int, side: int) -> tuple[int, int]:
    """Row and column of a slot's wavelets, in a block of ``side`` pixels a side."""
    return side // 2 * (slot in (ROWS, LOWER)), side // 2 * (slot in (UPPER, LOWER))


def blocks_at(z: Tensor, means: Tensor, side: int) -> Tensor:
    """Blocks (…, 4, C, h, w) of a level of wavelets in place (…, C, H, W), given ``means`` (…, C, h, w)."""
    offsets = [slot_offset(slot, side) for slot in (ROWS, UPPER, LOWER)]
    return torch.stack([means, *(z[..., row::side, column::side] for row, column in offsets)], -4)


@final
class IntegerHaar(BinnedMap):
    """Whole numbers x − 128 to their wavelets in place; what x has beyond whole numbers stays. Log-det 0.

    Means of blocks of 2^levels pixels a side lie at their upper left pixels. The differences of smaller
    blocks lie half a block below, to the right, and both. Sides must be multiples of 2^levels.
    """

    edges: Tensor

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels
        edges = torch.arange(-REACH, REACH + 1) - 0.5
        edges[0], edges[-1] = -OUTSIDE, OUTSIDE
        self.register_buffer("edges", edges, persistent=False)

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        whole = x.detach().floor()
        return self._split(whole) + (x - whole - 0.5), constant_density(x, x.new_zeros(()))

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        whole = self.quantize(z.detach())
        inside = (z - whole + 0.5).clamp(0, 1 - 1e-4)
        x = self._join(whole) + inside
        return x, constant_density(z, z.new_zeros(()))

    @torch.no_grad()
    def quantize(self, z: Tensor) -> Tensor:
        return (z + 0.5).floor()

    def separate(self, values: Tensor) -> Tensor:
        return values.float() - GREY

    def bin_edges(self) -> Tensor:
        return self.edges[None]

    def symbols(self, values: Tensor) -> Tensor:
        return (self._split(values.float()) + REACH).long()

    def centres_of(self, symbols: Tensor) -> Tensor:
        return (symbols - REACH).float()

    @torch.no_grad()
    def values(self, symbols: Tensor) -> Tensor:
        return self._join(self.centres_of(symbols)).clamp(0, LEVELS - 1).to(torch.uint8)

    @torch.no_grad()
    def _split(self, values: Tensor) -> Tensor:
        """Wavelets in place of whole grey levels."""
        image = values - GREY
        z = image.clone()
        for level in range(self.levels):
            side, blocks = 2 ** (level + 1), haar_blocks(image)
            for slot in range(SLOTS):
                row, column = slot_offset(slot, side)
                z[..., row::side, column::side] = blocks.select(-4, slot)
            image = blocks.select(-4, MEAN)
        return z

    def _join(self, z: Tensor) -> Tensor:
        """Grey levels (…, C, H, W) of whole wavelets; those that no image has can lie outside 0 … 255."""
        side = 2**self.levels
        image = z[..., ::side, ::side]
        for level in reversed(range(self.levels)):
            image = join_blocks(blocks_at(z, image, 2 ** (level + 1)))
        return image + GREY
