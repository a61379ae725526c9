"""HTML of a clip's surprisal: findings, the curve over frames, a frame with its map, all frames, a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from vflow.pipelines.video.export import overlay, top_of
from vflow.pipelines.video.surprisal import Surprisal

from ..shared.html import SHARP, ghost_items, heat_legend, placeholder, play_bar, png_uri

if TYPE_CHECKING:
    from .job import Result

OPACITY = 85  # per cent, of the map over its frame
WIDTH, HEIGHT = 720, 246  # of the curve, in units of the picture
LEFT, RIGHT, TOP, BOTTOM = 58, 10, 30, 40  # its margins
MAX_LABELS = 12  # frames that get a number below the axis, about
_REASONS = ("more bits than usual", "out of order")


def empty() -> str:
    """Placeholder of the results before the first clip."""
    ghosts = (
        '<div class="vf-ghost vf-ghost-curve"></div><div class="vf-pair"><div class="vf-ghost"></div>'
        f'<div class="vf-ghost"></div></div><ol class="vf-frames">{ghost_items(10)}</ol>'
    )
    text = "Choose an example, or add a video and press Find surprises."
    return placeholder(ghosts, "What surprises the model appears here.", text, "vf-surprise-ghost")


def player(result: Result) -> str:
    """The finished clip, at its most surprising frame."""
    surprisal = result.surprisal
    frames, marked = surprisal.frames, marked_frames(surprisal)
    start, top = int(np.nanargmax(surprisal.per_frame)), top_of(surprisal)
    overlays = overlay(surprisal.excess, top)
    thumbnails = "".join(_thumbnail(surprisal, t, overlays[t], t in marked) for t in range(len(frames)))
    sharp = " vf-sharp" if max(frames.shape[1:3]) <= SHARP else ""
    bar = play_bar(len(frames), start + 1, play="Play the clip", slider="Frame shown")
    return (
        f'<section class="vf-results vf-surprise{sharp}" aria-label="Surprise"'
        f' data-key="{result.folder.name}" data-start="{start}" data-fps="{result.fps:g}"'
        f' style="--aspect: {frames.shape[2] / frames.shape[1]:.4f}; --strength: {OPACITY / 100}">'
        f'{_findings(surprisal)}<div class="vf-chart">{curve(surprisal, marked)}{_key(surprisal, marked)}'
        f"</div>{bar}{_pair(surprisal, start, overlays[start], top)}"
        f'<ol class="vf-frames" aria-label="All frames">{thumbnails}</ol>'
        f"{_table(surprisal)}</section>"
    )


def marked_frames(surprisal: Surprisal) -> tuple[int, ...]:
    """Frames that stand out: beyond the quantile, or out of order."""
    return tuple(sorted({*surprisal.flagged, *(surprisal.out_of_order or ())[:2]}))


def _findings(surprisal: Surprisal) -> str:
    """Frames that stand out, in words."""
    percent = f"{100 * surprisal.quantile:g}%"
    findings = []
    if surprisal.statistics is None:
        findings.append("Nothing can be flagged: this checkpoint comes without figures of validation clips.")
    if surprisal.out_of_order:
        first, second, saved = surprisal.out_of_order
        findings.append(
            f"<strong>Frames {first + 1} and {second + 1} look swapped:</strong> putting them back would "
            f"save {saved:,.0f} bits."
        )
    if surprisal.flagged:
        frames = "frame" if len(surprisal.flagged) == 1 else "frames"
        which = f"{frames} {_listed([t + 1 for t in surprisal.flagged])}"
        if len(surprisal.flagged) == len(surprisal.frames) - surprisal.first:
            which = "every frame"
        findings.append(f"The model finds {which} surprising: more so than {percent} of validation frames.")
    if not findings:
        findings.append(
            f"Nothing stands out: no frame is more surprising than {percent} of validation frames, "
            "and the order fits."
        )
    return f'<div class="vf-findings">{"".join(f"<p>{text}</p>" for text in findings)}</div>'


def _listed(numbers: Sequence[int]) -> str:
    *head, last = map(str, numbers)
    return f"{', '.join(head)} and {last}" if head else last


def _key(surprisal: Surprisal, marked: Sequence[int]) -> str:
    """Legend of the curve's lines and marks."""
    parts = ['<span><i class="vf-k-line"></i>surprise of a frame, in bits per dimension</span>']
    if reasons := [reason for reason in _REASONS if any(reason in _reasons(surprisal, t) for t in marked)]:
        parts.append(f'<span><i class="vf-k-flag"></i>{" or ".join(reasons)}</span>')
    if surprisal.statistics is not None:
        low, high = (f"{100 * q:.3g}" for q in (1 - surprisal.quantile, surprisal.quantile))
        parts.append('<span><i class="vf-k-mean"></i>mean of validation frames</span>')
        parts.append(f'<span><i class="vf-k-band"></i>{low} to {high}% of validation frames</span>')
    return f'<p class="vf-keys-of">{"".join(parts)}</p>'


def _pair(surprisal: Surprisal, start: int, start_overlay: np.ndarray, top: float) -> str:
    """The frame, and the frame in grey under its map."""
    frame = png_uri(surprisal.frames[start])
    above = "" if surprisal.statistics is None else " above the mean of validation frames"
    return (
        '<div class="vf-pair"><figure><div class="vf-screen">'
        f'<img class="vf-frame" src="{frame}" alt="Frame {start + 1}"></div>'
        "<figcaption>Frame</figcaption></figure><figure>"
        f'<div class="vf-screen vf-under"><img class="vf-frame" src="{frame}" alt="">'
        f'<img class="vf-overlay" src="{png_uri(start_overlay)}" alt="Map of frame {start + 1}"></div>'
        f"<figcaption>Surprise{above}{heat_legend(f'{top:g} bits per pixel')}</figcaption></figure></div>"
        '<label class="vf-strength"><span>Opacity of the map, in %</span>'
        f'<input type="range" min="0" max="100" step="5" value="{OPACITY}"></label>'
    )


def _thumbnail(surprisal: Surprisal, t: int, frame_overlay: np.ndarray, marked: bool) -> str:
    bits = surprisal.per_frame[t]
    figure = f"{bits:.3f} bits/dim" if math.isfinite(bits) else "given, not scored"
    flag = "".join(f", {reason}" for reason in _reasons(surprisal, t))
    mark = '<b class="vf-odd" aria-hidden="true"></b>' if marked else ""
    return (
        f'<li><button type="button" class="vf-shot{" vf-marked" if marked else ""}"'
        f' data-at="{figure}" aria-label="Frame {t + 1}: {figure}{flag}"><span class="vf-screen vf-under">'
        f'<img class="vf-frame" src="{png_uri(surprisal.frames[t])}" alt="">'
        f'<img class="vf-overlay" src="{png_uri(frame_overlay)}" alt=""></span>'
        f'<span class="vf-number">{t + 1}{mark}</span></button></li>'
    )


def _table(surprisal: Surprisal) -> str:
    """The curve's figures, for those who do not see it."""
    rows = "".join(
        f'<tr><th scope="row">{t + 1}</th><td>{f"{bits:.4f}" if math.isfinite(bits) else "given"}</td>'
        f"<td>{', '.join(_reasons(surprisal, t))}</td></tr>"
        for t, bits in enumerate(surprisal.per_frame)
    )
    return (
        '<details class="vf-figures"><summary>Figures of each frame</summary><div tabindex="0" role="group"'
        ' aria-label="Table of figures"><table><thead><tr><th scope="col">Frame</th>'
        '<th scope="col">Surprise, bits/dim</th><th scope="col">Flagged because</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _reasons(surprisal: Surprisal, t: int) -> list[str]:
    """Reasons that a frame is marked for; none where it is not."""
    usual, in_order = t not in surprisal.flagged, t not in (surprisal.out_of_order or ())[:2]
    return [reason for reason, holds in zip(_REASONS, (usual, in_order), strict=True) if not holds]


def curve(surprisal: Surprisal, marked: Sequence[int]) -> str:
    """Bits/dim of each frame, counted from 1, over those of validation frames, as inline SVG.

    Frames in ``marked`` stand out by form and number. The page's script moves a line along with the frame
    that is shown.
    """
    scale = _Scale(surprisal)
    points = [(t, float(bits)) for t, bits in enumerate(surprisal.per_frame) if math.isfinite(bits)]
    path = " ".join(f"{scale.x(t):.1f},{scale.y(bits):.1f}" for t, bits in points)
    dots = "".join(_dot(scale, t, bits, t in marked) for t, bits in points)
    cursor = (
        f'<line class="vf-cursor" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"'
        f' data-reach="{scale.x(len(surprisal.frames) - 1) - LEFT:.1f}"/>'
    )
    return (
        f'<svg class="vf-curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="vf-curve-title'
        f' vf-curve-desc"><title id="vf-curve-title">Surprise of each frame, in bits per dimension</title>'
        f'<desc id="vf-curve-desc">{escape(_description(surprisal, marked))}</desc>'
        f"{_validation(surprisal, scale)}{_axes(surprisal, scale)}{cursor}"
        f'<polyline class="vf-line" points="{path}"/>{dots}</svg>'
    )


def _description(surprisal: Surprisal, marked: Sequence[int]) -> str:
    """The curve in words."""
    known = surprisal.per_frame[surprisal.first :]
    text = f"From {known.min():.3f} to {known.max():.3f} bits per dimension over {len(known)} frames."
    if surprisal.statistics is not None:
        mean, limit = surprisal.statistics.mean, surprisal.threshold
        text += f" Validation frames: mean {mean:.3f}, limit {limit:.3f}."
    if marked:
        text += f" Marked: {', '.join(str(t + 1) for t in marked)}."
    return text


class _Scale:
    """Places in the picture, from frames and bits/dim."""

    def __init__(self, surprisal: Surprisal) -> None:
        known = surprisal.per_frame[surprisal.first :]
        ends = [0.0, float(known.min()), float(known.max())]
        if surprisal.statistics is not None:
            ends += [surprisal.statistics.mean, float(surprisal.threshold or 0)]
        span = max(ends) - min(ends) or 1.0
        self.step = _round_up(span / 4)
        self.low = math.floor(min(ends) / self.step) * self.step
        self.high = max(ends) + 0.08 * span
        self.last = max(1, len(surprisal.frames) - 1)

    def x(self, frame: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * frame / self.last

    def y(self, bits: float) -> float:
        inside = (bits - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(1.0, max(0.0, inside))

    def ticks(self) -> list[float]:
        count = int((self.high - self.low) / self.step) + 1
        return [self.low + self.step * index for index in range(count)]


def _round_up(step: float) -> float:
    """The next of 1, 2, 5 × 10^k."""
    unit = 10.0 ** math.floor(math.log10(step))
    return next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= step - 1e-12)


def _dot(scale: _Scale, t: int, bits: float, marked: bool) -> str:
    x, y = scale.x(t), scale.y(bits)
    if not marked:
        return f'<circle class="vf-dot" cx="{x:.1f}" cy="{y:.1f}" r="3.4"/>'
    return f'<path class="vf-flag" d="M{x:.1f} {y - 8:.1f}l8 8l-8 8l-8-8z"/>'


def _validation(surprisal: Surprisal, scale: _Scale) -> str:
    """A band from a low to a high quantile of validation frames, and their mean as a broken line."""
    if surprisal.statistics is None or surprisal.threshold is None:
        return ""
    top = scale.y(surprisal.threshold)
    bottom = scale.y(surprisal.statistics.frame_quantile(1 - surprisal.quantile))
    mean = scale.y(surprisal.statistics.mean)
    return (
        f'<rect class="vf-band" x="{LEFT}" y="{top:.1f}" width="{WIDTH - LEFT - RIGHT}"'
        f' height="{max(1.0, bottom - top):.1f}"/>'
        f'<line class="vf-limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top:.1f}" y2="{top:.1f}"/>'
        f'<line class="vf-mean" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{mean:.1f}" y2="{mean:.1f}"/>'
    )


def _axes(surprisal: Surprisal, scale: _Scale) -> str:
    digits = max(0, -math.floor(math.log10(scale.step)))
    rows = "".join(
        f'<text class="vf-tick" x="{LEFT - 8}" y="{scale.y(tick) + 4:.1f}" text-anchor="end">'
        f'{tick:.{digits}f}</text><line class="vf-rule" x1="{LEFT}" x2="{WIDTH - RIGHT}"'
        f' y1="{scale.y(tick):.1f}" y2="{scale.y(tick):.1f}"/>'
        for tick in scale.ticks()
    )
    every = max(1, math.ceil(len(surprisal.frames) / MAX_LABELS))
    columns = "".join(
        f'<text class="vf-tick" x="{scale.x(t):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">'
        f"{t + 1}</text>"
        for t in range(0, len(surprisal.frames), every)
    )
    units = (
        f'<text class="vf-tick" x="0" y="12">bits/dim</text><text class="vf-tick" x="{WIDTH - RIGHT}"'
        f' y="{HEIGHT - 3}" text-anchor="end">frame</text>'
    )
    return rows + columns + units
