"""Space to depth and back, on channels-last memory."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor


def squeeze(x: Tensor) -> Tensor:
    """(B, C, H, W) → (B, 4C, H/2, W/2). Channel order: row, column, then C.

    Raises:
        ValueError: a side is odd.
    """
    if x.shape[-2] % 2 or x.shape[-1] % 2:
        raise ValueError(f"a squeeze needs even sides, not {x.shape[-2]}×{x.shape[-1]}")
    last = x.permute(0, 2, 3, 1)
    return rearrange(last, "b (h r) (w s) c -> b h w (r s c)", r=2, s=2).permute(0, 3, 1, 2)


def unsqueeze(z: Tensor) -> Tensor:
    """(B, 4C, H, W) → (B, C, 2H, 2W): inverse of ``squeeze``.

    Raises:
        ValueError: the number of channels is no multiple of 4.
    """
    if z.shape[1] % 4:
        raise ValueError(f"the inverse of a squeeze needs a multiple of 4 channels, not {z.shape[1]}")
    last = z.permute(0, 2, 3, 1)
    return rearrange(last, "b h w (r s c) -> b (h r) (w s) c", r=2, s=2).permute(0, 3, 1, 2)


def to_cells(image: Tensor, cell: int) -> Tensor:
    """(B, C, H, W) → (B, C · cell², H / cell, W / cell), by squeezes."""
    for _ in range(cell.bit_length() - 1):
        image = squeeze(image)
    return image
