"""Colour hints: points whose colour is known. The model sees them, and its colours are then made to agree.

A hint's colour goes to the thing that it lies on: to a cell in the share of random walks from there, over
cells of like lightness and like features, that reach the hint before they end (Grady 2006, *Random Walks for
Image Segmentation*; as walks end, a screened form of Levin et al. 2004, *Colorization using Optimization*).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from vflow.data.color import rgb_to_lab
from vflow.errors import ConfigError
from vflow.pipelines.color.photo import displayable_share
from vflow.pipelines.color.upsample import Enlarger

MAX_HINTS = 100
SIDE = 3 / 64  # of a painted hint, of the photo's
APART = 1 / 32  # hints closer than this, of the photo's sides, are taken for the same
LIKE = 6.0  # difference of lightness at which a walk takes a step 0.6 times as often
ALIKE = 0.8  # squared distance of features, scaled to unit length, at which it does so 0.4 times as often
LEAK = 1e-4  # rate of steps over the strongest edges
END = 1e-3  # rate at which walks end
ANCHOR = 1e3  # rate at which they are taken in at a hint
WALKED = 32  # largest side of the grid of walks
CLOSE = 0.7 / 32  # how far what is still missing at a hint's pixel reaches, of the photo's sides
RIDGE = 1e-3


class Hint(NamedTuple):
    """A colour, (r, g, b) in 0..255, at a point: fractions 0..1 of width (``x``) and height (``y``)."""

    x: float
    y: float
    color: tuple[int, int, int]


class Placed(NamedTuple):
    """A hint on a photo: its point, a and b of its colour, and as much of them as its lightness allows."""

    x: float
    y: float
    ab: tuple[float, float]
    shown: tuple[float, float]


def parse_hint(text: str) -> Hint:
    """``"0.25,0.5,#c03020"`` → a hint.

    Raises:
        ConfigError: not of this form, or out of range.
    """
    number = r"\s*([0-9.eE+-]+)\s*"
    found = re.fullmatch(rf"{number},{number},\s*#?([0-9a-fA-F]{{6}})\s*", text)
    try:
        if found:
            x, y, color = found.groups()
            return check_hint(Hint(float(x), float(y), tuple(bytes.fromhex(color))))  # type: ignore[arg-type]
    except ValueError:
        pass
    raise ConfigError(f"hint {text!r}: give X,Y,#RRGGBB with X and Y from 0 to 1, e.g. 0.25,0.5,#c03020")


def check_hint(hint: Hint) -> Hint:
    """The hint as plain numbers, in range.

    Raises:
        ConfigError: a value is out of range.
    """
    x, y, color = hint
    if not all(math.isfinite(v) and 0 <= v <= 1 for v in (x, y)):
        raise ConfigError(f"hint at {x:g},{y:g}: x and y are fractions of width and height, 0..1")
    if len(color) != 3 or not all(0 <= c <= 255 and c == int(c) for c in color):
        raise ConfigError(f"hint at {x:g},{y:g}: colour {tuple(color)}; give red, green and blue, 0..255")
    red, green, blue = (int(c) for c in color)
    return Hint(float(x), float(y), (red, green, blue))


def place(hints: Sequence[Hint], lightness: Tensor) -> tuple[Placed, ...]:
    """Hints with their colours as the model takes them; of two almost in one place the later one counts.

    Args:
        lightness: L as the model sees it, float32 (S, S).
    """
    placed: list[Placed] = []
    for hint in hints:
        size = len(lightness)
        rgb = torch.tensor(hint.color, dtype=torch.float32) / 255
        ab = rgb_to_lab(rgb[None, :, None, None])[0, 1:, 0]  # (2, 1)
        here = lightness[_square(hint.y, size), _square(hint.x, size)].mean()[None]
        a, b = ab[:, 0].tolist()
        share = float(displayable_share(here, ab))
        placed = [old for old in placed if max(abs(old.x - hint.x), abs(old.y - hint.y)) >= APART]
        placed.append(Placed(hint.x, hint.y, (a, b), (share * a, share * b)))
    return tuple(placed)


def rasterize(placed: Sequence[Placed], size: int) -> Tensor:
    """Hints as the model's input: float32 (3, size, size), a mask, then a and b where it is 1."""
    planes = torch.zeros(3, size, size, dtype=torch.float32)
    for hint in placed:
        part = (slice(None), _square(hint.y, size), _square(hint.x, size))
        planes[part] = torch.tensor([1.0, *hint.shown])[:, None, None]
    return planes


def hint_shares(
    placed: Sequence[Placed], enlarger: Enlarger, size: Sequence[int], features: Tensor | None = None
) -> Tensor:
    """Shares of each hint in the colours of cells: float32 (K, h, w), 0..1, and at most 1 together.

    Args:
        size: (h, w) of the planes.
        features: of the photo, (C, h', w'), similar within an object; None: lightness alone is used.
    """
    height, width = (min(side, WALKED) for side in size)
    lightness = _medians(enlarger.lightness, height, width)[None]
    seen = [] if features is None else [(_unit(features, (height, width)), ALIKE / 2)]
    likeness = [(lightness, LIKE**2), *seen]
    cells = torch.arange(height * width).view(height, width)
    rates = lightness.new_zeros(height * width, height * width)
    for here, there in ((cells[:, :-1], cells[:, 1:]), (cells[:-1], cells[1:])):
        one, other = here.flatten(), there.flatten()
        unlike = sum(
            (plane.flatten(1)[:, one] - plane.flatten(1)[:, other]).square().sum(0) / (2 * scale)
            for plane, scale in likeness
        )
        rates[one, other] = rates[other, one] = torch.exp(-torch.as_tensor(unlike)) + LEAK
    taken = lightness.new_zeros(height * width, len(placed))
    for number, hint in enumerate(placed):
        taken[cells[_cell(hint.y, height), _cell(hint.x, width)], number] = ANCHOR
    system = torch.diag(rates.sum(1) + taken.sum(1) + END) - rates
    shares = torch.cholesky_solve(taken, torch.linalg.cholesky(system)).T.reshape(-1, 1, height, width)
    return F.interpolate(shares.clamp(0, 1), size=tuple(size), mode="bilinear", align_corners=False)[:, 0]


def enforce_hints(ab: Tensor, placed: Sequence[Placed], enlarger: Enlarger, shares: Tensor) -> Tensor:
    """``ab`` (N, 2, h, w) changed so that, enlarged, it has the hints' colours at their pixels.

    Cells first take the hints' colours by ``shares`` (K, h, w); then what is still missing goes to the cells
    around, by a linear system, as enlarging is linear.
    """
    if not placed:
        return ab
    pixels = [(_cell(hint.y, enlarger.height), _cell(hint.x, enlarger.width)) for hint in placed]
    shown, wanted = (
        ab.new_tensor(colors).T for colors in zip(*[(h.shown, h.ab) for h in placed], strict=True)
    )
    ab = ab * (1 - shares.sum(0)).clamp_min(0) + _spread(shown[None], shares)
    narrow = torch.stack([_bump(enlarger, ab.shape[-2:], *pixel) for pixel in pixels])
    ridge = RIDGE * torch.eye(len(placed), dtype=ab.dtype)
    heights = _at(enlarger, narrow, pixels) + ridge  # of each bump at each pixel
    missing = wanted - _at(enlarger, ab, pixels)  # (N, 2, K)
    return ab + _spread(torch.linalg.solve(heights.T, missing.flatten(0, 1).T).T.view(missing.shape), narrow)


def _spread(weights: Tensor, bumps: Tensor) -> Tensor:
    """Sum of bumps (K, h, w) with weights (N, 2, K): (N, 2, h, w)."""
    with torch.autocast(weights.device.type, enabled=False):  # which is meant for networks
        return torch.einsum("nck,khw->nchw", weights, bumps)


def _bump(enlarger: Enlarger, size: Sequence[int], row: int, column: int) -> Tensor:
    """Gaussian around a pixel, (h, w)."""
    height, width = size
    rows, columns = (torch.arange(side, dtype=torch.float32) + 0.5 for side in size)
    down = (rows / height - (row + 0.5) / enlarger.height) / CLOSE
    right = (columns / width - (column + 0.5) / enlarger.width) / CLOSE
    return torch.exp(-(down[:, None].square() + right.square()) / 2)


def _medians(lightness: Tensor, height: int, width: int) -> Tensor:
    """Median of L in each of (h, w) cells: an edge inside a cell stays one step, as means would halve it."""
    fine = F.interpolate(lightness[None, None], size=(4 * height, 4 * width), mode="area")[0, 0]
    return rearrange(fine, "(h y) (w x) -> h w (y x)", y=4, x=4).median(-1).values


def _unit(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Features (C, h', w') at another size, each cell's of length 1."""
    return F.normalize(F.interpolate(features[None], size=size, mode="nearest")[0], dim=0)


def _at(enlarger: Enlarger, planes: Tensor, pixels: Sequence[tuple[int, int]]) -> Tensor:
    """Values that planes (…, h, w) have, enlarged, at K pixels: (…, K)."""
    sharp = enlarger.sharpen(enlarger.shrink(planes.flatten(0, -3)[:, None])[:, 0])
    values = [
        enlarger.enlarge(sharp, enlarger.corners(slice(row, row + 1)))[..., 0, column]
        for row, column in pixels
    ]
    return torch.stack(values, -1).view(*planes.shape[:-2], len(pixels))


def _cell(fraction: float, size: int) -> int:
    return min(int(fraction * size), size - 1)


def _square(fraction: float, size: int) -> slice:
    """Pixels of a painted hint along an axis."""
    side = max(1, round(SIDE * size))
    first = min(max(_cell(fraction, size) - side // 2, 0), size - side)
    return slice(first, first + side)
