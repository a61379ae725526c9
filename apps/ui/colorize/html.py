"""HTML of the Colourise tab: photo with hints, before/after, cards of variants, list of photos."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from vflow.tasks.colorize.settings import Hint

from ..shared.html import ghost_items, placeholder, png_uri

SWATCHES = {
    "Skin": "#d9a38a",
    "Brown": "#7b4f2e",
    "Red": "#b3202a",
    "Orange": "#d9772b",
    "Yellow": "#d8b93c",
    "Grass green": "#5f8f3c",
    "Sky blue": "#7fb2e5",
    "Navy": "#2a3f7a",
    "Violet": "#7a4b9a",
    "Grey": "#8c8c8c",
}


def empty(text: str = "Choose an example, or add photos and press Colourise.") -> str:
    """Placeholder of the results before the first run."""
    ghosts = f'<div class="vf-ghost vf-wide"></div><ol class="vf-grid vf-cards">{ghost_items(4)}</ol>'
    return placeholder(ghosts, "Your photo appears here, in colour.", text)


SET_ASIDE = "This photo is in colour. The model ignores its colours and sees only the grey."


def compare(
    before: np.ndarray,
    after: np.ndarray,
    variant: int,
    name: str,
    *,
    original: np.ndarray | None = None,
    hints: Sequence[Hint] = (),
) -> str:
    """The photo before and after under one slider, and brushes to give it colours with.

    Args:
        before, after: uint8 (H, W, 3), in grey and coloured. variant: counted from 0.
        original: the photo's own colours, as large, if it has any: a switch shows them in place of the grey.
        hints: that the variant was made with.
    """
    height, width = after.shape[:2]
    alt = escape(name, quote=True)
    own, switch, left = "", "", "<span>Grey</span>"
    if original is not None:
        own = f'<img class="vf-before vf-original" src="{png_uri(original)}" alt="{alt}, its own colours">'
        choices = "".join(
            '<label class="vf-option"><input type="radio" name="vf-against"'
            f' value="{value}"{checked}>{value.title()}</label>'
            for value, checked in (("grey", " checked"), ("original", ""))
        )
        left = f'<span class="vf-against" role="radiogroup" aria-label="Left of the line">{choices}</span>'
        switch = f'<p class="vf-note vf-set-aside">{SET_ASIDE}</p>'
    return (
        f'<figure class="vf-compare" style="--ratio: {width / height:.4f}"><div class="vf-stack">'
        f'<img class="vf-after" src="{png_uri(after)}" alt="{alt}, variant {variant + 1}">'
        f'<img class="vf-before" src="{png_uri(before)}" alt="{alt}, in grey">{own}'
        f'<i class="vf-divider" aria-hidden="true"></i><span aria-hidden="true">{_marks(hints)}</span>'
        '<input type="range" class="vf-wipe" min="0" max="100" value="50"'
        ' aria-label="Before and after: share of the photo left as it was"></div>'
        f"<figcaption>{left}<span>Variant {variant + 1}</span></figcaption>{switch}"
        f"{_brushes(bool(hints))}</figure>"
    )


def _brushes(painted: bool) -> str:
    """Colours to paint on the large picture with; colorize.js keeps the one that is taken up."""
    brushes = "".join(
        f'<button type="button" class="vf-swatch vf-brush" style="background: {color}" data-color="{color}"'
        f' aria-pressed="false" aria-label="Paint {name.lower()}" title="{name}"></button>'
        for name, color in SWATCHES.items()
    )
    buttons = _TAKE_BACK if painted else ""
    return (
        '<div class="vf-paint"><p class="vf-paint-lead">Know a colour? Pick it, then click the photo where'
        ' it belongs. Press the colour again to stop painting.</p><div class="vf-swatches" role="group"'
        f' aria-label="Colours to paint with">{brushes}</div>{buttons}</div>'
    )


_TAKE_BACK = (
    '<button type="button" class="vf-small vf-undo-point">Undo</button>'
    '<button type="button" class="vf-small vf-clear-points">Clear</button>'
)


def _marks(hints: Sequence[Hint]) -> str:
    """Numbered points on a photo."""
    return "".join(
        f'<b class="vf-mark" style="left: {100 * x:.2f}%; top: {100 * y:.2f}%; background: {_hex(color)}">'
        f"{number}</b>"
        for number, (x, y, color, _) in enumerate(hints, 1)
    )


TYPICAL_FIRST = "The first is typical and fairly vivid; the others are chosen to differ from it."


def cards(pictures: Sequence[np.ndarray], chosen: int, *, parent: int | None) -> str:
    """A card for each variant, uint8 (h, w, 3): its picture chooses it, a button asks for more like it.

    Args:
        parent: these are near the variant of that index (counted from 0), to which a button goes back.
    """
    items = "".join(_card(picture, index, index == chosen) for index, picture in enumerate(pictures))
    lead = f'<p class="vf-near">{TYPICAL_FIRST}</p>' if len(pictures) > 1 else ""
    if parent is not None:
        lead = (
            f'<p class="vf-near"><span>Near variant {parent + 1}</span><button type="button"'
            ' class="vf-link" data-action="back" data-index="0">Back to all variants</button></p>'
        )
    return (
        f'<section class="vf-results" aria-label="Variants">{lead}'
        f'<ol class="vf-grid vf-cards">{items}</ol></section>'
    )


def _card(picture: np.ndarray, index: int, chosen: bool) -> str:
    number = index + 1
    return (
        f'<li class="vf-tile{" vf-chosen" if chosen else ""}">'
        f'<button type="button" class="vf-pick" data-action="pick" data-index="{index}"'
        f' aria-label="Show variant {number}" aria-pressed="{str(chosen).lower()}">'
        f'<img src="{png_uri(picture)}" alt="Variant {number}"></button>'
        f'<div class="vf-caption"><span>Variant {number}</span>'
        f'<button type="button" class="vf-link" data-event="input" data-action="like" data-index="{index}"'
        f' aria-label="More like variant {number}">More like this</button></div></li>'
    )


def photo_list(photos: Sequence[tuple[str, np.ndarray | str]], shown: int) -> str:
    """Uploaded photos: (path, picture uint8 (h, w, 3) or what is wrong with it); each can be removed."""
    items = "".join(_photo(path, photo, index, index == shown) for index, (path, photo) in enumerate(photos))
    return f'<ol class="vf-thumbs vf-photos" aria-label="Photos">{items}</ol>' if items else ""


def _photo(path: str, photo: np.ndarray | str, index: int, chosen: bool) -> str:
    name, key = (escape(text, quote=True) for text in (Path(path).name, path))
    place = f'data-index="{index}" data-key="{key}"'
    if isinstance(photo, str):
        picture = f'<p class="vf-bad" role="alert">{escape(photo)}</p>'
    else:
        picture = (
            f'<button type="button" class="vf-pick" data-action="choose" {place}'
            f' aria-label="Work on {name}" aria-pressed="{str(chosen).lower()}">'
            f'<img src="{png_uri(photo)}" alt=""></button>'
        )
    return (
        f'<li class="vf-thumb{" vf-chosen" if chosen else ""}">{picture}'
        f'<span class="vf-name" title="{name}">{name}</span><span class="vf-moves"><button type="button"'
        f' data-action="remove" {place} aria-label="Remove {name}">×</button></span></li>'
    )


def editor(photo: np.ndarray, hints: Sequence[Hint], *, colorized: bool, in_color: bool) -> str:
    """The photo, in grey, with its hints; colorize.js reports clicks on it.

    Args:
        in_color: the upload has colours, which the model ignores.
        colorized: there are variants already: a change asks for new ones at once.
    """
    chosen = _hex(hints[-1].color) if hints else SWATCHES["Red"]
    swatches = "".join(
        f'<button type="button" class="vf-swatch" style="background: {color}" data-color="{color}"'
        f' aria-pressed="{str(color == chosen).lower()}" aria-label="{name}" title="{name}"></button>'
        for name, color in SWATCHES.items()
    )
    height, width = photo.shape[:2]
    aside = f'<p class="vf-note vf-set-aside">{SET_ASIDE}</p>' if in_color else ""
    return (
        f'<div class="vf-hints" data-colorized="{str(colorized).lower()}">{aside}<p class="vf-hints-lead">'
        "Know a colour? Pick it, then click where it belongs.</p>"
        f'<div class="vf-target" style="--ratio: {width / height:.4f}">'
        f'<img src="{png_uri(photo)}" alt="The photo to colour" draggable="false">'
        f'<span aria-hidden="true">{_marks(hints)}</span></div>'
        f'<div class="vf-colors"><label class="vf-color">Colour<input type="color" value="{chosen}"></label>'
        f'<div class="vf-swatches" role="group" aria-label="Common colours">{swatches}</div></div>'
        '<div class="vf-by-number"><label>Across <span>%</span><input type="number" class="vf-x" min="0"'
        ' max="100" value="50"></label><label>Down <span>%</span><input type="number" class="vf-y" min="0"'
        ' max="100" value="50"></label><button type="button" class="vf-small vf-add-point">Add point</button>'
        f"</div>{_points(hints)}</div>"
    )


def _points(hints: Sequence[Hint]) -> str:
    items = "".join(
        f'<li><i style="background: {_hex(color)}"></i><span>{number}: {100 * x:.0f}% across, {100 * y:.0f}%'
        f' down</span><button type="button" class="vf-remove-point" data-hint="{x:.4f},{y:.4f},{_hex(color)}"'
        f' aria-label="Remove colour hint {number}">×</button></li>'
        for number, (x, y, color, _) in enumerate(hints, 1)
    )
    if not items:
        return ""
    return (
        f'<ol class="vf-points" aria-label="Colour hints">{items}</ol><div class="vf-by-number">'
        '<button type="button" class="vf-small vf-undo-point">Undo the last point</button>'
        '<button type="button" class="vf-small vf-clear-points">Remove all points</button></div>'
    )


def _hex(color: tuple[int, int, int]) -> str:
    return f"#{bytes(color).hex()}"
