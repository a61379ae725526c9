"""Openings: a finished, moving result on each tab before any click."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

from . import examples, html
from .context import AppContext


class Opening(NamedTuple):
    """A film of apps/examples: what it shows, and what to do, each a sentence."""

    tab: str
    shows: str
    action: str


PREDICT = Opening(
    "predict",
    "Eight ways a film could go on after its first three frames. No model here was trained on it.",
    "Choose an example, or add a video of your own.",
)
DIGITS = Opening(
    "digits",
    "All ten digits, drawn eight times: no two alike.",
    "Press Draw for new digits, or draw one below to see your own style.",
)
COLORIZE = Opening(
    "colorize",
    "One grey photo, coloured in eight plausible ways.",
    "Choose an example, or add a photo of your own.",
)
ENLARGE = Opening(
    "enlarge",
    "One small photo, four times as wide: left of the line interpolated (bicubic), right of it drawn.",
    "Choose an example, or add a photo of your own.",
)
WALK = Opening(
    "walk",
    "Eight digits turn from bold to thin together, along the strongest direction of the model's noise.",
    "Press Walk to go along a direction yourself, or upload a start of your own.",
)
SURPRISE = Opening(
    "surprise",
    "Frames 11 and 16 of this clip were swapped: bright is what the model did not expect.",
    "Choose an example, or add a video of your own.",
)
COMPRESS = Opening(
    "compress",
    "A file opens from coarse to fine: a pixel takes few bits where its neighbours predict it.",
    "Choose an example, or add a photo, a video or a .vflow file.",
)
LAB = Opening(
    "lab",
    "A flow learns two moons; then its layers bend the grid of the base into them.",
    "Choose an example, or draw a density of your own.",
)


OPENINGS = {each.tab: each for each in (PREDICT, DIGITS, ENLARGE, SURPRISE, COMPRESS)}
"""Of tabs that are made of a face."""


def opening(app: AppContext, which: Opening) -> str:
    """HTML of an opening; opening.js plays it, unless the person prefers less motion."""
    film = examples.copy_to_cache(examples.FOLDER / f"opening-{which.tab}.mp4", app.cache)
    label = escape(which.shows, quote=True)
    return (
        f'<section class="vf-results vf-opening" aria-label="An example"><p class="vf-lead">'
        f"<strong>{label}</strong> {escape(which.action)}</p>"
        f'<video muted loop playsinline preload="auto" disablepictureinpicture aria-label="{label}"'
        f' src="{html.file_url(film)}"></video>{html.play_button("Play the example")}</section>'
    )
