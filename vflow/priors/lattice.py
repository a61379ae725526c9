"""Prior over the latents of a frame, coded on ever finer lattices given past latents."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.config import LatticePriorConfig
from vflow.nn.reshape import to_cells, to_pixels
from vflow.nn.residual import ResidualNet
from vflow.priors.gaussian import LOG_SCALE_LIMIT, Gaussian

COST_LIMIT = 1.0  # of the difference of two latents, where their cells are matched
SHARPNESS = 10.0  # of votes
LOG_SCALE_START = -1.5


class Motion(NamedTuple):
    """Condition of a frame's latents from the past, on the grid of cells."""

    features: Tensor  # (B, F, h, w): past latents, mask of absent frames, costs of past displacements
    copies: Tensor  # (B, h, w, K, D): the newest latents, displaced by up to ``radius`` cells each way
    votes: Tensor  # (B, K, h, w): for each displacement to have led from the frame before to the newest


@final
class LatticePrior(nn.Module):
    """p(z_t | z_<t) = Π_g N(z_t⁽ᵍ⁾; μ_g, σ_g), with μ_g and σ_g from z_t⁽<ᵍ⁾ and the last n of z_<t.

    Latents of all levels lie on the grid of pixels as a *latent image* (C, H, W) (``Glow.join``). Its groups
    are lattices: first every ``coarsest``-th row and column, then by halves all positions; on lattices
    coarser than ``separate`` the first channel goes before the others. So few latents of a group depend on
    each other given the groups before, and a diagonal Gaussian suffices. Coarse levels go before fine ones.

    One residual network serves all groups. It works on cells of ``cell``² pixels. The mean is local attention
    over the newest latents, μ = Σ_k a_k · (z_{t−1} displaced by k) + Δμ with a softmax over displacements of
    up to ``radius`` cells; σ² = σ_net² + the variance of the copies under a. These are the moments of a
    mixture over displacements. The network also sees matching costs, cell by cell and added up around it: of
    the copies and what is known of z_t, and of the copies of z_{t−2} and z_{t−1}.

    Args:
        channels: C of the latent image.
        frames: window length n; with n = 1 there are no costs of past displacements.
    """

    def __init__(self, channels: int, frames: int, config: LatticePriorConfig) -> None:
        super().__init__()
        self.config, self.channels, self.frames = config, channels, frames
        depth = channels * config.cell**2
        copies = (2 * config.radius + 1) ** 2
        past = frames * (depth + 1) + copies  # of ``Motion.features``
        self.split = (depth, depth, copies)
        inputs = 2 * depth + past + 3 * copies
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

    def motion(self, past: Tensor, mask: Tensor) -> Motion:
        """Features of a window of latent images (B, n, C, H, W); ``mask`` (B, n) is 0 where one is absent."""
        cells = to_cells(past.flatten(0, 1), self.config.cell).unflatten(0, past.shape[:2])
        cells = cells * mask[..., None, None, None]
        planes = mask[..., None, None].expand(*mask.shape, *cells.shape[3:])
        copies = self._copies(cells[:, -1])
        if self.frames > 1:
            cost = matching_cost(cells[:, -1], self._copies(cells[:, -2]), mask[:, -2, None, None, None])
        else:
            cost = torch.zeros_like(planes[:, :1]).expand(-1, copies.shape[3], -1, -1)
        features = torch.cat([cells.flatten(1, 2), planes, cost], 1)
        return Motion(features, copies, self._votes(cost))

    def forward(self, z: Tensor, group: Tensor, motion: Motion) -> Gaussian:
        """Density of group ``group`` (B,) of latent images z (B, C, H, W) given the groups before it.

        Elementwise, (B, C, H, W); only where the latents of that group lie does it mean anything.
        """
        order = self.order(*z.shape[2:]).to(z.device)
        known = to_cells((order < group[:, None, None, None]).to(z.dtype), self.config.cell)
        seen = to_cells(z, self.config.cell) * known
        cost = matching_cost(seen, motion.copies, known)
        planes = torch.cat([seen, known, motion.features, cost, motion.votes, self._votes(cost)], 1)
        delta, raw, logits = self.net(planes).to(z.dtype).split(self.split, 1)
        mean, variance = _moments(logits.softmax(1), motion.copies)
        log_floor = LOG_SCALE_LIMIT * torch.tanh((raw + LOG_SCALE_START) / LOG_SCALE_LIMIT)
        log_scale = 0.5 * ((2 * log_floor).exp() + variance).log()
        return Gaussian(to_pixels(mean + delta, self.config.cell), to_pixels(log_scale, self.config.cell))

    def _copies(self, cells: Tensor) -> Tensor:
        """(B, D, h, w) → (B, h, w, K, D), displaced by each of K vectors; zeros enter at the edges."""
        radius, (height, width) = self.config.radius, cells.shape[2:]
        padded = F.pad(cells, (radius,) * 4).permute(0, 2, 3, 1)
        steps = range(2 * radius + 1)
        return torch.stack([padded[:, i : i + height, j : j + width] for i in steps for j in steps], 3)

    def _votes(self, cost: Tensor) -> Tensor:
        """Displacements that fit about as well as the best one nearby: (B, K, h, w), 0 … 1."""
        side = 2 * self.config.reach + 1
        total = side**2 * F.avg_pool2d(cost, side, 1, self.config.reach)
        return (SHARPNESS * (total.amin(1, keepdim=True) - total)).exp()


def matching_cost(cells: Tensor, copies: Tensor, known: Tensor) -> Tensor:
    """Sum over known latents of |cells − copy|, bounded, over √D: (B, K, h, w).

    ``cells`` (B, D, h, w), ``copies`` (B, h, w, K, D); ``known`` is 0 or 1, shaped like ``cells`` or
    broadcast. Correlation features of optical flow (Dosovitskiy et al. 2015, *FlowNet*), as distances.
    """
    last = cells.permute(0, 2, 3, 1)[..., None, :]
    weight = known.permute(0, 2, 3, 1)[..., None, :]
    difference = (last - copies).abs().clamp_max(COST_LIMIT) * weight
    return (difference.sum(-1) / math.sqrt(cells.shape[1])).permute(0, 3, 1, 2)


def _moments(weights: Tensor, copies: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (B, D, h, w) of copies (B, h, w, K, D) under weights (B, K, h, w)."""
    rows = weights.permute(0, 2, 3, 1).reshape(-1, 1, weights.shape[1])
    columns = copies.flatten(0, 2)
    with torch.autocast(weights.device.type, enabled=False):
        mean, square = (rows @ columns)[:, 0], (rows @ columns.square())[:, 0]
    variance = (square - mean.square()).clamp_min(0)
    size = copies.shape[:3]
    return mean.unflatten(0, size).permute(0, 3, 1, 2), variance.unflatten(0, size).permute(0, 3, 1, 2)


@lru_cache(maxsize=16)
def lattice_order(channels: int, height: int, width: int, coarsest: int, separate: int) -> Tensor:
    """Group of each latent, int64 (C, H, W): lattices from stride ``coarsest`` down to 1.

    A lattice of stride s is halved by its diagonal neighbours (s/2, s/2), then (0, s/2), then (s/2, 0); from
    stride 4 on the last two go together. On strides over ``separate`` channel 0 goes before the others.
    """
    order = torch.zeros(channels, height, width, dtype=torch.int64)
    count = 0

    def place(row: int, column: int, stride: int, apart: bool) -> None:
        nonlocal count
        parts = [slice(0, 1), slice(1, None)] if apart and channels > 1 else [slice(None)]
        for part in parts:
            order[part, row::stride, column::stride] = count
            count += 1

    place(0, 0, coarsest, True)
    stride = coarsest
    while stride > 1:
        half = stride // 2
        place(half, half, stride, stride > separate)
        place(0, half, stride, stride > separate)
        if stride <= 4:
            order[:, half::stride, ::stride] = count - 1
        else:
            place(half, 0, stride, stride > separate)
        stride = half
    return order
