"""What the Colourise tab shows: its components, and what they become after a click."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from vflow.errors import VflowError

from . import colourise_view, gallery
from .colourise_desk import Desk, Photo
from .controls import Board, Seed, Updates


@dataclass(frozen=True)
class Form:
    """Inputs of the tab."""

    files: gr.File
    desk: gr.State
    checkpoint: gr.Dropdown
    num_samples: gr.Slider
    temperature: gr.Slider
    levels: gr.Textbox
    seed: Seed

    def components(self) -> set[Any]:
        """All of them, as ``inputs`` of an event whose handler takes a dictionary."""
        own = {part for name, part in vars(self).items() if name != "seed"}
        return own | set(vars(self.seed).values())


@dataclass(frozen=True)
class Downloads:
    """The row of buttons that make files on demand, and the link that saves the one just made."""

    row: gr.Row
    one: gr.Button
    archive: gr.Button
    settings: gr.Button
    link: gr.HTML


@dataclass(frozen=True)
class View:
    """Outputs of the tab."""

    board: Board
    chooser: gr.HTML
    editor: gr.HTML
    compare: gr.HTML
    tools: gr.Group
    strength: gr.Slider
    cards: gr.HTML
    downloads: Downloads

    def components(self) -> list[Any]:
        """Those that change, as ``outputs`` of an event."""
        return [
            *self.board.components(),
            *(self.chooser, self.editor, self.compare, self.tools, self.cards),
            *(self.downloads.row, self.downloads.link),
        ]


Show = Callable[[Form, View, Updates], Updates]


def desk_of(form: Form, values: Updates) -> Desk:
    """The desk among an event's inputs."""
    desk: Desk = values[form.desk]
    return desk


def results(form: Form, view: View, values: Updates) -> Updates:
    """The variants of the photo on show at the strength asked for, or what stands in their place.

    Raises:
        InputError: they have been cleared from the server.
    """
    photo = desk_of(form, values).photo
    if photo is None or photo.made is None:
        return _nothing(view, photo)
    return {
        **large(form, view, values),
        **small(form, view, values),
        **tools(form, view, values),
    }


def large(form: Form, view: View, values: Updates) -> Updates:
    """The photo before and after, if it has been coloured; raises as ``results``."""
    photo, strength = desk_of(form, values).photo, values[view.strength] / 100
    if photo is None or photo.made is None:
        return {}
    before, after = photo.made.before(), photo.made.after(photo.chosen, strength)
    return {view.compare: colourise_view.compare(before, after, photo.chosen, photo.name)}


def small(form: Form, view: View, values: Updates) -> Updates:
    """All variants, if there are any; raises as ``results``."""
    photo, strength = desk_of(form, values).photo, values[view.strength] / 100
    if photo is None or photo.made is None:
        return {}
    parent = photo.made.near[-1] if photo.made.near else None
    pictures = list(photo.made.cards(strength))
    return {view.cards: colourise_view.cards(pictures, photo.chosen, parent=parent)}


def tools(form: Form, view: View, values: Updates) -> Updates:
    """The strength and the downloads, visible if the photo on show has been coloured."""
    photo = desk_of(form, values).photo
    shown = gr.update(visible=photo is not None and photo.made is not None)
    return {view.tools: shown, view.downloads.row: shown}


def at_once(form: Form, view: View, values: Updates, show: Show = results) -> Updates:
    """What ``show`` shows, in answer to a click; of variants that have been cleared, that they are."""
    try:
        return show(form, view, values)
    except VflowError as error:
        nothing = _nothing(view, desk_of(form, values).photo)
        return {**nothing, view.board.status: gallery.message(str(error), "error")}


def _nothing(view: View, photo: Photo | None) -> Updates:
    empty = colourise_view.empty("Press Colourise.") if photo else colourise_view.empty()
    hidden = gr.update(visible=False)
    return {view.compare: empty, view.cards: "", view.tools: hidden, view.downloads.row: hidden}


def everything(form: Form, view: View, values: Updates) -> Updates:
    """Thumbnails, colour points and results of the photo on show."""
    desk = desk_of(form, values)
    return {
        view.chooser: desk.chooser(),
        view.editor: desk.editor(),
        **at_once(form, view, values),
    }


def choose(form: Form, view: View, values: Updates, action: str, index: int) -> Updates:
    """A button of the thumbnails: ``action`` is choose or remove."""
    if action == "remove":
        paths = [photo.path for i, photo in enumerate(desk_of(form, values).photos) if i != index]
        return {form.files: paths or None}
    desk_of(form, values).show(index)
    return everything(form, view, values)


def card(form: Form, view: View, values: Updates, action: str, index: int) -> Updates:
    """A button of the variants: ``action`` is pick or back (to the variants these are near to)."""
    desk = desk_of(form, values)
    photo = desk.photo
    if photo is None or photo.made is None:
        return {}
    if action == "back" and photo.made.parent is not None:
        made = photo.made
        desk.change(photo.path, lambda p: replace(p, made=made.parent, chosen=made.near[-1]))
    elif action == "pick":
        desk.change(photo.path, lambda p: replace(p, chosen=min(index, p.made.count - 1) if p.made else 0))
    return at_once(form, view, values)


def point(form: Form, view: View, values: Updates, event: gr.EventData) -> Updates:
    """A colour point more or fewer, as colourise.js tells."""
    desk = desk_of(form, values)
    if desk.photo is None:
        return {}
    try:
        changed = _with_change(desk.photo, event)
    except VflowError as error:
        return {view.board.status: gallery.message(str(error), "error")}
    desk.change(changed.path, lambda _: changed)
    return {view.editor: desk.editor()}


def _with_change(photo: Photo, event: gr.EventData) -> Photo:
    if event.action == "remove":
        return photo.without_point(int(event.index))
    return photo.with_point(float(event.x), float(event.y), str(event.colour))
