"""The curve of a clip's bits/dim per frame as inline SVG, over what validation frames cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from vflow.pipelines.video.surprisal import Surprisal

WIDTH, HEIGHT = 720, 230
LEFT, RIGHT, TOP, BOTTOM = 58, 10, 14, 40
LABELLED = 12  # frames that get a number below the axis, about


def curve(found: Surprisal, marked: Sequence[int]) -> str:
    """Bits/dim of each frame, counted from 1; frames in ``marked`` stand out by form and number.

    The page's script moves a line along with the frame that is shown.
    """
    scale = _Scale(found)
    points = [(t, float(bits)) for t, bits in enumerate(found.per_frame) if math.isfinite(bits)]
    path = " ".join(f"{scale.x(t):.1f},{scale.y(bits):.1f}" for t, bits in points)
    dots = "".join(_dot(scale, t, bits, t in marked) for t, bits in points)
    cursor = (
        f'<line class="vf-cursor" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"'
        f' data-reach="{scale.x(len(found.frames) - 1) - LEFT:.1f}"/>'
    )
    return (
        f'<svg class="vf-curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="vf-curve-title'
        f' vf-curve-desc"><title id="vf-curve-title">Bits per dimension of each frame</title>'
        f'<desc id="vf-curve-desc">{escape(described(found, marked))}</desc>{_statistics(found, scale)}'
        f'{_axes(found, scale)}{cursor}<polyline class="vf-line" points="{path}"/>{dots}</svg>'
    )


def described(found: Surprisal, marked: Sequence[int]) -> str:
    """The curve in words."""
    known = found.per_frame[found.first :]
    text = f"From {known.min():.3f} to {known.max():.3f} bits per dimension over {len(known)} frames."
    if found.statistics is not None:
        text += f" Validation frames: mean {found.statistics.mean:.3f}, limit {found.threshold:.3f}."
    if marked:
        text += f" Marked: {', '.join(str(t + 1) for t in marked)}."
    return text


class _Scale:
    """From frames and bits/dim to places in the picture."""

    def __init__(self, found: Surprisal) -> None:
        known = found.per_frame[found.first :]
        ends = [0.0, float(known.min()), float(known.max())]
        if found.statistics is not None:
            ends += [found.statistics.mean, float(found.threshold or 0)]
        span = max(ends) - min(ends) or 1.0
        self.step = _nice(span / 4)
        self.low = math.floor(min(ends) / self.step) * self.step
        self.high = max(ends) + 0.08 * span
        self.last = max(1, len(found.frames) - 1)

    def x(self, frame: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * frame / self.last

    def y(self, bits: float) -> float:
        inside = (bits - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(1.0, max(0.0, inside))

    def ticks(self) -> list[float]:
        count = int((self.high - self.low) / self.step) + 1
        return [self.low + self.step * index for index in range(count)]


def _nice(step: float) -> float:
    """The next of 1, 2, 5 × 10^k."""
    unit = 10.0 ** math.floor(math.log10(step))
    return next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= step - 1e-12)


def _dot(scale: _Scale, t: int, bits: float, marked: bool) -> str:
    x, y = scale.x(t), scale.y(bits)
    if not marked:
        return f'<circle class="vf-dot" cx="{x:.1f}" cy="{y:.1f}" r="3.4"/>'
    return f'<path class="vf-flag" d="M{x:.1f} {y - 8:.1f}l8 8l-8 8l-8-8z"/>'


def _statistics(found: Surprisal, scale: _Scale) -> str:
    """A band from a low to a high quantile of validation frames, and their mean as a broken line."""
    if found.statistics is None or found.threshold is None:
        return ""
    top = scale.y(found.threshold)
    bottom = scale.y(found.statistics.frame_quantile(1 - found.quantile))
    mean = scale.y(found.statistics.mean)
    return (
        f'<rect class="vf-band" x="{LEFT}" y="{top:.1f}" width="{WIDTH - LEFT - RIGHT}"'
        f' height="{max(1.0, bottom - top):.1f}"/>'
        f'<line class="vf-limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top:.1f}" y2="{top:.1f}"/>'
        f'<line class="vf-mean" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{mean:.1f}" y2="{mean:.1f}"/>'
    )


def _axes(found: Surprisal, scale: _Scale) -> str:
    digits = max(0, -math.floor(math.log10(scale.step)))
    rows = "".join(
        f'<text class="vf-tick" x="{LEFT - 8}" y="{scale.y(tick) + 4:.1f}" text-anchor="end">'
        f'{tick:.{digits}f}</text><line class="vf-rule" x1="{LEFT}" x2="{WIDTH - RIGHT}"'
        f' y1="{scale.y(tick):.1f}" y2="{scale.y(tick):.1f}"/>'
        for tick in scale.ticks()
    )
    every = max(1, math.ceil(len(found.frames) / LABELLED))
    columns = "".join(
        f'<text class="vf-tick" x="{scale.x(t):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">'
        f"{t + 1}</text>"
        for t in range(0, len(found.frames), every)
    )
    return rows + columns
