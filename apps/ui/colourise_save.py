"""Downloads of the Colourise tab: pictures at the photo's own size take seconds and are made on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from vflow.data import io
from vflow.errors import InputError

from . import colourise_files, colourise_flow, colourise_view, gallery
from . import colourise_page as page
from .colourise_desk import Desk, Photo
from .colourise_files import Coloured
from .colourise_page import Form, View
from .common import Shared
from .controls import QUEUED, Updates

Make = Callable[[Desk, float], Path]


def wire(shared: Shared, form: Form, view: View) -> None:
    """Each button makes its file, whose link the page then follows."""

    def one(desk: Desk, strength: float) -> Path:
        photo, made = _on_show(desk)
        path = made.folder / f"{Path(made.source).stem}-variant-{photo.chosen + 1}.png"
        io.write_png(path, made.full(photo.chosen, strength))
        return path

    def archive(desk: Desk, strength: float) -> Path:
        _, made = _on_show(desk)
        path = made.folder / "colourised.zip"
        colourise_files.archive(path, [photo.made for photo in desk.photos if photo.made], strength)
        return path

    def settings(desk: Desk, strength: float) -> Path:
        _, made = _on_show(desk)
        return colourise_flow.save_record(shared, made, strength)

    inputs = {form.desk, view.strength}
    outputs = [view.board.status, view.downloads.link]
    downloads = view.downloads
    for button, make in ((downloads.one, one), (downloads.archive, archive), (downloads.settings, settings)):
        button.click(
            _saved(shared, form, view, make), inputs, outputs, show_progress_on=view.board.status, **QUEUED
        )


def _saved(shared: Shared, form: Form, view: View, make: Make) -> Callable[[Updates], Iterator[Updates]]:
    def save(values: Updates) -> Iterator[Updates]:
        yield from view.board.reported(shared, (), steps(values))

    def steps(values: Updates) -> Iterator[Updates]:
        yield {view.board.status: gallery.message("Writing at full size…")}
        path = make(page.desk_of(form, values), values[view.strength] / 100)
        yield {
            view.board.status: gallery.message(f"Saved {path.name}", "done"),
            view.downloads.link: colourise_view.fetched(gallery.file_url(path), path.name),
        }

    return save


def _on_show(desk: Desk) -> tuple[Photo, Coloured]:
    photo = desk.photo
    if photo is None or photo.made is None:
        raise InputError("no coloured photo on show; press Colourise")
    return photo, photo.made
