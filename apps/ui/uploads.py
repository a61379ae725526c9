"""The strip of uploaded files: natural order, moving, reversing, thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from vflow.data import media
from vflow.errors import VflowError

from .gallery import png_uri

THUMB = 72  # pixels a side
SHOWN = 24  # thumbnails drawn; the files behind them are all used


def paths_of(files: Sequence[str] | str | None) -> list[str]:
    """Uploaded files as plain paths, in the order shown."""
    if files is None:
        return []
    return [str(f) for f in ([files] if isinstance(files, str) else files)]


def by_name(files: Sequence[str] | None) -> list[str]:
    """Natural order: frame2 before frame10."""
    return sorted(paths_of(files), key=lambda path: media.natural_key(Path(path).name))


def changed(files: Sequence[str] | None, action: str, index: int) -> list[str]:
    """The list after a button of the strip: ``action`` is earlier, later or remove."""
    paths = paths_of(files)
    to = {"earlier": index - 1, "later": index + 1}.get(action)
    if not 0 <= index < len(paths):
        return paths
    path = paths.pop(index)
    if to is not None:
        paths.insert(max(0, to), path)
    return paths


def strip(files: Sequence[str] | None) -> str:
    """Thumbnails in order, each with keyboard-reachable buttons to move or remove it."""
    paths = paths_of(files)
    if not paths:
        return ""
    items = [_item(path, index, len(paths)) for index, path in enumerate(paths[:SHOWN])]
    more = len(paths) - SHOWN
    rest = f'<li class="vf-more">and {more} more</li>' if more > 0 else ""
    return f'<ol class="vf-thumbs" aria-label="Files in order">{"".join(items)}{rest}</ol>'


def _item(path: str, index: int, count: int) -> str:
    name = escape(Path(path).name, quote=True)
    try:
        clip = media.read_clip(path, max_frames=1)
    except VflowError as error:
        picture = f'<p class="vf-bad" role="alert">{escape(str(error).replace(path, Path(path).name))}</p>'
    else:
        picture = f'<img src="{png_uri(_small(clip.frames[0]))}" alt="{index + 1}: {name}">'
    buttons = (
        _button("earlier", "←", f"Move {name} earlier", index, disabled=index == 0)
        + _button("later", "→", f"Move {name} later", index, disabled=index == count - 1)
        + _button("remove", "×", f"Remove {name}", index, disabled=False)
    )
    return (
        f'<li class="vf-thumb">{picture}<span class="vf-name" title="{name}">{name}</span>'
        f'<span class="vf-moves">{buttons}</span></li>'
    )


def _button(action: str, sign: str, label: str, index: int, *, disabled: bool) -> str:
    off = " disabled" if disabled else ""
    return (
        f'<button type="button" data-action="{action}" data-index="{index}"'
        f' aria-label="{label}"{off}>{sign}</button>'
    )


def _small(frame: np.ndarray) -> np.ndarray:
    """Square thumbnail; small frames keep their pixels (the page enlarges them)."""
    if max(frame.shape[:2]) <= 2 * THUMB:
        return frame
    return media.resize(frame[None], 2 * THUMB, 2 * THUMB, frame.shape[-1])[0]
