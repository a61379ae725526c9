"""HTML of a clip's surprise: what stands out, the curve, one frame with its map, all frames, a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from vflow.pipelines.video.export import heat_ramp, overlay, top_of
from vflow.pipelines.video.surprisal import Surprisal

from .gallery import png_uri
from .surprise_curve import curve
from .walk_view import PLAY

GHOSTS = 10
STRENGTH = 85  # per cent, of the map over its frame


def empty() -> str:
    """What stands in the results' place before the first clip."""
    ghosts = '<li class="vf-ghost"></li>' * GHOSTS
    return (
        '<section class="vf-results vf-empty vf-surprise-ghost"><div aria-hidden="true">'
        '<div class="vf-ghost vf-ghost-curve"></div><div class="vf-pair"><div class="vf-ghost"></div>'
        f'<div class="vf-ghost"></div></div><ol class="vf-reel">{ghosts}</ol></div>'
        '<p class="vf-hint"><strong>What surprises the model appears here.</strong>'
        "<span>Choose an example, or add a clip and press Look.</span></p></section>"
    )


def player(found: Surprisal, key: str, fps: float) -> str:
    """The finished clip; ``key`` tells this result from the one before.

    The frame shown at first is the most surprising one.
    """
    marked = marks(found)
    start = int(np.nanargmax(found.per_frame))
    top = top_of(found)
    overlays = overlay(found.excess, top)
    thumbs = "".join(_thumb(found, t, overlays[t], t in marked) for t in range(len(found.frames)))
    sharp = " vf-sharp" if max(found.frames.shape[1:3]) <= 128 else ""
    return (
        f'<section class="vf-results vf-surprise{sharp}" aria-label="Surprise" data-key="{key}"'
        f' data-start="{start}" data-fps="{fps:g}" style="--aspect: '
        f'{found.frames.shape[2] / found.frames.shape[1]:.4f}; --strength: {STRENGTH / 100}">'
        f'{_verdict(found)}<div class="vf-chart">{curve(found, marked)}{_key(found, marked)}</div>'
        f"{_bar(len(found.frames), start)}{_pair(found, start, overlays[start], top)}"
        f'<ol class="vf-reel" aria-label="All frames">{thumbs}</ol>{_table(found, marked)}</section>'
    )


def marks(found: Surprisal) -> tuple[int, ...]:
    """Frames that stand out: beyond the quantile, or out of order."""
    return tuple(sorted({*found.flagged, *(found.out_of_order or ())[:2]}))


def _verdict(found: Surprisal) -> str:
    """What stands out, in words."""
    if found.statistics is None:
        missing = "No figures of validation clips are stored with this checkpoint, so nothing is flagged."
        return f'<div class="vf-verdict"><p>{missing}</p></div>'
    said = []
    if found.out_of_order:
        a, b, saved = found.out_of_order
        said.append(
            f"<strong>Frames {a + 1} and {b + 1} look exchanged:</strong> the other way round the clip costs "
            f"{saved:,.0f} bits less."
        )
    limit = f"{100 * found.quantile:g}% of validation frames"
    if found.flagged:
        numbers = _listed([t + 1 for t in found.flagged])
        many = "Frame" if len(found.flagged) == 1 else "Frames"
        costs = "costs" if len(found.flagged) == 1 else "cost"
        said.append(f"{many} {numbers} {costs} more bits than {limit}.")
    if not said:
        said = [f"Nothing stands out: no frame costs more bits than {limit} do, and the order fits."]
    return f'<div class="vf-verdict">{"".join(f"<p>{text}</p>" for text in said)}</div>'


def _listed(numbers: Sequence[int]) -> str:
    shown = [str(number) for number in numbers]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _key(found: Surprisal, marked: Sequence[int]) -> str:
    """What the lines and marks of the curve are."""
    parts = ['<span><i class="vf-k-line"></i>bits/dim of a frame</span>']
    if marked:
        parts.append('<span><i class="vf-k-flag"></i>flagged</span>')
    if found.statistics is not None:
        low, high = (f"{100 * q:.3g}" for q in (1 - found.quantile, found.quantile))
        parts.append('<span><i class="vf-k-mean"></i>validation mean</span>')
        parts.append(f'<span><i class="vf-k-band"></i>validation, {low} to {high}%</span>')
    return f'<p class="vf-keys-of">{"".join(parts)}</p>'


def _bar(count: int, start: int) -> str:
    return (
        '<div class="vf-bar"><button type="button" class="vf-play" aria-label="Play the clip">'
        f'{PLAY}</button><input type="range" class="vf-seek" min="1" max="{count}" step="1"'
        f' value="{start + 1}" aria-label="Frame shown"><output class="vf-now"></output></div>'
    )


def _pair(found: Surprisal, start: int, overlay: np.ndarray, top: float) -> str:
    """The frame, and the frame in grey under its map."""
    frame = png_uri(found.frames[start])
    ramp = ", ".join(f"rgb({r} {g} {b})" for r, g, b in heat_ramp(8))
    above = "" if found.statistics is None else " above the validation mean"
    return (
        '<div class="vf-pair"><figure><div class="vf-screen">'
        f'<img class="vf-frame" src="{frame}" alt="Frame {start + 1}"></div>'
        "<figcaption>Frame</figcaption></figure><figure>"
        f'<div class="vf-screen vf-under"><img class="vf-frame" src="{frame}" alt="">'
        f'<img class="vf-overlay" src="{png_uri(overlay)}" alt="Map of frame {start + 1}"></div>'
        f"<figcaption>Bits per pixel{above}<span class='vf-legend'><span>0</span>"
        f'<i style="background: linear-gradient(90deg, {ramp})"></i><span>{top:g}</span></span>'
        '</figcaption></figure></div><label class="vf-strength"><span>Map over frame</span>'
        f'<input type="range" min="0" max="100" step="5" value="{STRENGTH}"></label>'
    )


def _thumb(found: Surprisal, t: int, overlay: np.ndarray, marked: bool) -> str:
    bits = found.per_frame[t]
    figure = f"{bits:.3f} bits/dim" if math.isfinite(bits) else "given, not scored"
    flag = ", flagged" if marked else ""
    mark = '<b class="vf-odd" aria-hidden="true"></b>' if marked else ""
    return (
        f'<li><button type="button" class="vf-shot{" vf-marked" if marked else ""}"'
        f' data-at="{figure}" aria-label="Frame {t + 1}: {figure}{flag}"><span class="vf-screen vf-under">'
        f'<img class="vf-frame" src="{png_uri(found.frames[t])}" alt="">'
        f'<img class="vf-overlay" src="{png_uri(overlay)}" alt=""></span>'
        f'<span class="vf-number">{t + 1}{mark}</span></button></li>'
    )


def _table(found: Surprisal, marked: Sequence[int]) -> str:
    """The curve's figures, for those who do not see it."""
    rows = "".join(
        f'<tr><th scope="row">{t + 1}</th><td>{f"{bits:.4f}" if math.isfinite(bits) else "given"}</td>'
        f"<td>{escape(_reason(found, t))}</td></tr>"
        for t, bits in enumerate(found.per_frame)
    )
    return (
        '<details class="vf-figures"><summary>Figures of each frame</summary><div tabindex="0" role="group"'
        ' aria-label="Table of figures"><table><thead><tr><th scope="col">Frame</th>'
        '<th scope="col">Bits/dim</th><th scope="col">Flagged because</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _reason(found: Surprisal, t: int) -> str:
    reasons = []
    if t in found.flagged:
        reasons.append("more bits than usual")
    if found.out_of_order and t in found.out_of_order[:2]:
        reasons.append("out of order")
    return ", ".join(reasons)
