"""An elementwise monotone map fitted to counts of the training pixels."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from vflow.bijections.base import Bijection, Context

LEVELS = 256


@final
class HistogramMap(Bijection):
    """z = (Φ⁻¹(F(x)) − a) / b with F the piecewise linear CDF of (tempered) value counts, per channel.

    x lies in (0, 256). With ``rows`` = 256 the counts are conditional: ``context`` (B, C, H, W) holds the
    value that selects the row, such as the same pixel one frame before. a and b centre each row on its most
    frequent value and give that bin slope 1, so a pixel that does the usual costs a network nothing to know.
    All z map back inside (0, 256): samples cannot leave the range. Computed in float64.

    Gaussianising pixels is the marginal step of Chen & Gopinath 2000; tempering keeps rare values wide.
    """

    probability: Tensor

    def __init__(self, channels: int, rows: int = 1) -> None:
        super().__init__()
        self.register_buffer("probability", torch.full((channels, rows, LEVELS), 1 / LEVELS))

    @torch.no_grad()
    def fit(self, counts: Tensor, temper: float = 0.25, floor: float = 0.01, tail: float = 0.0) -> None:
        """Set F from ``counts`` (C, rows, 256): p ∝ counts^temper, with ``floor`` of uniform mixed in.

        ``tail`` adds to each value that share of the mass beyond it, on its smaller side. A bin's width in z
        is its mass over about the mass beyond: so none is too narrow for float32, however rare its value.
        """
        weight = counts.double().pow(temper) * (counts > 0)
        mass = weight.sum(-1, keepdim=True)
        known = torch.where(mass > 0, weight / mass.clamp_min(1e-300), 1 / LEVELS)
        p = (1 - floor) * known + floor / LEVELS
        below = p.cumsum(-1) - p
        p = p + tail * torch.minimum(below, 1 - below - p).clamp_min(0)
        self.probability.copy_(p / p.sum(-1, keepdim=True))

    def mode(self, context: Context, like: Tensor) -> Tensor:
        """Most frequent value of each pixel's row, shaped like ``like`` (B, C, H, W)."""
        return self.probability.argmax(-1).flatten()[self._rows(context, like)].to(like.dtype)

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        rows, (edges, centre, slope) = self._rows(context, x), self._table()
        bins = x.detach().floor().clamp(0, LEVELS - 1).long()
        index = rows * (LEVELS + 1) + bins
        low = edges.flatten()[index]
        mass = edges.flatten()[index + 1] - low
        probit = torch.special.ndtri((low + mass * (x.double() - bins)).clamp(1e-15, 1 - 1e-15))
        z = (probit - centre.flatten()[rows]) / slope.flatten()[rows]
        density = mass.log() + _minus_log_normal(probit) - slope.log().flatten()[rows]
        return z.to(x.dtype), density.sum(1).to(x.dtype)

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        rows, (edges, centre, slope) = self._rows(context, z), self._table()
        probit = z.double() * slope.flatten()[rows] + centre.flatten()[rows]
        level = torch.special.ndtr(probit)
        bins = _search(edges.flatten(), rows * (LEVELS + 1), level.detach())
        index = rows * (LEVELS + 1) + bins
        low = edges.flatten()[index]
        mass = edges.flatten()[index + 1] - low
        x = bins + ((level - low) / mass).clamp(0, 1 - 1e-7)
        density = mass.log() + _minus_log_normal(probit) - slope.log().flatten()[rows]
        return x.to(z.dtype).clamp_max(LEVELS * (1 - 2.0**-23)), -density.sum(1).to(z.dtype)

    def _rows(self, context: Context, like: Tensor) -> Tensor:
        """Flat row of each pixel: channel · rows + selected row."""
        channels, rows, _ = self.probability.shape
        channel = torch.arange(channels, device=like.device)[:, None, None] * rows
        if rows == 1:
            return channel.expand(like.shape)
        if context is None:
            raise ValueError("this map is conditional: pass the values that select its rows as context")
        return channel + context.long()

    def _table(self) -> tuple[Tensor, Tensor, Tensor]:
        """CDF at the bin edges (C, rows, 257), and each row's centre and slope (C, rows)."""
        p = self.probability.double()
        p = p / p.sum(-1, keepdim=True)
        edges = torch.cat([torch.zeros_like(p[..., :1]), p.cumsum(-1)], -1)
        mass, mode = p.max(-1)
        centre = torch.special.ndtri(edges.gather(-1, mode[..., None])[..., 0] + mass / 2)
        return edges, centre, mass * _minus_log_normal(centre).exp()


def _minus_log_normal(y: Tensor) -> Tensor:
    return 0.5 * y.square() + 0.5 * math.log(2 * math.pi)


def _search(edges: Tensor, start: Tensor, level: Tensor) -> Tensor:
    """Bin 0..255 of each ``level`` in its own row of ``edges``: bisection, eight look-ups."""
    bins = torch.zeros_like(start)
    for step in (128, 64, 32, 16, 8, 4, 2, 1):
        bins = torch.where(edges[start + bins + step] <= level, bins + step, bins)
    return bins.clamp_max(LEVELS - 1)
