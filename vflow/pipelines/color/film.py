"""Films in colour: one noise a scene, and colours that move with the picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vflow.optical_flow import optical_flow
from vflow.pipelines.color.colorize import PhotoColorizer
from vflow.pipelines.color.photo import color_config, prepare_photo
from vflow.pipelines.common import Counts
from vflow.pipelines.runner import ShouldStop, never
from vflow.tasks.colorize.settings import ColorSettings

if TYPE_CHECKING:
    from torch import nn

KEPT_SHARE = 0.9
"""Share of the frame before in the colour of what has only moved."""
LIGHTNESS_SCALE = 3.0
"""Change of lightness, 0..100, at which 0.6 of that share is kept."""
FLOW_SIDE = 128
"""Frames are squeezed to squares of this side to find their motion."""
CUT = 8.0
"""Mean change of lightness, 0..100, along the motion, from which a frame begins another scene."""


class ColorizedFrame(NamedTuple):
    """A frame of variants ``first``, ``first + 1``, …, uint8 (n, H, W, 3).

    Attributes:
        counts: of faults.
        content: name of the noise.
        time: seconds from the first frame, where the frame rate varies.
    """

    first: int
    images: np.ndarray
    counts: Counts
    content: str
    time: float | None = None

    @property
    def size(self) -> int:
        """Pictures in it."""
        return len(self.images)


class _Shown(NamedTuple):
    """A frame as the next needs it: grey uint8 (S, S), colours (n, 2, h, w), and L of the cells (h, w)."""

    grey: np.ndarray
    ab: Tensor
    lightness: Tensor


def colorize_film(
    model: nn.Module,
    frames: Iterable[np.ndarray],
    settings: ColorSettings,
    *,
    first: int = 0,
    should_stop: ShouldStop = never,
) -> Iterator[ColorizedFrame]:
    """Colour frames of a film as they come; one frame of each size is in memory.

    Noise is named by the first frame of a scene, so that all its frames are drawn with the same; hints hold
    at their points of every frame. Colours are carried along the motion (DIS optical flow) where lightness
    stays. A cut begins another scene.

    Args:
        frames: uint8 (H, W, 3), all of one size.
        first: variants ``first``, a multiple of 8, and up to seven more of ``settings.num_samples``.

    Raises:
        InputError: a sample stays non-finite after 8 redraws.
    """
    config = color_config(model)
    scene: PhotoColorizer | None = None
    before: _Shown | None = None
    for frame in frames:
        if should_stop():
            return
        photo, grey = prepare_photo(config, frame), _grey(frame)
        colorizer = PhotoColorizer(model, photo, settings, scene)
        carried = carry(before, grey) if before else None
        if carried and float((colorizer.cells - carried[1]).abs().mean()) > CUT:
            colorizer, carried = PhotoColorizer(model, photo, settings), None
            scene = None
        scene = scene or colorizer
        _, ab, counts = colorizer.chunk(first)
        if carried:
            ab = colorizer.with_hints(smooth_in_time(ab, colorizer.cells, *carried))
        before = _Shown(grey, ab, colorizer.cells)
        yield ColorizedFrame(first, colorizer.join(ab), counts, colorizer.noise.content)


def carry(before: _Shown, grey: np.ndarray) -> tuple[Tensor, Tensor]:
    """Colours (n, 2, h, w) and lightness (h, w) of the frame before, where they are in ``grey`` (S, S)."""
    height, width = before.lightness.shape
    flow = cv2.resize(optical_flow(grey, before.grey), (width, height), interpolation=cv2.INTER_AREA)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x = (columns + 0.5) / width + torch.from_numpy(flow[..., 0]) / FLOW_SIDE
    y = (rows + 0.5) / height + torch.from_numpy(flow[..., 1]) / FLOW_SIDE
    grid = (2 * torch.stack([x, y], -1) - 1)[None].expand(len(before.ab), -1, -1, -1)
    moved = F.grid_sample(before.ab, grid, padding_mode="border", align_corners=False)
    lightness = F.grid_sample(
        before.lightness[None, None], grid[:1], padding_mode="border", align_corners=False
    )
    return moved, lightness[0, 0]


def smooth_in_time(ab: Tensor, lightness: Tensor, old_ab: Tensor, old_lightness: Tensor) -> Tensor:
    """Colours (n, 2, h, w) moved towards those of the frame before, in cells where L (h, w) is the same."""
    changed = (lightness - old_lightness) / LIGHTNESS_SCALE
    return torch.lerp(ab, old_ab, KEPT_SHARE * torch.exp(-changed.square() / 2))


def _grey(frame: np.ndarray) -> np.ndarray:
    """Squeezed to a square of ``FLOW_SIDE``, uint8."""
    small = cv2.resize(frame, (FLOW_SIDE, FLOW_SIDE), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
