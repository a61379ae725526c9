"""Lightness and colours joined to bytes: colours that no screen shows lose chroma, never lightness."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vflow.data.lab import lab_to_light, lab_to_rgb

HALVINGS = 8
# Amounts of light that round to bytes 0 and 255 (sRGB: IEC 61966-2-1).
_DARKEST, _BRIGHTEST = -0.5 / 255 / 12.92, ((1 + 0.5 / 255 + 0.055) / 1.055) ** 2.4


def to_bytes(lightness: Tensor, ab: Tensor) -> np.ndarray:
    """Join planes to pixels whose lightness is the given one but for rounding (less than 0.5).

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
    """The largest share of the chroma, 0..1, with which a screen shows each colour at its lightness.

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
    """Which colours (B, 3, H, W) no screen shows: (B, H, W)."""
    light = lab_to_light(lab)
    return ((light < _DARKEST) | (light > _BRIGHTEST)).any(1)
