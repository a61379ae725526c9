"""Prior over the latents of a frame, coded on ever finer lattices given past latents."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import product
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.config import LatticePriorConfig
from vflow.nn.reshape import to_cells
from vflow.nn.residual import ResidualNet
from vflow.priors.gaussian import LOG_SCALE_LIMIT
from vflow.priors.gaussian_mixture import GaussianMixture

COST_LIMIT = 1.0  # of the difference of two latents, where their cells are matched
SHARPNESS = 10.0  # of votes
GAINS, GAIN_START = 4, 0.1  # of costs and votes in logits
LOG_SCALE_START = -1.5


Places = tuple[Tensor, ...]
"""An index of latent images (B, C, H, W)."""


class LatticePast(NamedTuple):
    """Condition of a frame's latents from the past, on the grid of cells."""

    features: Tensor  # (B, F, h, w): past latents, mask of absent frames
    copies: Tensor  # (B, h, w, K, D): the newest latents, displaced by up to ``radius`` steps each way
    cost: Tensor  # (B, K, h, w): of each displacement from the frame before to the newest
    votes: Tensor  # the same, by ``votes_of``


@final
class LatticePrior(nn.Module):
    """p(z_t | z_<t) = Π_g p(z_t⁽ᵍ⁾ | z_t⁽<ᵍ⁾, z_{t−n} … z_{t−1}), a mixture for each latent.

    Latents of all levels lie on the grid of pixels as a *latent image* (C, H, W) (``Glow.join``). Its groups
    are lattices: first every ``coarsest``-th row and column, then by halves all positions; on lattices
    coarser than ``separate`` the first channel goes before the others. So few latents of a group depend on
    each other given the groups before. Coarse levels go before fine ones.

    One residual network serves all groups. It works on cells of ``cell``² pixels and gives a softmax a over
    displacements k of up to ``radius`` steps of ``step`` pixels. With c_k for z_{t−1} displaced by k, a
    latent has the mixture Σ_k a_k N(c_k + Δμ, σ²), one mode a displacement.

    The network also sees matching costs, cell by cell and added up around it: of the copies and what is known
    of z_t, and of the copies of z_{t−2} and z_{t−1}. The logits of a are its outputs and these costs, times
    four gains that it gives too.

    Args:
        channels: C of the latent image.
        frames: window length n; with n = 1 there are no costs of past displacements.
    """

    def __init__(self, channels: int, frames: int, config: LatticePriorConfig) -> None:
        super().__init__()
        self.config, self.channels, self.frames = config, channels, frames
        depth = channels * config.cell**2
        copies = (2 * config.radius + 1) ** 2
        past = frames * (depth + 1)  # of ``LatticePast.features``
        self.split = (depth, depth, copies, GAINS)
        inputs = 2 * depth + past + 4 * copies
        self.net = ResidualNet(inputs, sum(self.split), config.hidden, config.dilations)

    def order(self, height: int, width: int) -> Tensor:
        """Group of each latent, int64 (C, H, W)."""
        return lattice_order(self.channels, height, width, self.config.coarsest, self.config.separate)

    def strides(self, height: int, width: int) -> Tensor:
        """Stride of the coarsest lattice that each position lies on, int64 (H, W)."""
        found = torch.ones(height, width, dtype=torch.int64)
        stride = 2
        while stride <= self.config.coarsest:
            found[::stride, ::stride] = stride
            stride *= 2
        return found

    def shares(self, height: int, width: int) -> Tensor:
        """Probability of each group when one stands for all of them in training, float32 (G,)."""
        sizes = self.order(height, width).flatten().bincount().float().sqrt()
        return 0.3 * sizes / sizes.sum() + 0.7 / len(sizes)

    def sweep(self, past: LatticePast) -> Callable[[Tensor, int], tuple[Places, GaussianMixture]]:
        """Places of a group's latents (B, C, H, W), and their density given the latents z before it."""

        def density(z: Tensor, group: int) -> tuple[Places, GaussianMixture]:
            index = torch.full((len(z),), group, device=z.device)
            return (self.places(z, index),), self(z, index, past)

        return density

    def picked(
        self, z: Tensor, pick: Tensor, past: LatticePast
    ) -> Iterator[tuple[Places, GaussianMixture, Tensor]]:
        """One group that stands for all, by uniform numbers (B,): places, density there, its share (B,)."""
        shares = self.shares(*z.shape[2:]).to(z.device)
        group = torch.searchsorted(shares.cumsum(0), pick.contiguous()).clamp_max(len(shares) - 1)
        at = self.places(z, group)
        share = shares[group][:, None, None, None].expand_as(at)[at]
        yield (at,), self(z, group, past), share

    def past(self, past: Tensor, mask: Tensor) -> LatticePast:
        """Features of a window of latent images (B, n, C, H, W); ``mask`` (B, n) is 0 where one is absent."""
        cells = to_cells(past.flatten(0, 1), self.config.cell).unflatten(0, past.shape[:2])
        cells = cells * mask[..., None, None, None]
        planes = mask[..., None, None].expand(*mask.shape, *cells.shape[3:])
        copies = self._copies(past[:, -1])
        if self.frames > 1:
            cost = matching_cost(cells[:, -1], self._copies(past[:, -2]), mask[:, -2, None, None, None])
        else:
            cost = torch.zeros_like(planes[:, :1]).expand(-1, copies.shape[3], -1, -1)
        features = torch.cat([cells.flatten(1, 2), planes], 1)
        return LatticePast(features, copies, cost, votes_of(cost, self.config.reach))

    def forward(self, z: Tensor, group: Tensor, motion: LatticePast) -> GaussianMixture:
        """Density of the latents of group ``group`` (B,) of latent images (B, C, H, W) given those before it.

        Its elements (N,) are those of ``self.places(z, group)``, in the order of a boolean index.
        """
        cell = self.config.cell
        order = self.order(*z.shape[2:]).to(z.device)
        known = to_cells((order < group[:, None, None, None]).to(z.dtype), cell)
        seen = to_cells(z, cell) * known
        cost = matching_cost(seen, motion.copies, known)
        votes = votes_of(cost, self.config.reach)
        evidence = torch.stack([cost, votes, motion.cost, motion.votes], 1)
        past = torch.cat([motion.features, motion.cost], 1)
        planes = torch.cat([seen, known, past, cost, motion.votes.exp(), votes.exp()], 1)
        delta, raw, logits, gains = self.net(planes).to(z.dtype).split(self.split, 1)
        logits = logits + (evidence * (gains + GAIN_START)[:, :, None]).sum(1)
        batch, depth, row, column = self._cells(self.places(z, group))
        copies, logits = motion.copies[batch, row, column, :, depth], logits[batch, :, row, column]  # (N, K)
        delta, raw = (part[batch, depth, row, column, None] for part in (delta, raw))
        log_scale = bounded_log_scale(raw).expand_as(copies)
        return GaussianMixture.broadened(copies + delta, log_scale, logits.log_softmax(-1))

    def places(self, z: Tensor, group: Tensor) -> Tensor:
        """True where the latents of ``group`` (B,) lie, (B, C, H, W)."""
        return self.order(*z.shape[2:]).to(z.device) == group[:, None, None, None]

    def _cells(self, places: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Index in cells (B, D, h, w) of each place."""
        cell, (channels, height, width) = self.config.cell, places.shape[1:]
        batch, place = places.flatten(1).nonzero(as_tuple=True)
        at = _cell_numbers(channels, height, width, cell).to(places.device)[place]
        rows, columns = height // cell, width // cell
        return batch, at // (rows * columns), at // columns % rows, at % columns

    def _copies(self, image: Tensor) -> Tensor:
        """(B, C, H, W) → cells (B, h, w, K, D), displaced by each of K vectors; zeros enter at the edges."""
        (radius, step), (height, width) = (self.config.radius, self.config.step), image.shape[2:]
        padded = F.pad(image, (radius * step,) * 4)
        starts = [i * step for i in range(2 * radius + 1)]
        moved = torch.stack([padded[..., i : i + height, j : j + width] for i in starts for j in starts], 1)
        cells = to_cells(moved.flatten(0, 1), self.config.cell).unflatten(0, moved.shape[:2])
        return cells.permute(0, 3, 4, 1, 2).contiguous()


def votes_of(cost: Tensor, reach: int) -> Tensor:
    """Costs (B, K, h, w) added up around a cell and compared with the least, 0 or below: the same shape."""
    side = 2 * reach + 1
    total = side**2 * F.avg_pool2d(cost, side, 1, reach)
    return SHARPNESS * (total.amin(1, keepdim=True) - total)


def bounded_log_scale(raw: Tensor) -> Tensor:
    """Log scale of a network's output."""
    return LOG_SCALE_LIMIT * torch.tanh((raw + LOG_SCALE_START) / LOG_SCALE_LIMIT)


def matching_cost(cells: Tensor, copies: Tensor, known: Tensor) -> Tensor:
    """Sum over known latents of |cells − copy|, bounded, over √D: (B, K, h, w).

    ``cells`` (B, D, h, w), ``copies`` (B, h, w, K, D); ``known`` is 0 or 1, shaped like ``cells`` or
    broadcast. Correlation features of optical flow (Dosovitskiy et al. 2015, *FlowNet*), as distances.
    """
    last = cells.permute(0, 2, 3, 1)[..., None, :]
    weight = known.permute(0, 2, 3, 1)[..., None, :]
    difference = (last - copies).abs().clamp_max(COST_LIMIT) * weight
    return (difference.sum(-1) / math.sqrt(cells.shape[1])).permute(0, 3, 1, 2)


@lru_cache(maxsize=16)
def _cell_numbers(channels: int, height: int, width: int, cell: int) -> Tensor:
    """Number among cells (D, h, w) of each latent of an image (C, H, W), both flat: int64."""
    number = torch.arange(channels * height * width, dtype=torch.float64).view(1, channels, height, width)
    return to_cells(number, cell).flatten().argsort()


@lru_cache(maxsize=16)
def lattice_order(channels: int, height: int, width: int, coarsest: int, separate: int) -> Tensor:
    """Group of each latent, int64 (C, H, W): lattices from stride ``coarsest`` down to 1.

    A lattice of stride s is halved by its diagonal neighbours (s/2, s/2), then (0, s/2), then (s/2, 0); from
    stride 4 on the last two go together. On strides over ``separate`` channel 0 goes before the others, in
    four parts twice as far apart, so that latents of one shape are not all drawn before it is known where
    it goes.
    """
    order = torch.zeros(channels, height, width, dtype=torch.int64)
    count = 0

    def place(row: int, column: int, stride: int, apart: bool) -> None:
        nonlocal count
        parts = [slice(None)]
        if apart and channels > 1:
            parts = [slice(0, 1), slice(1, None)]
        for part in parts:
            first = apart and part != slice(1, None)
            step = 2 * stride if first and 2 * stride <= coarsest else stride
            for top, left in product(range(row, row + step, stride), range(column, column + step, stride)):
                order[part, top::step, left::step] = count
                count += 1

    place(0, 0, coarsest, True)
    stride = coarsest
    while stride > 1:
        half = stride // 2
        place(half, half, stride, stride > separate)
        place(0, half, stride, stride > separate)
        if stride <= 4:
            order[:, half::stride, ::stride] = order[:, 0::stride, half::stride][:, :1, :1]
        else:
            place(half, 0, stride, stride > separate)
        stride = half
    return order
