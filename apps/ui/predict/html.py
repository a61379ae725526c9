"""HTML of futures: tiles that fill while frames come, then one grid of videos with a single play button."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..shared.html import file_url, ghost_items, heat_legend, placeholder, play_bar, png_uri

if TYPE_CHECKING:
    from .job import Result

WAITING = "not begun"
GHOST_MAPS = (
    '<div class="vf-maps" aria-hidden="true"><div class="vf-ghost"></div><div class="vf-ghost"></div></div>'
)


def empty() -> str:
    """Placeholder of the results before the first run."""
    ghosts = f'<div class="vf-panes"><ol class="vf-grid">{ghost_items(8)}</ol>{GHOST_MAPS}</div>'
    text = "Choose an example, or add a few frames and press Predict."
    return placeholder(ghosts, "Your futures appear here.", text)


def live(futures: Sequence[tuple[np.ndarray, str]], name: str = "Future") -> str:
    """Tiles of futures that are being drawn: a picture, uint8 (H, W, C), of each, and how far it is.

    Those that wait are dimmed.

    Args:
        name: what one is called.
    """
    tiles = "".join(
        f'<li class="vf-tile{" vf-waiting" if state == WAITING else ""}"><img src="{png_uri(picture)}"'
        f' alt="{name} {number}, {state}"><div class="vf-caption"><span>{name} {number}</span></div></li>'
        for number, (picture, state) in enumerate(futures, 1)
    )
    return (
        f'<section class="vf-results vf-live"><div class="vf-panes"><ol class="vf-grid">{tiles}</ol>'
        f"{GHOST_MAPS}</div></section>"
    )


def player(result: Result, last: np.ndarray, mean: np.ndarray, truth: np.ndarray) -> str:
    """The finished grid: futures, their mean and diversity, all driven by one play button and one slider.

    Args:
        last: of the futures, uint8 (N, H, W, C), shown until a video plays; so are ``mean`` and ``truth``.
    """
    total = result.given + result.frames
    tiles = "".join(_tile(result, index, frame) for index, frame in enumerate(last))
    maps = _maps(result, last, mean, truth)
    bar = play_bar(total, 1, play="Play all futures", slider="Frame shown in all futures")
    return (
        f'<section class="vf-results vf-player" data-given="{result.given}" data-frames="{total}"'
        f' data-fps="{result.fps:g}" aria-label="Futures">{bar}'
        f'<div class="vf-panes"><ol class="vf-grid">{tiles}</ol>{maps}</div></section>'
    )


def _tile(result: Result, index: int, poster: np.ndarray) -> str:
    number = index + 1
    label = f"Future {number}: {result.frames} predicted frames after {result.given} given"
    return future_tile(
        index,
        f'<button type="button" class="vf-enlarge" aria-label="Enlarge future {number}">'
        f"{video(result.preview(index), poster, label)}</button>",
    )


def future_tile(index: int, picture: str, name: str = "Future") -> str:
    """A future, called ``name`` (HTML of its video), and the button to go on from it."""
    number = index + 1
    return (
        f'<li class="vf-tile">{picture}<div class="vf-caption"><span>{name} {number}</span>'
        f'<button type="button" class="vf-continue" data-index="{index}"'
        f' aria-label="Continue from {name.lower()} {number}">Continue</button></div></li>'
    )


def _maps(result: Result, last: np.ndarray, mean: np.ndarray, real: np.ndarray) -> str:
    count = len(last)
    truth = _truth(result, last, real)
    if count == 1:
        inner = '<p class="vf-note">Mean and differences need two or more futures.</p>'
    else:
        top = f"{result.diversity_top:.0f} grey levels"
        label, legend = f"Where {count} futures differ, 0 to {top}", heat_legend(top)
        inner = (
            f"<figure>{video(result.mean, mean, f'Mean of {count} futures')}"
            "<figcaption>Mean</figcaption></figure>"
            f"<figure>{video(result.diversity, np.zeros((8, 8, 3), np.uint8), label)}"
            f"<figcaption>Where they differ{legend}</figcaption></figure>"
        )
    label = "What really happened, mean and differences" if truth else "Mean and differences"
    return f'<aside class="vf-maps" aria-label="{label}">{truth}{inner}</aside>'


def _truth(result: Result, last: np.ndarray, real: np.ndarray) -> str:
    """The clip as it really went on, and the future that came closest; empty where nothing is known of it."""
    comparison = result.comparison
    if comparison is None:
        return ""
    number, picture = comparison.closest + 1, last[comparison.closest]
    closest = f"Future {number}, the closest to what really happened"
    return (
        f'<figure class="vf-truth">{video(result.truth, real, "What really happened")}'
        "<figcaption>What really happened</figcaption></figure>"
        f'<figure class="vf-closest">{video(result.preview(comparison.closest), picture, closest)}'
        f"<figcaption><span>Closest: future {number}</span>"
        f"<span>PSNR {comparison.psnr:.1f} dB</span></figcaption>"
        "</figure>"
    )


def video(path: Path, poster: np.ndarray, label: str) -> str:
    """A video of the app's cache that the page's script plays, under ``poster``, uint8 (H, W, C)."""
    return (
        f'<video muted loop playsinline preload="auto" disablepictureinpicture aria-label="{escape(label)}"'
        f' poster="{png_uri(poster)}" src="{file_url(path)}"></video>'
    )
