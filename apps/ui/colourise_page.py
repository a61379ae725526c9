"""What the Colourise tab shows: its components, and what they become after a click."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from vflow.errors import VflowError

from . import colourise_view, gallery
from .colourise_desk import Desk, Photo
from .controls import Board, Seed, Updates
from .uploads import paths_of


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


def desk_of(form: Form, values: Updates) -> Desk:
    """The desk among an event's inputs."""
    desk: Desk = values[form.desk]
    return desk


def results(form: Form, view: View, values: Updates) -> Updates:
    """The variants of the photo on show at the strength asked for, or what stands in their place."""
    photo = desk_of(form, values).photo
    if photo is None or photo.made is None:
        text = "Press Colourise." if photo else None
        empty = colourise_view.empty(text) if text else colourise_view.empty()
        hidden = gr.update(visible=False)
        return {view.compare: empty, view.cards: "", view.tools: hidden, view.downloads.row: hidden}
    return {
        view.compare: compared(photo, values[view.strength]),
        view.cards: cards(photo, values[view.strength]),
        view.tools: gr.update(visible=True),
        view.downloads.row: gr.update(visible=True),
    }


def compared(photo: Photo, percent: float) -> str:
    """HTML of the photo before and after; empty before the first run."""
    made, index = photo.made, photo.chosen
    if made is None:
        return ""
    return colourise_view.compare(made.before(), made.after(index, percent / 100), index, photo.name)


def cards(photo: Photo, percent: float) -> str:
    """HTML of all variants; empty before the first run."""
    made = photo.made
    if made is None:
        return ""
    parent = made.near[-1] if made.near else None
    return colourise_view.cards(list(made.cards(percent / 100)), photo.chosen, parent=parent)


def everything(form: Form, view: View, values: Updates) -> Updates:
    """Thumbnails, colour points and results of the photo on show."""
    desk = desk_of(form, values)
    return {
        view.chooser: desk.chooser(),
        view.editor: desk.editor(),
        **results(form, view, values),
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
    return results(form, view, values)


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


def waiting(form: Form, view: View, values: Updates) -> Updates:
    """The person has clicked; the job stands in the queue. Uploads are on the desk from here on."""
    desk_of(form, values).hold(paths_of(values[form.files]))
    return view.board.waiting()
