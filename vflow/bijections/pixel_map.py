"""Elementwise maps from grey levels, values in (0, 256), to the numbers that a flow works on."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from vflow.bijections.actnorm import constant_density
from vflow.bijections.base import Bijection, Context

LEVELS = 256
OUTSIDE = 1e4  # stands for infinity: far beyond any z of a float64 probit


class PixelMap(Bijection, ABC):
    """An elementwise map that may know each pixel's most frequent value."""

    @property
    def grey_levels(self) -> float:
        """Grey levels to one unit of z, where the slope is largest."""
        return 1.0

    def mode(self, context: Context, like: Tensor) -> Tensor | None:
        """Most frequent value of each pixel, shaped like ``like`` (B, C, H, W); None: unknown."""
        return None

    def fit(self, pairs: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Set counted tables, if the map has any, from uint8 images (B, C, H, W) and their references."""
        return


class BinnedMap(PixelMap, ABC):
    """A pixel map under which each whole value takes an interval of z, its bin, whatever its fraction.

    So a density of z gives each image a mass. Images are (B, C, H, W), and bins are numbered from 0.
    """

    @abstractmethod
    def bin_edges(self) -> Tensor:
        """Edges of the bins 0, 1, … of each channel's z, float32 (C or 1, number of bins + 1)."""

    @abstractmethod
    def symbols(self, values: Tensor) -> Tensor:
        """Numbers of the bins of whole values 0 … 255, int64."""

    @abstractmethod
    def values(self, symbols: Tensor) -> Tensor:
        """Inverse of ``symbols``, uint8."""

    @abstractmethod
    def centres_of(self, symbols: Tensor) -> Tensor:
        """z at the centres of bins, float32."""

    @abstractmethod
    def quantize(self, z: Tensor) -> Tensor:
        """Each z at the centre of the bin it lies in."""

    @torch.no_grad()
    def centres(self, values: Tensor) -> Tensor:
        """z of whole values at the centres of their bins, float32."""
        return self.centres_of(self.symbols(values))

    @torch.no_grad()
    def bounds(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """z at both edges of the bins of whole values, float32."""
        symbols, edges = self.symbols(values), self.bin_edges()
        channel = torch.arange(symbols.shape[1], device=symbols.device)[:, None, None] % len(edges)
        return edges[channel, symbols], edges[channel, symbols + 1]

    def separate(self, values: Tensor) -> Tensor:
        """Whole values on the scale of z, each pixel by itself: float32, as a prior sees past frames."""
        return self.centres(values)


@final
class Scaled(PixelMap):
    """z = (x − 128) / unit: bins of width 1/unit, without gaps."""

    def __init__(self, unit: float = float(LEVELS)) -> None:
        super().__init__()
        self.unit = unit

    @property
    def grey_levels(self) -> float:
        return self.unit

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        density = constant_density(x, x.new_tensor(-math.log(self.unit) * x.shape[1]))
        return (x - LEVELS / 2) / self.unit, density

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        density = constant_density(z, z.new_tensor(math.log(self.unit) * z.shape[1]))
        return z * self.unit + LEVELS / 2, density


@final
class HistogramMap(BinnedMap):
    """z = (Φ⁻¹(F(x)) − a) / b with F the piecewise linear CDF of value counts, per channel.

    With ``rows`` = 256 the counts are conditional: ``context`` (B, C, H, W) holds the value that selects the
    row, such as the same pixel one frame before. a and b centre each row on its most frequent value and give
    that bin slope 1, so a network need not learn it. All z map back inside (0, 256): samples cannot leave the
    range. Computed in float64.

    Gaussianising pixels is the marginal step of Chen & Gopinath 2000; an exponent on the counts keeps rare
    values wide.
    """

    probability: Tensor

    def __init__(self, channels: int, rows: int = 1, exponent: float = 0.25) -> None:
        super().__init__()
        self.exponent = exponent
        self.register_buffer("probability", torch.full((channels, rows, LEVELS), 1 / LEVELS))

    @torch.no_grad()
    def fit(self, pairs: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        if self.probability.shape[1] == 1:
            counts = [count_values(images, None) for images, _ in pairs]
            self.set_counts(torch.stack(counts).sum(0), self.exponent)
        else:
            counts = [count_values(images, reference) for images, reference in pairs]
            smoothed = smooth_transitions(torch.stack(counts).sum(0))
            self.set_counts(smoothed, self.exponent, floor=1e-4, tail=2e-3)

    @torch.no_grad()
    def set_counts(
        self, counts: Tensor, exponent: float = 0.25, floor: float = 0.01, tail: float = 0.0
    ) -> None:
        """Set F from ``counts`` (C, rows, 256): p ∝ counts^exponent, with ``floor`` of uniform mixed in.

        ``tail`` adds to each value that share of the mass beyond it, on its smaller side. A bin's width in z
        is its mass over about the mass beyond: so none is too narrow for float32, however rare its value.
        """
        weight = counts.double().pow(exponent) * (counts > 0)
        mass = weight.sum(-1, keepdim=True)
        known = torch.where(mass > 0, weight / mass.clamp_min(1e-300), 1 / LEVELS)
        p = (1 - floor) * known + floor / LEVELS
        below = p.cumsum(-1) - p
        p = p + tail * torch.minimum(below, 1 - below - p).clamp_min(0)
        self.probability.copy_(p / p.sum(-1, keepdim=True))

    def mode(self, context: Context, like: Tensor) -> Tensor:
        return self.probability.argmax(-1).flatten()[self._rows(context, like)].to(like.dtype)

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        rows, (edges, centre, slope) = self._rows(context, x), self._table()
        bins = x.detach().nan_to_num().floor().clamp(0, LEVELS - 1).long()  # of NaN any: z is NaN as well
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

    @torch.no_grad()
    def quantize(self, z: Tensor) -> Tensor:
        """Each z (B, C, H, W) at the centre of the bin it lies in; for maps of one row."""
        channels = zip(z.unbind(1), self._inner_edges().to(z.dtype), strict=True)
        bins = [torch.bucketize(x.contiguous(), b, right=True) for x, b in channels]
        return self.centres_of(torch.stack(bins, 1)).to(z.dtype)

    @torch.no_grad()
    def bin_edges(self) -> Tensor:
        """z at the edges of the bins of 0 … 255, float32 (C, 257); for maps of one row.

        The outer edges, which lie at infinity, are ±``OUTSIDE``.
        """
        return F.pad(F.pad(self._inner_edges(), (1, 0), value=-OUTSIDE), (0, 1), value=OUTSIDE).float()

    def symbols(self, values: Tensor) -> Tensor:
        return values.long()

    def values(self, symbols: Tensor) -> Tensor:
        return symbols.to(torch.uint8)

    @torch.no_grad()
    def centres_of(self, symbols: Tensor) -> Tensor:
        """z at the centres of bins (B, C, H, W), float32; for maps of one row."""
        edges, centre, slope = (table[:, 0] for table in self._table())
        middle = torch.special.ndtri((edges[:, 1:] + edges[:, :-1]) / 2)
        table = ((middle - centre[:, None]) / slope[:, None]).float()
        channels = zip(symbols.unbind(1), table, strict=True)
        return torch.stack([z[x] for x, z in channels], 1)

    def _inner_edges(self) -> Tensor:
        """z at the 255 edges between bins, float64 (C, 255); for maps of one row."""
        edges, centre, slope = (table[:, 0] for table in self._table())
        return (torch.special.ndtri(edges[:, 1:-1]) - centre[:, None]) / slope[:, None]

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


@final
class PerPixelHistogram(PixelMap):
    """A histogram map for each position: for images that are all framed alike, such as digits."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.map = HistogramMap(channels, rows=height * width)

    def _positions(self, like: Tensor) -> Tensor:
        height, width = like.shape[2:]
        return torch.arange(height * width, device=like.device).unflatten(0, (height, width)).expand_as(like)

    def fit(self, pairs: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Set the maps from counts at each position, with a hundredth of the counts of all positions."""
        images = torch.cat([images for images, _ in pairs])
        rows = self._positions(images)
        index = images.long() + LEVELS * rows
        size = LEVELS * images.shape[2] * images.shape[3]
        counts = torch.stack([torch.bincount(v.flatten(), minlength=size) for v in index.unbind(1)])
        counts = counts.unflatten(1, (-1, LEVELS)).double()
        overall = counts.sum(1, keepdim=True) / counts.sum((1, 2), keepdim=True)
        self.map.set_counts(counts + 0.01 * len(images) * overall, exponent=1.0, floor=1e-4, tail=2e-3)

    def mode(self, context: Context, like: Tensor) -> Tensor:
        return self.map.mode(self._positions(like), like)

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return self.map.transform(x, self._positions(x))

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return self.map.invert(z, self._positions(z))


def _minus_log_normal(y: Tensor) -> Tensor:
    return 0.5 * y.square() + 0.5 * math.log(2 * math.pi)


def _search(edges: Tensor, start: Tensor, level: Tensor) -> Tensor:
    """Bin 0..255 of each ``level`` in its own row of ``edges``: bisection, eight look-ups."""
    bins = torch.zeros_like(start)
    for step in (128, 64, 32, 16, 8, 4, 2, 1):
        bins = torch.where(edges[start + bins + step] <= level, bins + step, bins)
    return bins.clamp_max(LEVELS - 1)


def count_values(images: Tensor, reference: Tensor | None) -> Tensor:
    """Value counts of uint8 images (B, C, H, W): (C, 1, 256), or by ``reference`` pixel (C, 256, 256)."""
    rows = 1 if reference is None else LEVELS
    index = images.long() if reference is None else images.long() + LEVELS * reference.long()
    counts = [torch.bincount(values.flatten(), minlength=rows * LEVELS) for values in index.unbind(1)]
    return torch.stack(counts).unflatten(1, (rows, LEVELS))


def smooth_transitions(counts: Tensor) -> Tensor:
    """Transition counts (C, 256, 256), to each row u of which a hundredth is added, and at least 100 counts.

    Half of it is how often pixels anywhere change by v − u, half how often they take the value v. So values
    that occur anywhere stay wide in the map, and those that never occur lie far in the tails, where samples
    seldom go.
    """
    counts = counts.double()
    values = torch.arange(LEVELS)
    change = (values[None] - values[:, None] + LEVELS - 1).flatten().to(counts.device)
    by_change = torch.zeros(len(counts), 2 * LEVELS - 1, dtype=counts.dtype, device=counts.device)
    by_change.index_add_(1, change, counts.flatten(1))
    changes = by_change[:, change].unflatten(1, (LEVELS, LEVELS))
    usual = changes / changes.sum(2, keepdim=True).clamp_min(1e-9)
    anything = counts.sum(1, keepdim=True) / counts.sum((1, 2), keepdim=True).clamp_min(1e-9)
    amount = (0.01 * counts.sum(2, keepdim=True)).clamp_min(100)
    return counts + amount * (0.5 * usual + 0.5 * anything)
