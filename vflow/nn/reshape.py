"""Space to depth and back, on channels-last memory."""

from __future__ import annotations

from torch import Tensor


def squeeze(x: Tensor) -> Tensor:
    """(B, C, H, W) → (B, 4C, H/2, W/2). Channel order: row, column, then C."""
    batch, channels, height, width = x.shape
    grid = x.permute(0, 2, 3, 1).reshape(batch, height // 2, 2, width // 2, 2, channels)
    return grid.transpose(2, 3).reshape(batch, height // 2, width // 2, 4 * channels).permute(0, 3, 1, 2)


def unsqueeze(z: Tensor) -> Tensor:
    """(B, 4C, H, W) → (B, C, 2H, 2W): inverse of ``squeeze``."""
    batch, channels, height, width = z.shape
    grid = z.permute(0, 2, 3, 1).reshape(batch, height, width, 2, 2, channels // 4)
    return grid.transpose(2, 3).reshape(batch, 2 * height, 2 * width, channels // 4).permute(0, 3, 1, 2)
