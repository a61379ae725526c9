"""Downloads of the Colourise tab: pictures at the photo's own size take seconds and are made on demand."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from vflow.data import media
from vflow.errors import InputError

from . import colourise_files, colourise_flow, colourise_view, gallery
from . import colourise_page as page
from .colourise_desk import Desk, Photo
from .colourise_files import Coloured
from .colourise_page import Form, View
from .common import Shared
from .controls import QUEUED, Updates

Make = Callable[[Desk, float], Generator[Updates, None, Path]]
"""Yields progress and returns the file."""


def wire(shared: Shared, form: Form, view: View) -> None:
    """Each button makes its file, whose link the page then follows."""
    status = view.board.status

    def one(desk: Desk, strength: float) -> Generator[Updates, None, Path]:
        photo, made = _on_show(desk)
        yield {status: gallery.message("Writing the picture at full size…")}
        path = made.folder / f"{Path(made.source).stem}-variant-{photo.chosen + 1}.png"
        media.write_png(path, made.full(photo.chosen, strength))
        return path

    def archive(desk: Desk, strength: float) -> Generator[Updates, None, Path]:
        _, made = _on_show(desk)
        path = made.folder / "colourised.zip"
        every = [photo.made for photo in desk.photos if photo.made]
        total = sum(coloured.count for coloured in every)
        yield {status: gallery.progress(0, total, "Writing pictures at full size…", "Pictures written")}
        for done in colourise_files.archive(path, every, strength):
            text = f"Picture {min(done + 1, total)} of {total} at full size"
            yield {status: gallery.progress(done, total, text, "Pictures written")}
        return path

    def settings(desk: Desk, strength: float) -> Generator[Updates, None, Path]:
        _, made = _on_show(desk)
        yield {status: gallery.message("Writing the settings…")}
        return colourise_flow.save_record(shared, made, strength)

    inputs, downloads = {form.desk, view.strength}, view.downloads
    for button, make in ((downloads.one, one), (downloads.archive, archive), (downloads.settings, settings)):
        save = _saved(shared, form, view, make)
        outputs = [*view.board.components(), downloads.link]
        button.click(save, inputs, outputs, show_progress_on=status, **QUEUED)


def _saved(shared: Shared, form: Form, view: View, make: Make) -> Callable[[Updates], Iterator[Updates]]:
    def save(values: Updates) -> Iterator[Updates]:
        yield from view.board.reported(shared, (), steps(values))

    def steps(values: Updates) -> Iterator[Updates]:
        path = yield from make(page.desk_of(form, values), values[view.strength] / 100)
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
