"""Monotonic rational-quadratic splines on the line, an interval (as it is, or in logits), or the circle."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor
from torch.nn import functional as F

from vflow.bijections.element import Element

MIN_WIDTH = MIN_HEIGHT = MIN_SLOPE = 1e-3
SLOPE_AT_ZERO = math.log(math.expm1(1 - MIN_SLOPE))  # softplus of it, plus the minimum, is 1

EXTRA = {"linear": -1, "free": 1, "circular": 0}  # parameters beside the 3K, by what is at the ends


class Knots(NamedTuple):
    """Knots of one spline per element: edges of the bins in x and z, and slopes, each (…, K + 1)."""

    x: Tensor
    z: Tensor
    slope: Tensor


@final
class RationalQuadraticSpline(Element):
    """Monotonic rational-quadratic spline with K bins (Durkan et al. 2019, *Neural Spline Flows*, 3.1).

    With ξ = (x − x_k) / w the place in bin k of width w, height v, s = v / w and slopes δ_k, δ_{k+1} at its
    ends: z = z_k + v (s ξ² + δ_k ξ(1 − ξ)) / (s + (δ_{k+1} + δ_k − 2s) ξ(1 − ξ)).

    Args:
        bins: K.
        low: lower end of the interval that the spline maps onto itself.
        high: upper end.
        ends: "linear": the identity outside, slopes 1 at both ends (3K − 1 parameters). "free": for data in
            the interval, slopes at the ends are parameters (3K + 1). "circular": for angles, equal slopes at
            both ends, continued so that f(x + period) = f(x) + period (Rezende et al. 2020, section 2.1.2;
            3K parameters).

    Raises:
        ValueError: no such ends, low not below high, no bins, or more than fit at their least width.
    """

    def __init__(
        self,
        bins: int = 8,
        low: float = -5.0,
        high: float = 5.0,
        ends: Literal["linear", "free", "circular"] = "linear",
    ) -> None:
        if ends not in EXTRA:
            raise ValueError(f"ends {ends!r}: one of {', '.join(EXTRA)}")
        if not -math.inf < low < high < math.inf:
            raise ValueError(f"low {low} must be below high {high}, both finite")
        if not 1 <= bins < 1 / MIN_WIDTH:
            raise ValueError(f"bins {bins}: from 1 to {math.ceil(1 / MIN_WIDTH) - 1}")
        self.bins, self.low, self.high, self.ends = bins, low, high, ends
        self.count = 3 * bins + EXTRA[ends]

    def knots(self, h: Tensor) -> Knots:
        """Knots of the splines with parameters h (…, count)."""
        width, height, slope = h.split([self.bins, self.bins, self.count - 2 * self.bins], -1)
        slope = MIN_SLOPE + F.softplus(slope + SLOPE_AT_ZERO)
        if self.ends == "linear":
            slope = F.pad(slope, (1, 1), value=1.0)
        elif self.ends == "circular":
            slope = torch.cat([slope, slope[..., :1]], -1)
        return Knots(self._edges(width, MIN_WIDTH), self._edges(height, MIN_HEIGHT), slope)

    def _edges(self, raw: Tensor, minimum: float) -> Tensor:
        size = minimum + (1 - minimum * self.bins) * raw.softmax(-1)
        inner = self.low + (self.high - self.low) * size[..., :-1].cumsum(-1)
        inner = F.pad(inner, (1, 0), value=self.low)
        return F.pad(inner, (0, 1), value=self.high)

    def _fold(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x inside the interval, and what to add to the image."""
        if self.ends == "circular":
            period = self.high - self.low
            turns = period * ((x - self.low) / period).floor()
            return (x - turns).clamp(self.low, self.high), turns
        inside = x.clamp(self.low, self.high)
        return inside, x - inside

    def _outside(self, x: Tensor) -> Tensor:
        return ((x < self.low) | (x > self.high)) & (self.ends != "circular")

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        inside, rest = self._fold(x)
        knots = self.knots(h)
        x_low, width, z_low, height, left, right = _bin(knots, knots.x, inside)
        xi = (inside - x_low) / width
        z, log_slope = _rational_quadratic(xi, height / width, left, right)
        return z_low + height * z + rest, torch.where(self._outside(x), 0.0, log_slope)

    def inverse(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        inside, rest = self._fold(z)
        knots = self.knots(h)
        x_low, width, z_low, height, left, right = _bin(knots, knots.z, inside)
        s = height / width
        y = (inside - z_low) / height
        bend = left + right - 2 * s
        a = s - left + y * bend
        b = left - y * bend
        root = (b.square() + 4 * a * s * y).clamp_min(0).sqrt()
        xi = 2 * s * y / (b + root)  # the stable form of the quadratic's root
        xi = xi.clamp(0, 1)  # which rounding may leave
        log_slope = _rational_quadratic(xi, s, left, right)[1]
        return x_low + width * xi + rest, torch.where(self._outside(z), 0.0, -log_slope)


FAR = 60.0  # logits beyond which a spline of the unit interval is its end's slope, to any float's precision


@final
class LogitSpline(Element):
    """z = logit S(σ(x)), S a rational-quadratic spline of the unit interval: for flows of the unit cube.

    A logit keeps the mass beyond a point on either side. Above 0, S is evaluated from its upper end.

    Args:
        bins: K of S, which has free ends: 3K + 1 parameters.
    """

    def __init__(self, bins: int = 8) -> None:
        self.spline = RationalQuadraticSpline(bins, 0.0, 1.0, "free")
        self.count = self.spline.count

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return self._from_nearer_end(self.spline.forward, x, h)

    def inverse(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return self._from_nearer_end(self.spline.inverse, z, h)

    def _from_nearer_end(
        self, spline: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], x: Tensor, h: Tensor
    ) -> tuple[Tensor, Tensor]:
        """logit of ``spline`` at σ(x) and the log-slope; beyond ±``FAR`` it goes on with slope 1."""
        upper = x > 0
        depth = x.abs()
        near = depth.clamp_max(FAR)
        mass, log_slope = spline(torch.sigmoid(-near), torch.where(upper[..., None], self._mirrored(h), h))
        log_mass, log_rest = mass.log(), torch.log1p(-mass)
        log_slope = log_slope + F.logsigmoid(near) + F.logsigmoid(-near) - log_mass - log_rest
        logit = log_mass - log_rest - (depth - near)
        return torch.where(upper, -logit, logit), log_slope

    def _mirrored(self, h: Tensor) -> Tensor:
        """Parameters of 1 − S(1 − u)."""
        bins = self.spline.bins
        return torch.cat([part.flip(-1) for part in h.split([bins, bins, bins + 1], -1)], -1)


def _bin(knots: Knots, edges: Tensor, value: Tensor) -> tuple[Tensor, ...]:
    """Lower x, width, lower z, height, and the slopes at both ends of each value's bin, shaped like value."""
    bins = edges.shape[-1] - 1
    index = (value[..., None] >= edges[..., 1:-1]).sum(-1, keepdim=True)
    pair = torch.cat([index, index + 1], -1)
    x, z, slope = (table.expand(*value.shape, bins + 1).gather(-1, pair) for table in knots)
    return x[..., 0], x[..., 1] - x[..., 0], z[..., 0], z[..., 1] - z[..., 0], slope[..., 0], slope[..., 1]


def _rational_quadratic(xi: Tensor, s: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Share of the bin's height at ξ, and the log of the slope there (equations 4 and 5)."""
    mixed = xi * (1 - xi)
    denominator = s + (left + right - 2 * s) * mixed
    z = (s * xi.square() + left * mixed) / denominator
    slope = right * xi.square() + 2 * s * mixed + left * (1 - xi).square()
    return z, 2 * s.log() + slope.log() - 2 * denominator.log()
