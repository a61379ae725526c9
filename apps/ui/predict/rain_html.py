"""HTML of rain: the map of chances, members side by side, legends, and the answer about an area."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from vflow.data.rain import DRY_COLOR, RATE_COLORS, UNKNOWN_COLOR, color_rain, least_level
from vflow.errors import counted

from ..shared.html import play_bar, reduced
from . import html
from .html import WAITING, future_tile, video
from .rain_map import overlay

if TYPE_CHECKING:
    from .rain import Answer, RainResult

THRESHOLD = 1.0
"""mm/h, of the map of chances and of questions about areas."""
CHANCE_COLORS = ((0, (248, 248, 246)), (0.5, (164, 132, 205)), (1, (66, 20, 110)))
"""Anchors of the ramp of chances, from pale to deep violet; no colour of rain is among them."""

POSTER = 160  # pixels a side: shown while members are drawn, and until a video plays
ASK = "Drag over a map, or click it, to mark an area; or give it here, in km from the top left."


def live(given: np.ndarray, members: Sequence[np.ndarray], total: int, valid: np.ndarray) -> str:
    """Tiles with the last frame of the members drawn so far; of the others the newest given one, dimmed."""
    waiting = _poster(color_rain(given, valid)), WAITING
    drawn = [(_poster(color_rain(member[-1], valid)), "drawn") for member in members]
    return html.live([*drawn, *[waiting] * (total - len(drawn))], "Member")


def player(
    result: RainResult, last: np.ndarray, mean: np.ndarray, truth: np.ndarray, valid: np.ndarray
) -> str:
    """Chances, mean and truth in large, legends, a form for areas, and all members, under one slider.

    Args:
        last: of the members, uint8 (N, H, W), shown until a video plays; so are ``mean`` and ``truth``.
        valid: bool (H, W), where radars see.
    """
    total = result.given + result.frames
    bar = play_bar(total, 1, play="Play all members", slider="Frame shown in all members")
    members = "".join(
        future_tile(
            index,
            _map(
                video(
                    result.preview(index),
                    _poster(color_rain(member, valid)),
                    f"Member {index + 1}: {counted(result.frames, 'frame')} after {result.given} given",
                )
            ),
            "Member",
        )
        for index, member in enumerate(last)
    )
    shares = np.rint(255 * (last >= least_level(THRESHOLD)).mean(0)).astype(np.uint8)
    count, title = counted(len(last), "member"), f"Chance of {THRESHOLD:g} mm/h or more"
    figures = [
        (video(result.chance, _poster(color_chance(shares, valid)), f"{title}, from {count}"), title),
        (video(result.mean, _poster(color_rain(mean, valid)), f"Mean of {count}"), "Mean of the members"),
    ]
    if result.known:
        poster, happened = _poster(color_rain(truth, valid)), "What really happened"
        figures.append((video(result.truth, poster, happened), happened))
    coast = "" if result.corners is None else overlay(result.corners, result.size)
    maps = "".join(
        f'<figure class="vf-askable">{_map(picture, coast)}<figcaption>{caption}</figcaption></figure>'
        for picture, caption in figures
    )
    height, width = result.size
    return (
        f'<section class="vf-results vf-player vf-rain" data-given="{result.given}" data-frames="{total}"'
        f' data-fps="{result.fps:g}" data-minutes="{result.minutes:g}" data-size="{width},{height}"'
        f' style="--aspect: {width} / {height}" aria-label="Forecast">{bar}'
        f'<div class="vf-rain-maps">{maps}</div>{_legend()}{_form(width, height)}'
        f'<ol class="vf-grid">{members}</ol></section>'
    )


def color_chance(shares: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """RGB uint8 (…, H, W, 3) of chances 0 … 255, uint8 (…, H, W); grey where ``valid`` (H, W) is False."""
    at, steps = [share for share, _ in CHANCE_COLORS], np.linspace(0, 1, 256)
    anchors = np.array([color for _, color in CHANCE_COLORS])
    table = np.stack([np.interp(steps, at, channel) for channel in anchors.T], -1)
    colored: np.ndarray = np.rint(table).astype(np.uint8)[shares]
    if valid is not None:
        colored[..., ~valid, :] = UNKNOWN_COLOR
    return colored


def _map(picture: str, coast: str = "") -> str:
    """A picture of the radar's area, below its coast (SVG), on which an area can be marked."""
    return f'<div class="vf-map">{picture}{coast}<i class="vf-area-mark" aria-hidden="true"></i></div>'


def _legend() -> str:
    """Colours of rain in mm/h, and of chances."""
    colors = [(0.0, DRY_COLOR), *RATE_COLORS]
    rain = "".join(
        f'<li><i style="background: rgb({r} {g} {b})"></i>{rate:g}</li>' for rate, (r, g, b) in colors
    )
    ramp = ", ".join(f"rgb({r} {g} {b}) {100 * at:g}%" for at, (r, g, b) in CHANCE_COLORS)
    return (
        '<div class="vf-legends"><div class="vf-scale"><span id="vf-rain-scale">Rain, mm/h from</span>'
        f'<ol aria-labelledby="vf-rain-scale">{rain}</ol></div>'
        '<span class="vf-legend"><span>Chance 0%</span>'
        f'<i style="background: linear-gradient(90deg, {ramp})"></i><span>100%</span></span></div>'
    )


def _form(width: int, height: int) -> str:
    """Fields for an area by numbers, for those who do not use a pointer."""
    values = (
        ("Left", 0, width - 1, width // 2),
        ("Top", 0, height - 1, height // 2),
        ("Width", 1, width, min(20, width)),
        ("Height", 1, height, min(20, height)),
    )
    fields = "".join(
        f'<label>{name}<input type="number" class="vf-area-{name.lower()}" min="{low}" max="{high}"'
        f' value="{value}"></label>'
        for name, low, high, value in values
    )
    return (
        f'<fieldset class="vf-area"><legend>Will it reach me?</legend><p>{ASK}</p>{fields}'
        '<button type="button" class="vf-small vf-ask">Ask</button></fieldset>'
    )


def answer(found: Answer, minutes: float) -> str:
    """The answer in a sentence, what really happened, and the chance at each lead time as bars."""
    sentence = _sentence(found, minutes)
    if not found.seen:
        return f'<section class="vf-answer" aria-label="Answer"><p>{sentence}</p></section>'
    shares = found.chances if found.now else found.reached
    heading = "Chance that it rains there" if found.now else "Chance that it has reached the area"
    bars = "".join(
        f'<li><span>{lead * minutes:g} min</span><i style="height: {max(2, round(48 * share))}px"></i>'
        f"<b>{share:.0%}</b></li>"
        for lead, share in enumerate(shares, 1)
    )
    return (
        f'<section class="vf-answer" aria-label="Answer"><p><strong>{sentence}</strong>'
        f" {_truth(found, minutes)}</p>"
        f'<p id="vf-answer-bars">{heading}, after</p>'
        f'<ol aria-labelledby="vf-answer-bars">{bars}</ol></section>'
    )


def _sentence(found: Answer, minutes: float) -> str:
    if not found.seen:
        return "No radar sees this area."
    count, span = len(found.first), len(found.chances) * minutes
    where = f"this area of {found.area.width}×{found.area.height} km"
    if found.now:
        return f"It is already raining in {where}: {THRESHOLD:g} mm/h or more in places."
    arrivals = found.first[found.first >= 0]
    reaches = f"{THRESHOLD:g} mm/h or more reaches {where} within {span:g} minutes in"
    members = counted(count, "member")
    if not len(arrivals):
        return f"{reaches} none of {members}."
    quantiles = np.quantile(arrivals, (0.1, 0.5, 0.9), method="nearest")
    low, middle, high = ((int(index) + 1) * minutes for index in quantiles)
    when = f"mostly after {low:g} to {high:g} minutes, half of them by {middle:g}"
    if low == high:
        when = f"after {middle:g} minutes"
    return f"{reaches} {len(arrivals)} of {members} ({len(arrivals) / count:.0%}), {when}."


def _truth(found: Answer, minutes: float) -> str:
    if found.truth is None or found.now:
        return ""
    if found.truth < 0:
        return f"In reality it did not arrive in the {found.known * minutes:g} minutes observed."
    return f"In reality it arrived after {(found.truth + 1) * minutes:g} minutes."


def _poster(picture: np.ndarray) -> np.ndarray:
    return reduced(picture[None], POSTER)[0]


def failed(text: str) -> str:
    """An error in the place of the answer."""
    return f'<p class="vf-answer vf-bad">{escape(text)}</p>'
