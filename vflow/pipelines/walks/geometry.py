"""Moving about in standardised noise ε without leaving where its density has its mass.

A standard-normal vector of D numbers has a length close to √D. Straight lines through such vectors leave that
shell: the middle between two lies far inside, and what is added to one leads far outside. So longer vectors
turn instead of growing, and the path between two follows the great circle (Shoemake 1985; White 2016,
arXiv 1609.04468). Vectors of few numbers have no such shell, and move straight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vflow.models.multiscale import split_levels

Levels = tuple[Tensor, ...]
"""Noise of one image, or of one step of a walk per row: per level (B, C, h, w), fine to coarse."""
FEW = 32
"""Below so many numbers the length of a normal vector says little: it varies by more than an eighth."""


def flatten(eps: Sequence[Tensor]) -> Tensor:
    """All levels side by side, (B, D)."""
    return torch.cat([level.flatten(1) for level in eps], 1)


def unflatten(flat: Tensor, like: Sequence[Tensor]) -> Levels:
    """Inverse of ``flatten`` for levels shaped like ``like``, whatever their batch."""
    return split_levels(flat, [tuple(level.shape[1:]) for level in like])


def move(eps: Tensor, direction: Tensor, amounts: Sequence[float]) -> Tensor:
    """ε after each of ``amounts`` along ``direction``: (steps, D), float32.

    With a = ⟨ε, d⟩ + amount, ε becomes a·d + c·(ε − ⟨ε, d⟩ d), where c gives it its length. Noise as long as
    a typical vector, √D, or longer keeps its length: it turns, at most until it is ±d. Shorter noise, as
    of pixels at their bins' centres, moves straight (c = 1) up to the length √D. Amount 0 returns ε.

    Args:
        eps: (1, D). direction: (D,), of length 1. amounts: in standard deviations of the prior, so 1 each.
    """
    start, d = _precise(eps), _precise(direction)
    by = torch.tensor(amounts, dtype=torch.float64)[:, None]
    along = start @ d
    across = start - along[:, None] * d
    to = along[:, None] + by
    if start.shape[1] < FEW:
        return (to * d + across).float().to(eps.device)
    typical, length = math.sqrt(start.shape[1]), float(start.norm())
    to = to.clamp(-max(typical, length), max(typical, length))
    rest = across.square().sum().clamp_min(1e-12)
    longest = (to.square() + rest).sqrt().clamp_max(typical) if length < typical else to.new_tensor(length)
    share = ((longest.square() - to.square()) / rest).clamp_min(0).sqrt()
    return (to * d + share * across).float().to(eps.device)


def scaled(eps: Sequence[Tensor], amounts: Sequence[float]) -> Levels:
    """``eps`` (1, C, h, w) times each of ``amounts``: (steps, C, h, w)."""
    by = torch.tensor(amounts, dtype=torch.float32)[:, None, None, None]
    return tuple(level * by.to(level.device) for level in eps)


def between(a: Sequence[Tensor], b: Sequence[Tensor], positions: Sequence[float]) -> Levels:
    """Noise at ``positions`` 0..1 of the way from ``a`` to ``b``, along the great circle of each level.

    Lengths go evenly from one to the other. Levels of few numbers take the angle of all levels together, so
    independent draws stay normal: cos θ · a + sin θ · b. The ends return ``a`` and ``b`` themselves.

    Args:
        a, b: per level (1, C, h, w).

    Returns:
        Per level (steps, C, h, w).
    """
    whole = _angle(flatten(a), flatten(b))
    t = torch.tensor(positions, dtype=torch.float64)
    return tuple(_arc(one, other, t, whole) for one, other in zip(a, b, strict=True))


def _arc(a: Tensor, b: Tensor, t: Tensor, whole: float) -> Tensor:
    one, other = _precise(a), _precise(b)
    if a.numel() < FEW:
        left, right = _weights(whole, t)
    else:
        left, right = _weights(_angle(one, other), t)
        lengths = float(one.norm()), float(other.norm())
        now = (1 - t) * lengths[0] + t * lengths[1]
        left, right = left * now / max(lengths[0], 1e-12), right * now / max(lengths[1], 1e-12)
    shape = (-1, *[1] * (a.ndim - 1))
    return (left.view(shape) * one + right.view(shape) * other).float().to(a.device)


def _weights(angle: float, t: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of two vectors, ``angle`` apart, whose sum goes along the arc; a line if that is 0 or π."""
    if math.sin(angle) < 1e-6:
        return 1 - t, t
    return torch.sin((1 - t) * angle) / math.sin(angle), torch.sin(t * angle) / math.sin(angle)


def _angle(a: Tensor, b: Tensor) -> float:
    """Angle between two vectors, in radians; π / 2 if one of them has no length."""
    one, other = _precise(a).flatten(), _precise(b).flatten()
    lengths = float(one.norm() * other.norm())
    return math.acos(min(1.0, max(-1.0, float(one @ other) / lengths))) if lengths else math.pi / 2


def _precise(x: Tensor) -> Tensor:
    """Float64, on the CPU: not every device has it."""
    return x.cpu().double()
