"""Small planes enlarged to a picture's size, along the edges of its lightness.

Joint bilateral up-sampling (Kopf et al. 2007): a pixel takes the mean of the four cells around it,
weighted by nearness (as in linear interpolation) and by likeness of lightness, so colours end where
things do. Since means blur, the cells are sharpened first, such that the enlarged planes have the given
values as their means over the cells (back-projection, Irani and Peleg 1991).

Photographs' own colours, reduced to 32×32 and enlarged again, miss by (RMSE in ab, mean of 30 photos):
linear 3.48, cubic 3.21, guided filter 3.70, this 2.93.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import torch
from torch import Tensor
from torch.nn import functional as F

LIKE = 8.0  # difference of lightness at which a cell counts half
ROUNDS = 2  # of sharpening
STRIP = 1 << 18
"""Pixels worked on at a time: bounds memory."""


class Corner(NamedTuple):
    """One of the four cells around each pixel of some rows, and its share."""

    row: Tensor  # int64 (rows,)
    column: Tensor  # int64 (W,)
    weight: Tensor  # float32 (rows, W); the four sum to 1


class Enlarger:
    """Enlarges planes (…, h, w) to the size of ``lightness``.

    Args:
        lightness: L of the picture, float32 (H, W), 0..100.
        size: (h, w) of the planes; along an axis where the picture is smaller, its own size is taken.
    """

    def __init__(self, lightness: Tensor, size: tuple[int, int]) -> None:
        self.lightness = lightness
        self.size = min(size[0], lightness.shape[0]), min(size[1], lightness.shape[1])
        cells = cv2.resize(lightness.numpy(), self.size[::-1], interpolation=cv2.INTER_AREA)
        self.cells = torch.from_numpy(cells.reshape(self.size))
        self._stencil: Tensor | None = None

    @property
    def height(self) -> int:
        """Rows of the picture."""
        return self.lightness.shape[0]

    @property
    def width(self) -> int:
        """Columns of the picture."""
        return self.lightness.shape[1]

    def strips(self) -> Iterator[slice]:
        """The picture's rows, some at a time."""
        height, width = self.lightness.shape
        step = max(1, STRIP // width)
        yield from (slice(top, min(top + step, height)) for top in range(0, height, step))

    def shrink(self, planes: Tensor) -> Tensor:
        """Planes (n, C, h', w') reduced to the size of this grid, where the picture has fewer pixels."""
        if planes.shape[-2:] == self.size:
            return planes
        return F.interpolate(planes, size=self.size, mode="area")

    def sharpen(self, planes: Tensor) -> Tensor:
        """Planes (…, h, w) whose enlargement has ``planes`` as its means over cells."""
        sharp = planes
        for _ in range(ROUNDS):
            sharp = sharp + planes - self._cell_means(sharp)
        return sharp

    def enlarge(self, sharp: Tensor, corners: list[Corner]) -> Tensor:
        """The rows of ``corners`` of the enlargement of sharpened planes (…, h, w): (…, rows, W)."""
        parts = [c.weight * sharp[..., c.row, :][..., c.column] for c in corners]
        return parts[0] + parts[1] + parts[2] + parts[3]

    def corners(self, rows: slice) -> list[Corner]:
        """Neighbours and weights of the pixels in ``rows``."""
        (y, far_y), (x, far_x) = self._grid(0, rows), self._grid(1, slice(0, self.lightness.shape[1]))
        corners = []
        for dy in (0, 1):
            for dx in (0, 1):
                row = (y + dy).clamp(0, self.size[0] - 1)
                column = (x + dx).clamp(0, self.size[1] - 1)
                near = (far_y if dy else 1 - far_y)[:, None] * (far_x if dx else 1 - far_x)
                unlike = (self.lightness[rows] - self.cells[row][:, column]) / LIKE
                corners.append(Corner(row, column, near / (1 + unlike * unlike)))
        whole = sum((corner.weight for corner in corners), torch.zeros(()))
        return [corner._replace(weight=corner.weight / whole) for corner in corners]

    def _grid(self, axis: int, part: slice) -> tuple[Tensor, Tensor]:
        """For pixels along an axis, the cell before each (−1 at the rim) and how far beyond it lies, 0..1."""
        scale = self.size[axis] / self.lightness.shape[axis]
        place = (torch.arange(part.start, part.stop, dtype=torch.float32) + 0.5) * scale - 0.5
        before = place.floor()
        return before.long(), place - before

    def prepare(self) -> Iterator[float]:
        """Measure the stencil, which sharpening needs, some rows at a time; yields the share done, 0..1.

        The stencil (9, h, w) is the share of each of the 3×3 cells around a cell in the mean over it of an
        enlargement.
        """
        if self._stencil is not None:
            return
        height, width = self.size
        inside = self._inside(1, slice(0, self.lightness.shape[1]))
        shares = torch.zeros(9 * height * width, dtype=torch.float64)
        pixels = torch.zeros(height * width, dtype=torch.float64)
        for rows in self.strips():
            own = self._inside(0, rows)
            cell = own[:, None] * width + inside
            pixels += torch.bincount(cell.flatten(), minlength=height * width)
            for corner in self.corners(rows):
                step = (corner.row - own + 1)[:, None] * 3 + (corner.column - inside + 1)
                index = (step * height * width + cell).flatten()
                shares += torch.bincount(index, corner.weight.flatten().double(), minlength=len(shares))
            yield rows.stop / self.height
        self._stencil = (shares.view(9, -1) / pixels).view(9, height, width).float()

    def _inside(self, axis: int, part: slice) -> Tensor:
        """The cell in which each pixel along an axis lies."""
        size, pixels = self.size[axis], self.lightness.shape[axis]
        return ((2 * torch.arange(part.start, part.stop) + 1) * size).div(2 * pixels, rounding_mode="floor")

    def _cell_means(self, sharp: Tensor) -> Tensor:
        height, width = self.size
        for _ in self.prepare():
            pass
        stencil = self._stencil
        assert stencil is not None
        padded = F.pad(sharp, (1, 1, 1, 1))  # what lies outside has no share
        windows = [
            padded[..., dy : dy + height, dx : dx + width] * stencil[3 * dy + dx]
            for dy in range(3)
            for dx in range(3)
        ]
        return torch.stack(windows).sum(0)
