"""Colour hints: points whose colour is known. The model's colours are made to agree with them.

A hint's colour goes to the thing that it lies on, and the rest of the photo stays as it was. Whether a cell
belongs to that thing is told by two things: the share of random walks from the cell, over cells of like
lightness and like features, that reach the hint before they end (Grady 2006, *Random Walks for Image
Segmentation*), and how alike the backbone's features are there and at the hint. The weights of the two are
those of a logistic regression on 40 training photographs with human outlines (BSDS500).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from vflow.data.color import rgb_to_lab
from vflow.pipelines.color.photo import displayable_share
from vflow.pipelines.color.upsample import Enlarger
from vflow.tasks.colorize.settings import Hint

SIDE = 3 / 64  # of the square whose lightness is a hint's, of the photo's
APART = 1 / 32  # hints closer than this, of the photo's sides, are taken for the same
LIKE = 4.0  # difference of lightness at which a walk takes a step 0.6 times as often
ALIKE = 0.3  # squared distance of features, scaled to unit length, at which it does so 0.4 times as often
LEAK = 1e-4  # rate of steps over the strongest edges
END = 1e-3  # rate at which walks end
ANCHOR = 1e3  # rate at which they are taken in at a hint
WALKED = 32  # largest side of the grid of walks
LEAST_WALKS = 1e-4  # share of walks that counts as none
WALKS, KIND, NEITHER = (
    0.34,
    5.2,
    -0.3,
)  # weights of log-share and cosine, and their sum's start
UNKNOWN_KIND = 0.15  # cosine where there are no features
REACH = 1.5  # what a unit of reach adds to it
EDGE = 5.0  # how sharply a thing ends: a factor of the sum
CLOSE = 0.7 / 32  # how far what is still missing at a hint's pixel reaches, of the photo's sides
RIDGE = 1e-3


class Placed(NamedTuple):
    """A hint on a photo: its point, a and b of its colour, and as much of them as its lightness allows."""

    x: float
    y: float
    ab: tuple[float, float]
    shown: tuple[float, float]
    reach: float


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
        placed.append(Placed(hint.x, hint.y, (a, b), (share * a, share * b), hint.reach))
    return tuple(placed)


class Likeness(NamedTuple):
    """Features of a photo: edges (C, h, w), similar within an object, and kinds (C', h', w')."""

    edges: Tensor
    kinds: Tensor


def hint_shares(
    placed: Sequence[Placed],
    enlarger: Enlarger,
    size: Sequence[int],
    seen: Likeness | None = None,
) -> Tensor:
    """Shares of each hint in the colours of cells: float32 (K, h, w), 0..1, and at most 1 together.

    Args:
        size: (h, w) of the planes.
        seen: features of the photo; None: lightness alone is used.
    """
    height, width = (min(side, WALKED) for side in size)
    cells = [(_cell(hint.y, height), _cell(hint.x, width)) for hint in placed]
    lightness = _medians(enlarger.lightness, height, width)
    walks = _walks(cells, lightness, seen and _unit(seen.edges, height, width))
    kinds = _kinds(cells, height, width, seen.kinds) if seen else torch.full_like(walks, UNKNOWN_KIND)
    reach = REACH * lightness.new_tensor([hint.reach - 1 for hint in placed])[:, None, None]
    score = WALKS * (walks + LEAST_WALKS).log() + KIND * kinds + NEITHER + reach
    shares = torch.cat([score.new_zeros(1, height, width), EDGE * score]).softmax(0)[1:]
    return F.interpolate(shares[:, None], size=tuple(size), mode="bilinear", align_corners=False)[:, 0]


def _walks(cells: Sequence[tuple[int, int]], lightness: Tensor, features: Tensor | None) -> Tensor:
    """Share of random walks from each place (h, w) that reach each of K cells: (K, h, w)."""
    height, width = lightness.shape
    likeness = [(lightness[None], 2 * LIKE**2), *([] if features is None else [(features, ALIKE)])]
    places = torch.arange(height * width).view(height, width)
    rates = lightness.new_zeros(height * width, height * width)
    for here, there in ((places[:, :-1], places[:, 1:]), (places[:-1], places[1:])):
        one, other = here.flatten(), there.flatten()
        unlike = sum(
            (plane.flatten(1)[:, one] - plane.flatten(1)[:, other]).square().sum(0) / scale
            for plane, scale in likeness
        )
        rates[one, other] = rates[other, one] = torch.exp(-torch.as_tensor(unlike)) + LEAK
    taken = lightness.new_zeros(height * width, len(cells))
    for number, cell in enumerate(cells):
        taken[places[cell], number] = ANCHOR
    system = torch.diag(rates.sum(1) + taken.sum(1) + END) - rates
    return torch.cholesky_solve(taken, torch.linalg.cholesky(system)).T.reshape(-1, height, width).clamp(0, 1)


def _kinds(cells: Sequence[tuple[int, int]], height: int, width: int, features: Tensor) -> Tensor:
    """Cosine between features (C, h', w'), less their mean, of each place and around each cell: (K, h, w)."""
    features = (features - features.mean((1, 2), keepdim=True))[None]
    unit = F.normalize(
        F.interpolate(features, size=(height, width), mode="bilinear", align_corners=False)[0], dim=0
    )
    around = [unit[:, max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2].mean((1, 2)) for r, c in cells]
    return torch.einsum("kc,chw->khw", F.normalize(torch.stack(around), dim=1), unit)


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


def _unit(features: Tensor, height: int, width: int) -> Tensor:
    """Features (C, h', w') at another size, each cell's of length 1."""
    return F.normalize(F.interpolate(features[None], size=(height, width), mode="nearest")[0], dim=0)


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
