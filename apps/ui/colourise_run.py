"""What happens on the page between a click on Colourise and the finished variants."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vflow.errors import InputError, VflowError

from . import colourise_flow, gallery
from . import colourise_page as page
from .colourise_desk import Desk, Photo
from .colourise_flow import Wish
from .colourise_page import Form, View
from .common import Shared, one_line
from .controls import Updates


@dataclass
class Tally:
    """What a run over some photos came to."""

    photos: int = 0
    variants: int = 0
    wanted: int = 0
    notes: list[str] = field(default_factory=list)
    failures: list[VflowError] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def summary(self, wishes: Sequence[Wish]) -> str:
        """One line."""
        variants = "1 variant" if self.variants == 1 else f"{self.variants} variants"
        seconds, seed = time.monotonic() - self.began, wishes[0].settings.seed
        if self.variants < self.wanted and not self.failures:
            return f"Stopped after {self.variants} of {self.wanted} variants, seed {seed}"
        many = variants if len(wishes) == 1 else f"{self.photos} of {len(wishes)} photos, {variants}"
        return f"{many} in {seconds:.1f} s, seed {seed}"


@dataclass(frozen=True)
class Runner:
    """One run on the page: yields updates after every eight variants."""

    shared: Shared
    form: Form
    view: View
    session: str

    def everything(self, values: Updates) -> Iterator[Updates]:
        """Colour all photos."""
        desk = page.desk_of(self.form, values)
        yield from self._reported(desk, self._fresh(values, desk.photos))

    def again(self, values: Updates) -> Iterator[Updates]:
        """Colour the photo on show, whose points have changed."""
        desk = page.desk_of(self.form, values)
        yield from self._reported(desk, self._fresh(values, [desk.photo] if desk.photo else []))

    def like(self, values: Updates, index: int) -> Iterator[Updates]:
        """Variants near number ``index`` of those of the photo on show."""
        desk = page.desk_of(self.form, values)
        yield from self._reported(desk, self._near(values, desk.photo, index))

    def _fresh(self, values: Updates, photos: Sequence[Photo]) -> Iterator[Updates]:
        form = self.form
        seed = form.seed.chosen(values)
        colourise_flow.check_number(len(photos))
        wishes = [
            Wish(
                values[form.checkpoint],
                photo.path,
                colourise_flow.settings_from(
                    values[form.num_samples],
                    values[form.temperature],
                    values[form.levels],
                    seed,
                    photo.points,
                ),
            )
            for photo in photos
        ]
        yield {form.seed.value: seed}
        yield from self._steps(values, wishes)

    def _near(self, values: Updates, photo: Photo | None, index: int) -> Iterator[Updates]:
        if photo is None or photo.made is None or not 0 <= index < photo.made.count:
            raise InputError("no such variant; colourise the photo first")
        made = photo.made
        settings = replace(made.settings, num_samples=int(values[self.form.num_samples]))
        near = (*made.near, index)
        yield from self._steps(values, [Wish(made.checkpoint, photo.path, settings, made, near)])

    def _reported(self, desk: Desk, steps: Iterator[Updates]) -> Iterator[Updates]:
        yield from self.view.board.reported(self.shared, [photo.path for photo in desk.photos], steps)

    def _steps(self, values: Updates, wishes: Sequence[Wish]) -> Iterator[Updates]:
        board, tally = self.view.board, Tally(wanted=sum(wish.settings.num_samples for wish in wishes))
        with self.shared.jobs.running(self.session) as flag, self.shared.runs.job() as folder:
            yield {**self._progress(tally, "Reading the photo…"), **board.buttons.working()}
            for number, wish in enumerate(wishes, 1):
                if flag.is_set():
                    break
                of = f"Photo {number} of {len(wishes)}: " if len(wishes) > 1 else ""
                try:
                    yield from self._one(values, wish, tally, of, flag.is_set, folder / str(number))
                except VflowError as error:
                    if len(wishes) == 1:
                        raise
                    tally.failures.append(error)
        if tally.photos == 0 and tally.failures:
            raise tally.failures[0]
        if tally.variants == 0:
            yield {board.status: gallery.message("Stopped before the first variant."), **board.buttons.idle()}
            return
        failed = [one_line(self.shared, error, [wish.path for wish in wishes]) for error in tally.failures]
        done = gallery.message(tally.summary(wishes), "done", [*failed, *tally.notes])
        # Said again: gradio's client may lose what is visible when another update follows at once.
        yield {board.status: done, **board.buttons.idle(), **page.tools(self.form, self.view, values)}

    def _one(
        self,
        values: Updates,
        wish: Wish,
        tally: Tally,
        of: str,
        should_stop: Callable[[], bool],
        folder: Path,
    ) -> Iterator[Updates]:
        """Variants of one photo, put into ``folder``; shown at once if it is the one on show."""
        job = colourise_flow.begin(self.shared, wish)
        before = tally.variants
        for _ in colourise_flow.advance(job, should_stop):
            tally.variants = before + job.done
            yield self._progress(tally, f"{of}variant {job.done} of {wish.settings.num_samples}")
        if not job.done:
            return
        made = colourise_flow.keep(job, folder)
        tally.photos += 1
        tally.notes += job.remarks()
        desk = page.desk_of(self.form, values)
        first = desk.made(wish.path) is None
        at = 0 if wish.near else desk.chosen(wish.path)  # new points: the same variant stays in sight
        desk.change(wish.path, lambda photo: replace(photo, made=made, chosen=min(at, made.count - 1)))
        if desk.photo and desk.photo.path == wish.path:
            editor = {self.view.editor: desk.editor()} if first else {}
            yield {**page.results(self.form, self.view, values), **editor}

    def _progress(self, tally: Tally, text: str) -> Updates:
        text = text[:1].upper() + text[1:]
        bar = gallery.progress(tally.variants, tally.wanted, text, "Variants drawn")
        return {self.view.board.status: bar}
