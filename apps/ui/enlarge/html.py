"""HTML of the tab Enlarge: before and after under one slider, cards of the variants."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from ..shared.html import file_url, ghost_items, heat_legend, placeholder, png_uri

if TYPE_CHECKING:
    from .job import Result


def empty(text: str = "Add a photo, or press one of the examples.") -> str:
    """Outlines in the place of variants."""
    ghosts = f'<div class="vf-ghost vf-wide"></div><ol class="vf-grid vf-cards">{ghost_items(4)}</ol>'
    return placeholder(ghosts, "No enlarged photo yet", text, "vf-enlarge-empty")


def uploaded(preview: np.ndarray, name: str, size: tuple[int, ...]) -> str:
    """The photo of ``size`` (height, width), before it is enlarged: a preview of it, uint8 (h, w, 3)."""
    height, width = preview.shape[:2]
    return (
        '<section class="vf-results vf-own-size" aria-label="The photo">'
        f'<img src="{png_uri(preview)}" alt="{escape(name, quote=True)}" width="{width}" height="{height}">'
        f"<p>{size[1]}×{size[0]} pixels, not enlarged yet.</p></section>"
    )


def results(result: Result, chosen: int) -> str:
    """One variant beside bicubic interpolation under a slider, and a card for each variant.

    Args:
        chosen: variant, counted from 0; ``result.count`` is the map of differences.
    """
    items = "".join(_card(picture, index, result, chosen) for index, picture in enumerate(result.cards()))
    lead = "The area where the variants differ most, at full size. Press one to compare it."
    if result.count == 1:
        lead = "A part of it at full size."
    return (
        f'<section class="vf-results" aria-label="Enlarged photo">{_compare(result, chosen)}'
        f'<p class="vf-note vf-lead-in">{lead}</p><ol class="vf-grid vf-cards">{items}</ol></section>'
    )


def _compare(result: Result, chosen: int) -> str:
    """Bicubic interpolation left of the line, a variant or the map of differences right of it.

    The page's script moves the pictures inside a window, in which the line stays.
    """
    width, height = result.size
    name, is_map = escape(result.name, quote=True), chosen == result.count
    after = result.differences if is_map else result.variant(chosen)
    title = "Differences" if is_map else f"Variant {chosen + 1}"
    saved = f"{name}-x{result.scale}-{'differences' if is_map else f'variant-{chosen + 1}'}.png"
    most = f"{result.top:.0f} grey levels"
    if result.interval:
        most = f"±{most}, which hold the truth about nine times in ten"
    legend = heat_legend(most) if is_map else ""
    row, column = result.start
    return (
        f'<figure class="vf-compare vf-enlarged" style="--width: {width}px; --height: {height}px"'
        f' data-photo="{escape(str(result.folder), quote=True)}" data-size="{width},{height}"'
        f' data-start="{column},{row}"><div class="vf-stack" tabindex="0" role="group"'
        ' aria-label="The comparison: drag, or press arrow keys, to move it">'
        f'<img class="vf-after" src="{file_url(after)}" alt="{name}, {title.lower()}" draggable="false">'
        f'<div class="vf-before"><img src="{file_url(result.before)}" alt="{name}, bicubic interpolation"'
        ' draggable="false"></div>'
        '<i class="vf-divider" aria-hidden="true"></i>'
        '<input type="range" class="vf-wipe" min="0" max="100" value="50"'
        ' aria-label="Before and after: share of plain (bicubic) interpolation"></div>'
        '<figcaption><span>Interpolated (bicubic)</span><label class="vf-option">'
        f'<input type="checkbox" class="vf-whole">Whole photo, {width}×{height}</label>{legend}'
        f'<span>{title} <a class="vf-save" href="{file_url(after)}" download="{saved}">Download</a></span>'
        "</figcaption></figure>"
    )


def _card(picture: np.ndarray, index: int, result: Result, chosen: int) -> str:
    name = "Differences" if index == result.count else f"Variant {index + 1}"
    return (
        f'<li class="vf-tile{" vf-chosen" if index == chosen else ""}">'
        f'<button type="button" class="vf-pick" data-action="pick" data-index="{index}"'
        f' aria-label="Compare {name.lower()}" aria-pressed="{str(index == chosen).lower()}">'
        f'<img src="{png_uri(picture)}" alt="{name}"></button>'
        f'<div class="vf-caption"><span>{name}</span></div></li>'
    )
