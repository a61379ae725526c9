"""HTML that several tabs use: pictures, status lines, placeholders, strips of examples."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vflow.data import media
from vflow.errors import counted
from vflow.pipelines.video.export import heat_ramp

THUMBNAIL = 96  # pixels of the longer side of a picture on a button
SHARP = 128  # pictures up to this many pixels a side are enlarged pixel by pixel, larger ones smoothly


def png_uri(frame: np.ndarray, profile: bytes = b"") -> str:
    """``data:`` address of a frame, uint8 (H, W, C): shown without any file being served.

    ``profile``: ICC profile of its colours; sRGB where there is none.
    """
    return "data:image/png;base64," + base64.b64encode(media.encode_png(frame, profile)).decode()


def thumbnail(picture: np.ndarray) -> str:
    """The same of a picture that is shown small, in a few kilobytes."""
    small = media.encode_webp(reduced(picture[None], THUMBNAIL)[0])
    return "data:image/webp;base64," + base64.b64encode(small).decode()


def reduced(frames: np.ndarray, longest: int) -> np.ndarray:
    """Frames uint8 (T, H, W, C), made smaller where their longer side is over ``longest``."""
    height, width, channels = frames.shape[1:]
    scale = longest / max(height, width)
    if scale >= 1:
        return frames
    return media.resize(frames, max(1, round(height * scale)), max(1, round(width * scale)), channels)


def file_url(path: str | Path) -> str:
    """Address of a file in the app's own cache, relative to the page so that it works behind a proxy."""
    return f"gradio_api/file={escape(str(path), quote=True)}"


def download_link(path: Path) -> str:
    """A link that is followed at once, so that a file made on demand is saved like any download."""
    once, name = secrets.token_hex(4), escape(path.name, quote=True)  # asked for again it is another link
    return f'<a id="vf-saved-{once}" href="{file_url(path)}" download="{name}">{name}</a>'


def command(text: str, lead: str = "The same on the command line, where the files are:") -> str:
    """A command line, such as one that makes a result again, and a button that copies it."""
    return (
        f'<div class="vf-command"><p>{lead}</p>'
        f'<code>{escape(text)}</code><button type="button" class="vf-small vf-copy">Copy</button></div>'
    )


def refused(why: str, *ways: str) -> str:
    """Line on an upload that the page does not take, escaped here, and the ways on (HTML)."""
    return (
        '<section class="vf-results vf-refused" aria-label="The upload"><div class="vf-fit vf-amber">'
        f"<p>{escape(why)}</p></div>{''.join(ways)}</section>"
    )


def way_on(action: str, label: str, index: int = 0) -> str:
    """A button that changes an upload into what the page takes."""
    return (
        f'<button type="button" class="vf-small" data-event="input" data-action="{action}"'
        f' data-index="{index}">'
        f"{escape(label)}</button>"
    )


def way_to(tab: str, label: str) -> str:
    """A button that opens a tab with the upload."""
    return way_on(tab, label).replace(" data-action", f' data-tab="{tab}" data-action')


def ways(*buttons: str) -> str:
    """Ways on (HTML) in a row."""
    return f'<div class="vf-ways">{"".join(buttons)}</div>'


def progress(done: float, total: int, text: str, label: str) -> str:
    """Progress bar, named ``label``, with a line of text, escaped here.

    Screen readers find the text at the bar; what ends the steps is spoken, each of them is not.
    """
    share, said = 100 * done / max(1, total), escape(text, quote=True)
    return (
        f'<div class="vf-status"><div class="vf-progress" role="progressbar" aria-label="{label}"'
        f' aria-valuemin="0" aria-valuemax="{total}" aria-valuenow="{done}" aria-valuetext="{said}">'
        f'<i style="width: {share:.1f}%"></i></div><p aria-live="off">{said}</p></div>'
    )


def message(text: str, kind: str = "info", notes: Sequence[str] = ()) -> str:
    """A line of status and remarks below, all escaped here; ``kind`` is info, done or error."""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    remarks = f"<ul>{items}</ul>" if items else ""
    return f'<div class="vf-status vf-{kind}"><p>{escape(text)}</p>{remarks}</div>'


def placeholder(ghosts: str, title: str, text: str, css: str = "") -> str:
    """Outlines (HTML) in the place of a result, with a title and a line on how to get one."""
    return (
        f'<section class="vf-results vf-empty{css and f" {css}"}"><div aria-hidden="true">{ghosts}</div>'
        f'<p class="vf-hint"><strong>{escape(title)}</strong><span>{escape(text)}</span></p></section>'
    )


def ghost_items(count: int) -> str:
    """Outlines of list items."""
    return '<li class="vf-ghost"></li>' * count


def offer(minutes: int) -> str:
    """The offer of a result that was made before the page was opened again; the button reports a click."""
    age = "a moment ago" if minutes < 1 else f"{counted(minutes, 'minute')} ago"
    return (
        f'<p class="vf-note vf-offer">Your last result, made {age}, is still here; the form stays as it is.'
        ' <button type="button" class="vf-small" data-index="0" data-action="show">Show it</button></p>'
    )


def note(text: str) -> str:
    """A quiet remark inside a form, escaped here."""
    return f'<p class="vf-note">{escape(text)}</p>' if text else ""


def duration(seconds: float) -> str:
    """``64 s`` or ``3 min``."""
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"


def no_model_banner(preset: str) -> str:
    """Banner of a tab that has no model: the command that trains one with ``preset``."""
    return (
        '<div class="vf-banner" role="note"><p><strong>No trained model yet.</strong> '
        "Train the smallest one, then start the app again:</p>"
        f"<code>vflow train --config {preset} --output runs/{preset.removesuffix('-small')}</code>"
        "<p>To use models of your own: <code>vflow app --checkpoints FOLDER</code></p></div>"
    )


class ExampleTile(NamedTuple):
    """An example on the page: its title, pictures uint8 (H, W, C) side by side, and a mark (HTML)."""

    title: str
    pictures: Sequence[np.ndarray]
    mark: str = ""


def example_strip(
    heading: str, verb: str, identifier: str, tiles: Sequence[ExampleTile], first: int = 0
) -> str:
    """A row of buttons under ``heading``, each an example, from number ``first`` on; empty without any."""
    if not tiles:
        return ""
    items = []
    for index, tile in enumerate(tiles, first):
        title = escape(tile.title, quote=True)
        pictures = "".join(f'<img src="{thumbnail(picture)}" alt="">' for picture in tile.pictures)
        items.append(
            f'<li><button type="button" class="vf-example" data-action="example" data-index="{index}"'
            f' aria-label="{verb}: {title}" title="{title}">{pictures}{tile.mark}</button></li>'
        )
    return (
        f'<div class="vf-try"><h2 id="{identifier}">{escape(heading)}</h2>'
        f'<ol class="vf-examples" aria-labelledby="{identifier}">{"".join(items)}</ol></div>'
    )


def play_bar(
    count: int, start: int, *, play: str, slider: str, extra: str = "", disabled: bool = False
) -> str:
    """Play button, slider over ``count`` frames or steps (at ``start``, from 1) and its value.

    Args:
        play, slider: names of the controls. extra: further controls (HTML).
        disabled: the page's script enables the controls once it can serve them.
    """
    off = " disabled" if disabled else ""
    return (
        f'<div class="vf-bar">{play_button(play, disabled=disabled)}'
        f'<input type="range" class="vf-seek" min="1" max="{count}" step="1" value="{start}"{off}'
        f' aria-label="{slider}"><output class="vf-now" aria-live="off"></output>{extra}</div>'
    )


def play_button(label: str, text: str = "Play", css: str = "", *, disabled: bool = False) -> str:
    """Button with the signs for play and pause; the page's script shows one of them."""
    off = " disabled" if disabled else ""
    return (
        f'<button type="button" class="vf-play{css and f" {css}"}" aria-label="{label}"{off}>'
        '<svg viewBox="0 0 16 16" aria-hidden="true"><path class="vf-i-pause" d="M4 2h3v12H4zM9 2h3v12H9z"/>'
        f'<path class="vf-i-play" d="M4 2l10 6-10 6z"/></svg><span>{text}</span></button>'
    )


def heat_legend(top: str) -> str:
    """The ramp of the heat maps, from 0 to ``top``."""
    ramp = ", ".join(f"rgb({r} {g} {b})" for r, g, b in heat_ramp(8))
    return (
        '<span class="vf-legend"><span>0</span>'
        f'<i style="background: linear-gradient(90deg, {ramp})"></i><span>{top}</span></span>'
    )
