"""Photographs in the colouriser's form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vflow.config import ColorizerConfig
from vflow.data import media
from vflow.data.color import lab_to_light, lab_to_rgb, rgb_to_lab
from vflow.errors import InputError
from vflow.pipelines.color.upsample import STRIP, Enlarger
from vflow.pipelines.common import as_array, config_of
from vflow.randomness import content_hash

if TYPE_CHECKING:
    from torch import nn


def color_config(model: nn.Module) -> ColorizerConfig:
    """Configuration of ``model``.

    Raises:
        CheckpointError: the model does not colour photographs.
    """
    return config_of(model, ColorizerConfig)


@dataclass(frozen=True)
class Photo:
    """A photograph.

    Attributes:
        pixels: uint8 (H, W, 3), sRGB, at its own size.
        small: uint8 (S, S, 3): all of it, squeezed to the model's square, whatever its aspect.
        sharp: uint8 (2S, 2S, 3): the same at twice the size, if the model looks at it.
        alpha: opacity, uint8 (H, W); None where it is opaque throughout.
    """

    pixels: np.ndarray
    small: np.ndarray
    alpha: np.ndarray | None = None
    sharp: np.ndarray | None = None

    @cached_property
    def twice(self) -> np.ndarray:
        """``sharp``, also if the model does not look at it."""
        if self.sharp is not None:
            return self.sharp
        return fit_to_square(on_white(self.pixels, self.alpha), 2 * len(self.small))

    @cached_property
    def lightness(self) -> Tensor:
        """L of Lab, float32 (H, W), 0..100."""
        return torch.cat(list(self._lightness()))

    def _lightness(self) -> Iterator[Tensor]:
        """Rows of ``lightness``, some at a time."""
        height, width = self.pixels.shape[:2]
        step = max(1, STRIP // width)
        yield from (lab_planes(self.pixels[top : top + step])[0, 0] for top in range(0, height, step))

    @cached_property
    def _enlargers(self) -> dict[tuple[int, int], Enlarger]:
        return {}

    def enlarger(self, size: Sequence[int]) -> Enlarger:
        """Enlarger of planes of ``size`` (h, w) to the photo's."""
        key = size[0], size[1]
        if key not in self._enlargers:
            self._enlargers[key] = Enlarger(self.lightness, key)
        return self._enlargers[key]

    def prepare(self, size: Sequence[int]) -> Iterator[float]:
        """The work of the first use of ``enlarger(size)``, some rows at a time; yields the share done, 0..1.

        It takes seconds for photos of tens of megapixels.
        """
        if "lightness" not in vars(self):  # where ``cached_property`` keeps it
            strips, rows = [], 0
            for strip in self._lightness():
                strips.append(strip)
                rows += len(strip)
                yield 0.5 * rows / len(self.pixels)
            vars(self)["lightness"] = torch.cat(strips)
        for share in self.enlarger(size).prepare():
            yield 0.5 + 0.5 * share

    @cached_property
    def content(self) -> str:
        """Name of the noise: a hash of ``small``, so not of the file or its format."""
        return content_hash(self.small)


def condition_of(photo: Photo) -> Tensor:
    """Condition of a colouriser, float32 (1, 4 or 8, S, S): L, three of hints, empty, L of ``photo.sharp``.

    Models were trained with hints at these three, but spread them over the whole photo; see ``hints``.
    """
    lightness = lab_planes(photo.small)[:, :1]
    given = lightness.new_zeros(1, 3, *lightness.shape[2:])
    sharp = [] if photo.sharp is None else [F.pixel_unshuffle(lab_planes(photo.sharp)[:, :1], 2)]
    return torch.cat([lightness, given, *sharp], 1)


def lab_planes(pixels: np.ndarray) -> Tensor:
    """Lab, float32 (1, 3, H, W), of uint8 (H, W, 3)."""
    return rgb_to_lab(torch.tensor(pixels).movedim(-1, 0)[None].float() / 255)


def prepare_photo(config: ColorizerConfig, image: Any, alpha: np.ndarray | None = None) -> Photo:
    """Any picture as a ``Photo``.

    Args:
        image: (H, W, 3), (H, W, 1) or (H, W), numpy or torch; uint8, or floats in 0..1.
        alpha: opacity, uint8 (H, W); the model sees the picture on white.

    Raises:
        InputError: not a picture, values that are not finite or out of range, or too many pixels.
    """
    pixels = as_picture(image)
    if alpha is not None and (alpha.shape != pixels.shape[:2] or alpha.dtype != np.uint8):
        raise InputError(f"alpha: {alpha.dtype} of shape {alpha.shape}; give uint8 of the image's size")
    if alpha is not None and (alpha == 255).all():
        alpha = None
    side, seen = 2 * config.glow.height, on_white(pixels, alpha)
    sharp = fit_to_square(seen, 2 * side) if config.scale_tta else None
    return Photo(pixels, fit_to_square(seen, side), alpha, sharp)


def read_photo(config: ColorizerConfig, path: str | Path) -> tuple[Photo, tuple[str, ...]]:
    """A picture file as a ``Photo``, opacity kept, and remarks on what was converted.

    Raises:
        InputError: not a picture, damaged, or beyond the limits of ``data.media``.
    """
    clip, alpha = media.read_photo(path)
    return prepare_photo(config, clip.frames[0], alpha), clip.notes


def as_picture(image: Any) -> np.ndarray:
    """``image`` as uint8 (H, W, 3).

    Raises:
        InputError: not a picture, too many pixels, or values that are not finite or out of range.
    """
    array = as_array(image, "image")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (1, 3)) or not array.size:
        shape = "×".join(map(str, array.shape))
        raise InputError(f"image: an array of shape {shape} is not one; give H×W×3, H×W×1 or H×W")
    media.DEFAULT_LIMITS.check_size("image", array.shape[1], array.shape[0])
    frames = array[None] if array.ndim == 3 else array[None, ..., None]
    return media.as_frames(frames, "image")[0]


def on_white(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """``pixels``, uint8 (H, W, 3), with their opacity on a white page."""
    if alpha is None:
        return pixels
    share = alpha[..., None].astype(np.uint16)
    return ((pixels * share + 255 * (255 - share) + 127) // 255).astype(np.uint8)


def fit_to_square(pixels: np.ndarray, side: int) -> np.ndarray:
    """uint8 (side, side, 3): area means where it shrinks, linear interpolation where it grows."""
    height, width = pixels.shape[:2]
    smaller = min(width, side), min(height, side)
    if smaller != (width, height):
        pixels = cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA)
    if smaller != (side, side):
        pixels = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(pixels)


HALVINGS = 8
# Amounts of light that round to bytes 0 and 255 (sRGB: IEC 61966-2-1).
_DARKEST, _BRIGHTEST = -0.5 / 255 / 12.92, ((1 + 0.5 / 255 + 0.055) / 1.055) ** 2.4


def to_bytes(lightness: Tensor, ab: Tensor) -> np.ndarray:
    """Pixels with the given lightness, but for rounding (less than 0.5), and colours.

    Args:
        lightness: L, float32 (H, W), 0..100.
        ab: float32 (N, 2, H, W).

    Returns:
        uint8 (N, H, W, 3), sRGB.
    """
    lab = torch.cat([lightness.expand(len(ab), 1, *lightness.shape), ab], 1)
    outside = _outside(lab)
    if outside.any():
        lost = lab.movedim(1, 0)[:, outside]  # (3, K)
        lab.movedim(1, 0)[1:, outside] = lost[1:] * displayable_share(lost[0], lost[1:])
    rgb = lab_to_rgb(lab)
    return (rgb.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1).contiguous().numpy()


def displayable_share(lightness: Tensor, ab: Tensor) -> Tensor:
    """Largest share of the chroma, 0..1, that a screen can show at each colour's lightness.

    By bisection: at no chroma every lightness is shown.

    Args:
        lightness: L, float32 (K,).
        ab: float32 (2, K).
    """

    def outside(share: Tensor) -> Tensor:
        return _outside(torch.cat([lightness[None], share * ab])[None, :, None])[0, 0]

    low, step = torch.zeros_like(lightness), 1.0
    for _ in range(HALVINGS):
        step /= 2
        low = torch.where(outside(low + step), low, low + step)
    return torch.where(outside(torch.ones_like(low)), low, 1.0)


def _outside(lab: Tensor) -> Tensor:
    """Mask (B, H, W) of the colours (B, 3, H, W) that no screen shows."""
    light = lab_to_light(lab)
    return ((light < _DARKEST) | (light > _BRIGHTEST)).any(1)
