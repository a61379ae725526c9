"""HTML of futures: tiles that fill while frames come, then one grid of videos with a single play button."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from ..shared.html import file_url, ghost_items, heat_legend, placeholder, play_bar, png_uri
from .job import Result

GHOST_MAPS = (
    '<div class="vf-maps" aria-hidden="true"><div class="vf-ghost"></div><div class="vf-ghost"></div></div>'
)


def empty() -> str:
    """Placeholder of the results before the first run."""
    ghosts = f'<div class="vf-panes"><ol class="vf-grid">{ghost_items(8)}</ol>{GHOST_MAPS}</div>'
    text = "Choose an example, or add a few frames and press Predict."
    return placeholder(ghosts, "Your futures appear here.", text)


def partial_grid(given: np.ndarray, futures: np.ndarray, num_frames: int) -> str:
    """Tiles with the newest frame of each future; before the first, the last given frame, dimmed.

    Args:
        given: uint8 (n, H, W, C).
        futures: so far, uint8 (N, t, H, W, C); t may be 0.
        num_frames: frames to come in all.
    """
    done = futures.shape[1]
    state = "" if done else " vf-waiting"
    progress = f"frame {done} of {num_frames}" if done else "not begun"
    tiles = "".join(
        f'<li class="vf-tile{state}"><img src="{png_uri(future[-1] if done else given[-1])}"'
        f' alt="Future {number}, {progress}"><div class="vf-caption"><span>Future {number}</span></div></li>'
        for number, future in enumerate(futures, 1)
    )
    return (
        f'<section class="vf-results vf-live"><div class="vf-panes"><ol class="vf-grid">{tiles}</ol>'
        f"{GHOST_MAPS}</div></section>"
    )


def player(result: Result, last: Sequence[np.ndarray]) -> str:
    """The finished grid: futures, their mean and diversity, all driven by one play button and one slider.

    Args:
        result: the files to play.
        last: final frame of each future, then of the mean, uint8 (H, W, C): shown until a video plays.
    """
    total = result.given + result.frames
    tiles = "".join(_tile(result, index, frame) for index, frame in enumerate(last[:-1]))
    bar = play_bar(total, 1, play="Play all futures", slider="Frame shown in all futures")
    return (
        f'<section class="vf-results vf-player" data-given="{result.given}" data-frames="{total}"'
        f' data-fps="{result.fps:g}" aria-label="Futures">{bar}'
        f'<div class="vf-panes"><ol class="vf-grid">{tiles}</ol>{_maps(result, last[-1])}</div></section>'
    )


def _tile(result: Result, index: int, poster: np.ndarray) -> str:
    number = index + 1
    label = f"Future {number}: {result.frames} predicted frames after {result.given} given"
    return (
        f'<li class="vf-tile">{_video(result.futures[index], poster, label)}'
        f'<div class="vf-caption"><span>Future {number}</span>'
        f'<button type="button" class="vf-continue" data-index="{index}"'
        f' aria-label="Continue from future {number}">Continue</button></div></li>'
    )


def _maps(result: Result, mean_poster: np.ndarray) -> str:
    count = len(result.futures)
    truth = _truth(result, mean_poster)
    if count == 1:
        inner = '<p class="vf-note">Mean and diversity need two or more futures.</p>'
    else:
        label = f"Where {count} futures differ, 0 to {result.diversity_top:.0f} grey levels"
        inner = (
            f"<figure>{_video(result.mean, mean_poster, f'Mean of {count} futures')}"
            "<figcaption>Mean</figcaption></figure>"
            f"<figure>{_video(result.diversity, np.zeros((8, 8, 3), np.uint8), label)}"
            f"<figcaption>Diversity{heat_legend(f'{result.diversity_top:.0f}')}</figcaption></figure>"
        )
    label = "What really happened, mean and diversity" if truth else "Mean and diversity"
    return f'<aside class="vf-maps" aria-label="{label}">{truth}{inner}</aside>'


def _truth(result: Result, poster: np.ndarray) -> str:
    """The clip as it really went on, and the future that came closest; empty where nothing is known of it."""
    comparison = result.comparison
    if comparison is None:
        return ""
    number = comparison.closest + 1
    closest = f"Future {number}, the closest to what really happened"
    return (
        f'<figure class="vf-truth">{_video(result.truth, poster, "What really happened")}'
        "<figcaption>What really happened</figcaption></figure>"
        f'<figure class="vf-closest">{_video(result.futures[comparison.closest], poster, closest)}'
        f"<figcaption><span>Closest: future {number}</span><span>{comparison.psnr:.1f} dB</span></figcaption>"
        "</figure>"
    )


def _video(path: Path, poster: np.ndarray, label: str) -> str:
    return (
        f'<video muted loop playsinline preload="auto" disablepictureinpicture aria-label="{escape(label)}"'
        f' poster="{png_uri(poster)}" src="{file_url(path)}"></video>'
    )
