"""Films in colour, frame by frame: one noise for all frames, colours held where nothing moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vflow.pipelines.color.colorize import ColorSettings, PhotoColorizer
from vflow.pipelines.color.noise import ColorNoise, Variant
from vflow.pipelines.color.photo import color_config, prepare_photo
from vflow.pipelines.common import Counts

if TYPE_CHECKING:
    from torch import nn

HELD = 0.8
"""Share of the frame before in a cell where lightness has not changed."""
STILL = 3.0
"""Change of lightness, 0..100, at which that share is down to 0.6 of it."""


class ColorizedFrame(NamedTuple):
    """A frame of each variant, uint8 (n, H, W, 3), what was counted while drawing, what named the noise."""

    images: np.ndarray
    counts: Counts
    content: str


def colorize_film(
    model: nn.Module,
    frames: Iterable[np.ndarray],
    settings: ColorSettings,
    *,
    first: int = 0,
    near: Variant = (),
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[ColorizedFrame]:
    """Colour frames as they come; one of each size is in memory.

    Noise is named by the first frame, so that every frame is drawn with the same; hints hold at their points
    of every frame. Over time a and b are smoothed where lightness stays.

    Args:
        frames: uint8 (H, W, 3), all of one size.
        first: variants ``first``, a multiple of 8, and up to seven more of ``settings.num_samples``.
        near: draw steps away from this variant.

    Raises:
        InputError: a sample stays non-finite after 8 redraws.
    """
    config = color_config(model)
    noise: ColorNoise | None = None
    before: tuple[Tensor, Tensor] | None = None
    for frame in frames:
        if should_stop():
            return
        palette = PhotoColorizer(model, prepare_photo(config, frame), settings, noise)
        noise = palette.noise
        _, ab, counts = palette.chunk(first, near)
        ab = ab if before is None else steady(ab, palette.cells, *before)
        before = ab, palette.cells
        yield ColorizedFrame(palette.join(ab), counts, noise.content)


def steady(ab: Tensor, lightness: Tensor, old_ab: Tensor, old_lightness: Tensor) -> Tensor:
    """Colours (n, 2, h, w) drawn towards those of the frame before, in cells where L (h, w) is the same."""
    changed = (lightness - old_lightness) / STILL
    return torch.lerp(ab, old_ab, HELD * torch.exp(-changed.square() / 2))
