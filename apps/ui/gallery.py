"""HTML of results: tiles that fill while frames come, then one grid of videos with a single play/pause."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from vflow.data import media
from vflow.pipelines.video.export import heat_ramp

from .runs import Run


def png_uri(frame: np.ndarray) -> str:
    """``data:`` address of a frame, uint8 (H, W, C): shown without any file being served."""
    return "data:image/png;base64," + base64.b64encode(media.encode_png(frame)).decode()


def file_url(path: Path) -> str:
    """Address of a file in the app's own cache, relative to the page so that it works behind a proxy."""
    return f"gradio_api/file={escape(str(path), quote=True)}"


def empty() -> str:
    """What stands in the results' place before the first run."""
    ghosts = '<li class="vf-ghost"></li>' * 8
    return (
        f'<section class="vf-results vf-empty"><div class="vf-panes" aria-hidden="true">'
        f'<ol class="vf-grid">{ghosts}</ol>{_ghost_maps()}</div>'
        '<p class="vf-hint"><strong>Your futures appear here.</strong>'
        "<span>Choose an example, or add a few frames and press Predict.</span></p></section>"
    )


def live(given: np.ndarray, so_far: np.ndarray, num_frames: int) -> str:
    """Tiles with the newest frame of each future; before the first, the last given frame, dimmed.

    Args:
        given: uint8 (n, H, W, C).
        so_far: uint8 (N, t, H, W, C); t may be 0.
        num_frames: frames to come in all.
    """
    done = so_far.shape[1]
    tiles = []
    for index, future in enumerate(so_far):
        frame = future[-1] if done else given[-1]
        alt = (
            f"Future {index + 1}, frame {done} of {num_frames}" if done else f"Future {index + 1}, not begun"
        )
        state = "" if done else " vf-waiting"
        tiles.append(
            f'<li class="vf-tile{state}"><img src="{png_uri(frame)}" alt="{alt}">'
            f'<div class="vf-caption"><span>Future {index + 1}</span></div></li>'
        )
    return (
        f'<section class="vf-results vf-live"><div class="vf-panes"><ol class="vf-grid">{"".join(tiles)}</ol>'
        f"{_ghost_maps()}</div></section>"
    )


def player(run: Run, last: Sequence[np.ndarray]) -> str:
    """The finished grid: futures, their mean and diversity, all driven by one play/pause and one slider.

    Args:
        run: the files to play.
        last: final frame of each future, then of the mean, uint8 (H, W, C): shown until a video plays.
    """
    total = run.given + run.frames
    tiles = "".join(_tile(run, index, frame) for index, frame in enumerate(last[:-1]))
    return (
        f'<section class="vf-results vf-player" data-given="{run.given}" data-frames="{total}"'
        f' data-fps="{run.fps:g}" aria-label="Futures">{_bar(total)}'
        f'<div class="vf-panes"><ol class="vf-grid">{tiles}</ol>{_maps(run, last[-1])}</div></section>'
    )


def _ghost_maps() -> str:
    ghost = '<div class="vf-ghost"></div>'
    return f'<div class="vf-maps" aria-hidden="true">{ghost}{ghost}</div>'


def _bar(total: int) -> str:
    return (
        '<div class="vf-bar"><button type="button" class="vf-play" aria-label="Pause all futures">'
        '<svg viewBox="0 0 16 16" aria-hidden="true"><path class="vf-i-pause" d="M4 2h3v12H4zM9 2h3v12H9z"/>'
        '<path class="vf-i-play" d="M4 2l10 6-10 6z"/></svg><span>Pause</span></button>'
        f'<input type="range" class="vf-seek" min="1" max="{total}" step="1" value="1"'
        ' aria-label="Frame shown in all futures"><output class="vf-now">given</output></div>'
    )


def _video(path: Path, poster: np.ndarray, label: str) -> str:
    return (
        f'<video muted loop playsinline preload="auto" disablepictureinpicture aria-label="{escape(label)}"'
        f' poster="{png_uri(poster)}" src="{file_url(path)}"></video>'
    )


def _tile(run: Run, index: int, poster: np.ndarray) -> str:
    number = index + 1
    label = f"Future {number}: {run.frames} predicted frames after {run.given} given"
    return (
        f'<li class="vf-tile">{_video(run.futures[index], poster, label)}'
        f'<div class="vf-caption"><span>Future {number}</span>'
        f'<button type="button" class="vf-continue" data-index="{index}"'
        f' aria-label="Continue from future {number}">Continue</button></div></li>'
    )


def _maps(run: Run, mean_poster: np.ndarray) -> str:
    ramp = ", ".join(f"rgb({r} {g} {b})" for r, g, b in heat_ramp(8))
    count = len(run.futures)
    mean = _video(run.mean, mean_poster, f"Mean of {count} futures")
    dark = np.zeros((8, 8, 3), np.uint8)
    spread = _video(
        run.spread, dark, f"Where {count} futures differ, 0 to {run.diversity_top:.0f} grey levels"
    )
    if count == 1:
        return (
            '<aside class="vf-maps" aria-label="Mean and diversity"><p class="vf-note">'
            "Mean and diversity need two or more futures.</p></aside>"
        )
    return (
        '<aside class="vf-maps" aria-label="Mean and diversity">'
        f"<figure>{mean}<figcaption>Mean</figcaption></figure>"
        f"<figure>{spread}<figcaption>Diversity<span class='vf-legend'><span>0</span>"
        f'<i style="background: linear-gradient(90deg, {ramp})"></i>'
        f"<span>{run.diversity_top:.0f}</span></span></figcaption></figure></aside>"
    )


def progress(done: int, total: int, text: str, label: str = "Frames predicted") -> str:
    """Progress bar, named ``label``, with a line of text; ``text`` is escaped here."""
    share = 100 * done / max(1, total)
    return (
        f'<div class="vf-status"><div class="vf-progress" role="progressbar" aria-label="{label}"'
        f' aria-valuemin="0" aria-valuemax="{total}" aria-valuenow="{done}">'
        f'<i style="width: {share:.1f}%"></i></div><p>{escape(text)}</p></div>'
    )


def message(text: str, kind: str = "info", notes: Sequence[str] = ()) -> str:
    """A line of status and remarks below, all escaped here; ``kind`` is info, done or error."""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    remarks = f"<ul>{items}</ul>" if items else ""
    return f'<div class="vf-status vf-{kind}"><p>{escape(text)}</p>{remarks}</div>'
