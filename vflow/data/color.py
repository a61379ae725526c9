"""sRGB and CIE Lab (white point D65, 2° observer): lightness apart from colour, for the colouriser."""

from __future__ import annotations

import torch
from torch import Tensor

# ITU-R BT.709 primaries with white D65, rounded as image libraries use them.
_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_WHITE = (0.95047, 1.0, 1.08883)
_KNEE = 6 / 29  # of the cube root, which is a straight line below


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Lab of sRGB values.

    Args:
        rgb: float32 or float64 (B, 3, H, W) in 0..1.

    Returns:
        (B, 3, H, W): L in 0..100, a and b in about -110..110 for colours that screens show.
    """
    xyz = _mix(_linear(rgb), _matrix(rgb))
    fx, fy, fz = _root(xyz / _column(_WHITE, rgb)).unbind(1)
    return torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], 1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """sRGB values of Lab, inverse of ``rgb_to_lab``; not clamped.

    Args:
        lab: float32 or float64 (B, 3, H, W).

    Returns:
        (B, 3, H, W); below 0 or above 1 where no screen shows the colour (the curve continued oddly).
    """
    return _curve(lab_to_light(lab))


def lab_to_light(lab: Tensor) -> Tensor:
    """Amounts of red, green and blue light of Lab (B, 3, H, W), 0..1 for colours that screens show."""
    lightness, a, b = lab.unbind(1)
    fy = (lightness + 16) / 116
    xyz = _cube(torch.stack([fy + a / 500, fy, fy - b / 200], 1)) * _column(_WHITE, lab)
    return _mix(xyz, torch.linalg.inv(_matrix(lab).double()).to(lab.dtype))


def _matrix(like: Tensor) -> Tensor:
    return torch.tensor(_TO_XYZ, dtype=like.dtype, device=like.device)


def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]


def _mix(x: Tensor, matrix: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):  # which is meant for networks
        return torch.einsum("dc,bchw->bdhw", matrix, x)


def _linear(rgb: Tensor) -> Tensor:
    """sRGB values as amounts of light (IEC 61966-2-1)."""
    size = rgb.abs()
    return rgb.sign() * torch.where(size > 0.04045, ((size + 0.055) / 1.055) ** 2.4, size / 12.92)


def _curve(light: Tensor) -> Tensor:
    """Amounts of light as sRGB values, inverse of ``_linear``."""
    size = light.abs()
    return light.sign() * torch.where(size > 0.0031308, 1.055 * size ** (1 / 2.4) - 0.055, 12.92 * size)


def _root(t: Tensor) -> Tensor:
    return torch.where(t > _KNEE**3, t.clamp_min(0) ** (1 / 3), t / (3 * _KNEE**2) + 4 / 29)


def _cube(f: Tensor) -> Tensor:
    return torch.where(f > _KNEE, f**3, 3 * _KNEE**2 * (f - 4 / 29))
