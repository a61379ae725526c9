"""HTML of a walk: one stage, a slider over its steps, all steps below; and bars of principal directions."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from vflow.pipelines.video.export import heat_ramp

from .gallery import file_url, png_uri
from .walk_files import Film, WalkRun

SHARP = 128  # pictures up to this many pixels a side are enlarged pixel by pixel, larger ones smoothly
PLAY = (
    '<svg viewBox="0 0 16 16" aria-hidden="true"><path class="vf-i-pause" d="M4 2h3v12H4zM9 2h3v12H9z"/>'
    '<path class="vf-i-play" d="M4 2l10 6-10 6z"/></svg><span>Play</span>'
)
GHOSTS = 11


def empty() -> str:
    """What stands in the results' place before the first walk."""
    ghosts = '<li class="vf-ghost"></li>' * GHOSTS
    return (
        '<section class="vf-results vf-empty vf-walk-ghost"><div aria-hidden="true"><div class="vf-panes">'
        '<div class="vf-stage"><div class="vf-ghost"></div></div><div class="vf-maps">'
        '<div class="vf-ghost"></div><div class="vf-ghost"></div></div></div>'
        f'<ol class="vf-steps">{ghosts}</ol></div>'
        '<p class="vf-hint"><strong>Your walk appears here.</strong>'
        "<span>Choose an example, or an input of your own, and press Walk.</span></p></section>"
    )


def player(run: WalkRun, size: tuple[int, int]) -> str:
    """The finished walk, of pictures of ``size`` (height, width)."""
    count, frames, start = len(run.steps), run.steps[0].frames, run.start
    sharp = " vf-sharp" if max(size) <= SHARP else ""
    thumbs = "".join(_step(film, index, count) for index, film in enumerate(run.steps))
    clips = frames > 1
    data = {"key": run.folder.name, "start": start, "frames": frames, "fps": f"{run.fps:g}"}
    told = " ".join(f'data-{name}="{value}"' for name, value in data.items())
    return (
        f'<section class="vf-results vf-walk{sharp}" aria-label="Walk" {told}'
        f' style="--aspect: {size[1] / size[0]:.4f}"><div class="vf-panes"><div>'
        f'<div class="vf-stage"><canvas role="img" aria-label="Step {start + 1} of {count}"></canvas></div>'
        f"{_bar(count, start, clips=clips)}</div>{_beside(run)}</div>"
        f'<ol class="vf-steps" aria-label="All steps">{thumbs}</ol></section>'
    )


def _bar(count: int, start: int, *, clips: bool) -> str:
    loop = (
        '<button type="button" class="vf-play vf-loop" aria-label="Play all clips" disabled>'
        f"{PLAY.replace('Play<', 'Clips<')}</button>"
        if clips
        else ""
    )
    return (
        '<div class="vf-bar"><button type="button" class="vf-play vf-there" disabled'
        f' aria-label="Play the walk, there and back">{PLAY}</button>'
        f'<input type="range" class="vf-seek" min="1" max="{count}" step="1" value="{start + 1}" disabled'
        f' aria-label="Step of the walk"><output class="vf-now"></output>{loop}</div>'
    )


def _step(film: Film, index: int, count: int) -> str:
    at = escape(film.caption, quote=True)
    return (
        f'<li><button type="button" class="vf-step" tabindex="-1" data-at="{at}" disabled'
        f' aria-label="Step {index + 1} of {count}: {at}">{_canvas(film)}<span>{at}</span></button></li>'
    )


def _canvas(film: Film, label: str = "") -> str:
    role = f'role="img" aria-label="{escape(label, quote=True)}"' if label else 'aria-hidden="true"'
    return f'<canvas {role} data-src="{file_url(film.path)}" data-frames="{film.frames}"></canvas>'


def _beside(run: WalkRun) -> str:
    ramp = ", ".join(f"rgb({r} {g} {b})" for r, g, b in heat_ramp(8))
    pictures = "".join(
        f"<figure>{_canvas(film, film.caption)}<figcaption>{escape(film.caption)}</figcaption></figure>"
        for film in run.beside
    )
    where = f"Where the walk changes the picture, 0 to {run.top:.0f} grey levels"
    return (
        f'<aside class="vf-maps" aria-label="Input and changes">{pictures}'
        f"<figure>{_canvas(run.changes, where)}<figcaption>{escape(run.changes.caption)}"
        f'<span class="vf-legend"><span>0</span><i style="background: linear-gradient(90deg, {ramp})"></i>'
        f"<span>{run.top:.0f}</span></span></figcaption></figure></aside>"
    )


def directions(shares: Sequence[float], chosen: int) -> str:
    """Bars of explained variance, one button per direction; direction ``chosen`` (from 1) is marked.

    Args:
        shares: part of the variance of ε that each direction explains, 0..1, falling.
    """
    top = max([*shares, 1e-9])
    bars = []
    for index, share in enumerate(shares):
        here = ' aria-current="true"' if index + 1 == chosen else ""
        bars.append(
            f'<li><button type="button" data-index="{index + 1}"{here}'
            f' aria-label="Direction {index + 1}: {percent(share)} of the variance">'
            f'<i style="height: {max(4.0, 100 * share / top):.0f}%"></i></button></li>'
        )
    return f'<ol class="vf-directions" aria-label="Directions by explained variance">{"".join(bars)}</ol>'


def percent(share: float) -> str:
    """0.0123 → 1.2%."""
    return f"{100 * share:.1f}%"


def tiles(shown: Sequence[tuple[str, Sequence[np.ndarray]]]) -> str:
    """A strip of buttons, each an example: its title and one picture, or the two that it walks between."""
    items = []
    for index, (title, pictures) in enumerate(shown):
        name = escape(title, quote=True)
        images = "".join(f'<img src="{png_uri(picture)}" alt="">' for picture in pictures)
        items.append(
            f'<li><button type="button" class="vf-example" data-index="{index}"'
            f' aria-label="Walk from example: {name}" title="{name}">{images}</button></li>'
        )
    if not items:
        return ""
    return (
        '<div class="vf-try"><h2 id="vf-walk-examples">Or walk from an example</h2>'
        f'<ol class="vf-examples" aria-labelledby="vf-walk-examples">{"".join(items)}</ol></div>'
    )


def note(text: str) -> str:
    """A quiet remark inside the form, escaped here."""
    return f'<p class="vf-note">{escape(text)}</p>' if text else ""
