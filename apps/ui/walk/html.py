"""HTML of a walk: one stage, a slider over its steps, all steps below; and effects of directions."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..shared.html import SHARP, file_url, ghost_items, heat_legend, placeholder, play_bar, play_button
from .job import Filmstrip, Result


def empty() -> str:
    """Placeholder of the results before the first walk."""
    ghost = '<div class="vf-ghost"></div>'
    ghosts = (
        f'<div class="vf-panes"><div class="vf-stage">{ghost}</div><div class="vf-maps">{ghost}{ghost}</div>'
        f'</div><ol class="vf-steps">{ghost_items(11)}</ol>'
    )
    text = "Press Walk: without a start of yours, the first example is it."
    return placeholder(ghosts, "Your walk appears here.", text, "vf-walk-ghost")


def player(result: Result, size: tuple[int, int]) -> str:
    """The finished walk, of pictures of ``size`` (height, width)."""
    count, frames, start = len(result.steps), result.steps[0].frames, result.start
    sharp = " vf-sharp" if max(size) <= SHARP else ""
    steps = "".join(_step(film, index, count) for index, film in enumerate(result.steps))
    clips = play_button("Play all clips", "Clips", "vf-loop", disabled=True) if frames > 1 else ""
    play = "Play the walk, there and back"
    bar = play_bar(count, start + 1, play=play, slider="Step of the walk", extra=clips, disabled=True)
    words = "".join(f"<span>{escape(end)}</span>" for end in result.effect or ())
    ends = words and f'<p class="vf-ends">{words}</p>'
    return (
        f'<section class="vf-results vf-walk{sharp}" aria-label="Walk" data-key="{result.folder.name}"'
        f' data-start="{start}" data-frames="{frames}" data-fps="{result.fps:g}"'
        f' style="--aspect: {size[1] / size[0]:.4f}"><div class="vf-panes"><div>'
        f'<div class="vf-stage"><canvas role="img" aria-label="Step {start + 1} of {count}"></canvas></div>'
        f"{ends}{bar}</div>{_beside(result)}</div>"
        f'<ol class="vf-steps" aria-label="All steps">{steps}</ol></section>'
    )


def _step(film: Filmstrip, index: int, count: int) -> str:
    name = escape(film.caption, quote=True)
    return (
        f'<li><button type="button" class="vf-step" tabindex="-1" data-at="{name}" disabled'
        f' aria-label="Step {index + 1} of {count}: {name}">{_canvas(film)}<span>{name}</span></button></li>'
    )


def _canvas(film: Filmstrip, label: str = "") -> str:
    role = f'role="img" aria-label="{escape(label, quote=True)}"' if label else 'aria-hidden="true"'
    return f'<canvas {role} data-src="{file_url(film.path)}" data-frames="{film.frames}"></canvas>'


def _beside(result: Result) -> str:
    """Inputs and the map of changes."""
    pictures = "".join(
        f"<figure>{_canvas(film, film.caption)}<figcaption>{escape(film.caption)}</figcaption></figure>"
        for film in result.inputs
    )
    label = f"Where the walk changes the image, 0 to {result.top:.0f} grey levels"
    return (
        f'<aside class="vf-maps" aria-label="Input and changes">{pictures}'
        f"<figure>{_canvas(result.changes, label)}<figcaption>{escape(result.changes.caption)}"
        f"{heat_legend(f'{result.top:.0f} grey levels')}</figcaption></figure></aside>"
    )


def directions(shares: Sequence[float], effects: Sequence[str], chosen: int) -> str:
    """A button for each direction: its effect over a bar of explained variance; ``chosen``, from 1, is on.

    Args:
        shares: part of the variance of ε that each direction explains, 0..1, falling.
        effects: what each does, none where that is unknown; an empty one goes by its number.
    """
    top, buttons = max([*shares, 1e-9]), []
    for index, share in enumerate(shares):
        number, effect = f"Direction {index + 1}", effects[index] if effects else ""
        current = ' aria-current="true"' if index + 1 == chosen else ""
        told = f"{number}: {effect + ', ' if effect else ''}{percent(share)} of how data vary"
        buttons.append(
            f'<li><button type="button" data-index="{index + 1}"{current} aria-label="{told}"'
            f' title="{told}">{(effect or number).capitalize()}'
            f'<i style="width: {max(4.0, 100 * share / top):.0f}%"></i></button></li>'
        )
    name = "Effects of directions, over how much of the variance each explains"
    return f'<ol class="vf-directions" aria-label="{name}">{"".join(buttons)}</ol>'


def percent(share: float) -> str:
    """0.0123 → 1.2%."""
    return f"{100 * share:.1f}%"
