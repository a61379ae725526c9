"""Components of the Colourise tab, what they become after a click, and its jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import gradio as gr

from vflow.errors import InputError, VflowError, counted
from vflow.pipelines.color.hints import MOST_REACH

from ..shared import checks
from ..shared.context import AppContext, settings_text
from ..shared.events import ComponentGroup, ShouldStop, StatusBar, Steps, Updates
from ..shared.forms import Seed, by_name
from ..shared.html import message, progress
from ..shared.jobs import paced
from ..shared.turns import Turn, work_time
from . import html
from .job import ColorizedPhoto, Job, Request, check_photos, check_settings, has_color
from .state import PhotoState, SessionState


@dataclass(frozen=True)
class Form(ComponentGroup):
    """Inputs of the tab."""

    files: gr.File
    state: gr.State
    checkpoint: gr.Dropdown
    num_samples: gr.Slider
    temperature: gr.Slider
    levels: gr.Textbox
    reach: gr.Slider
    seed: Seed


@dataclass(frozen=True)
class DownloadsOnDemand(ComponentGroup):
    """A row of buttons that make files on demand, and the link that saves the one just made."""

    row: gr.Row
    variant: gr.Button
    archive: gr.Button
    settings: gr.Button
    link: gr.HTML


@dataclass(frozen=True)
class View(ComponentGroup):
    """Outputs of the tab."""

    bar: StatusBar
    photos: gr.HTML
    editor: gr.HTML
    compare: gr.HTML
    tools: gr.Group
    cards: gr.HTML
    downloads: DownloadsOnDemand


@dataclass(frozen=True)
class Page:
    """The tab of one app: answers to clicks, and jobs, as updates of its components.

    Attributes:
        strength: slider of the strength in per cent, which changes pictures without new draws.
    """

    app: AppContext
    form: Form
    view: View
    strength: gr.Slider

    def state(self, values: Updates) -> SessionState:
        """The session state among an event's inputs."""
        state: SessionState = values[self.form.state]
        return state

    # Answers to clicks

    def results(self, values: Updates) -> Updates:
        """The variants of the photo shown, or what stands in their place.

        Raises:
            InputError: they have been cleared from the server.
        """
        photo = self.state(values).photo
        if photo is None or photo.result is None:
            return self._nothing(photo)
        return {**self.large(values), **self.small(values), **self.tools(values)}

    def large(self, values: Updates) -> Updates:
        """The photo before and after, if it has been coloured; raises as ``results``."""
        photo = self.state(values).photo
        if photo is None or photo.result is None:
            return {}
        result = photo.result
        after = result.after(photo.variant, values[self.strength] / 100)
        own = result.original()
        original = own if has_color(own) else None
        hints = result.settings.hints
        large = html.compare(
            result.before(), after, photo.variant, photo.name, original=original, hints=hints
        )
        return {self.view.compare: large}

    def small(self, values: Updates) -> Updates:
        """All variants, if there are any; raises as ``results``."""
        photo = self.state(values).photo
        if photo is None or photo.result is None:
            return {}
        parent = photo.result.near[-1] if photo.result.near else None
        pictures = list(photo.result.cards(values[self.strength] / 100))
        return {self.view.cards: html.cards(pictures, photo.variant, parent=parent)}

    def tools(self, values: Updates) -> Updates:
        """The strength and the downloads, visible if the photo shown has been coloured."""
        photo = self.state(values).photo
        visible = gr.update(visible=photo is not None and photo.result is not None)
        return {self.view.tools: visible, self.view.downloads.row: visible}

    def answer(self, values: Updates, part: Callable[[Updates], Updates]) -> Updates:
        """The updates of ``part``; of variants that have been cleared, an error."""
        state = self.state(values)
        with state.turn:
            try:
                return part(values)
            except VflowError as error:
                nothing = self._nothing(state.photo)
                return {**nothing, self.view.bar.status: message(str(error), "error")}

    def set_photos(self, values: Updates, paths: Sequence[str]) -> Updates:
        """The uploads have become ``paths``: results of the photo shown now, if they were others before."""
        state = self.state(values)
        with state.turn:
            return self.answer(values, self.results) if state.set_paths(paths) else {}

    def uploaded(self, values: Updates) -> Updates:
        """The upload box has other files; it says so of an example and a restored result, too."""
        state = self.state(values)
        with state.turn:
            results = self.set_photos(values, by_name(values[self.form.files]))
            return {self.view.photos: state.photo_list(), self.view.editor: state.editor(), **results}

    def choose_photo(self, values: Updates, action: str, path: str) -> Updates:
        """A button of the thumbnails: ``action`` is choose or remove."""
        state = self.state(values)
        with state.turn:
            files: Updates = {}
            if action == "remove":
                paths = [photo.path for photo in state.photos if photo.path != path]
                files = {self.form.files: paths or None}
                results = self.set_photos(
                    values, paths
                )  # at once: the box's event may come after another click
            else:
                state.select(path)
                results = self.answer(values, self.results)
            return {
                **files,
                self.view.photos: state.photo_list(),
                self.view.editor: state.editor(),
                **results,
            }

    def choose_variant(self, values: Updates, action: str, index: int) -> Updates:
        """A button of the variants: ``action`` is pick or back (to the variants these are near to)."""
        state = self.state(values)
        with state.turn:
            photo = state.photo
            if photo is None or photo.result is None:
                return {}
            result, parent = photo.result, photo.result.parent
            if action == "back" and parent is not None:
                state.update(photo.path, lambda p: p.with_result(parent, result.near[-1]))
            elif action == "pick":
                state.update(photo.path, lambda p: p.with_result(p.result, index) if p.result else p)
            return self.answer(values, self.results)

    def change_hints(self, values: Updates, event: gr.EventData) -> Updates:
        """One hint more or fewer, as colorize.js reports it."""
        state = self.state(values)
        with state.turn:
            if state.photo is None:
                return {}
            try:
                if event.action == "remove":
                    changed = state.photo.without_hint(str(event.hint))
                elif event.action == "undo":
                    changed = state.photo.without_last_hint()
                elif event.action == "clear":
                    changed = state.photo.without_hints()
                else:
                    changed = state.photo.with_hint(float(event.x), float(event.y), str(event.color))
            except VflowError as error:
                return {self.view.bar.status: message(str(error), "error")}
            state.update(changed.path, lambda _: changed)
            return {self.view.editor: state.editor()}

    def _nothing(self, photo: PhotoState | None) -> Updates:
        hidden = gr.update(visible=False)
        return {
            self.view.compare: html.empty("Press Colourise.") if photo else html.empty(),
            self.view.cards: "",
            self.view.tools: hidden,
            self.view.downloads.row: hidden,
        }

    # Jobs: updates after every eight variants

    def colorize_all(self, values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        """Colour all photos."""
        state = self.state(values)
        yield from self._with_errors(state, self._samples(values, state.photos, should_stop))

    def colorize_again(self, values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        """Colour the photo shown, whose hints have changed."""
        state = self.state(values)
        photos = [state.photo] if state.photo else []
        yield from self._with_errors(state, self._samples(values, photos, should_stop))

    def more_like(self, values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        """Variants near one of those of the photo shown."""
        state = self.state(values)
        yield from self._with_errors(state, self._near(values, state.photo, int(event.index), should_stop))

    def _with_errors(self, state: SessionState, steps: Steps) -> Steps:
        yield from self.view.bar.with_errors(self.app, [photo.path for photo in state.photos], steps)

    def _samples(self, values: Updates, photos: Sequence[PhotoState], should_stop: ShouldStop) -> Steps:
        form = self.form
        seed = form.seed.draw(values)
        check_photos(len(photos))
        numbers = values[form.num_samples], values[form.temperature], values[form.levels], seed
        reach = checks.number_within("reach of hints", values[form.reach], 0, 100 * MOST_REACH) / 100
        requests = [
            Request(
                values[form.checkpoint],
                photo.path,
                check_settings(*numbers, [hint._replace(reach=reach) for hint in photo.hints]),
            )
            for photo in photos
        ]
        yield {form.seed.value: seed}
        yield from self._run(values, requests, should_stop)

    def _near(self, values: Updates, photo: PhotoState | None, index: int, should_stop: ShouldStop) -> Steps:
        if photo is None or photo.result is None or not 0 <= index < photo.result.count:
            raise InputError("no such variant; colourise the photo first")
        result = photo.result
        settings = replace(result.settings, num_samples=int(values[self.form.num_samples]))
        request = Request(result.checkpoint, photo.path, settings, result, (*result.near, index))
        yield from self._run(values, [request], should_stop)

    def _run(self, values: Updates, requests: Sequence[Request], should_stop: ShouldStop) -> Steps:
        bar = self.view.bar
        statistics = RunStatistics(sum(request.settings.num_samples for request in requests))
        with self.app.runs.job_folder() as folder:
            yield Turn.READ
            yield {bar.status: statistics.progress("Reading the photo…"), **bar.buttons.working()}
            for number, request in enumerate(requests, 1):
                yield Turn.READ
                if should_stop():
                    break
                prefix = f"Photo {number} of {len(requests)}, variant" if len(requests) > 1 else "Variant"
                try:
                    job = Job.begin(self.app, request)
                    yield Turn.COMPUTE
                    yield from self._draw(job, statistics, prefix, should_stop)
                    if job.done:
                        result = job.save(folder / str(number))
                        yield self._store(values, job.request, result)
                        statistics.add(job)
                except VflowError as error:
                    if len(requests) == 1:
                        raise
                    statistics.failures.append(error)
        if statistics.photos == 0 and statistics.failures:
            raise statistics.failures[0]
        if statistics.variants == 0:
            yield bar.stopped("Stopped before the first variant.")
            return
        paths = [request.path for request in requests]
        failed = [self.app.error_message(error, paths) for error in statistics.failures]
        # Repeated: gradio's client may lose what is visible when another update follows at once.
        tools = self.tools(values)
        yield {**tools, **bar.done(statistics.summary(requests), [*failed, *statistics.notes])}

    def _draw(self, job: Job, statistics: RunStatistics, prefix: str, should_stop: ShouldStop) -> Steps:
        before, earlier, began = statistics.variants, statistics.seconds, work_time()
        for share in paced(job.prepare(should_stop)):
            text = f"Preparing the colour hints: {share:.0%}"
            yield {self.view.bar.status: progress(round(100 * share), 100, text, "Photo prepared")}
        for _ in job.advance(should_stop):
            statistics.variants = before + job.done
            statistics.seconds = earlier + work_time() - began
            text = f"{prefix} {job.done} of {job.request.settings.num_samples}"
            yield {self.view.bar.status: statistics.progress(text)}

    def _store(self, values: Updates, request: Request, result: ColorizedPhoto) -> Updates:
        """Keep the variants of one photo; they appear at once if it is the one shown."""
        state = self.state(values)
        with state.turn:
            old = state.find(request.path)
            # New hints: the same variant stays in sight.
            variant = 0 if request.near or old is None else old.variant
            state.update(request.path, lambda photo: photo.with_result(result, variant))
            if state.photo is None or state.photo.path != request.path:
                return {}
            first = old is not None and old.result is None
            editor = {self.view.editor: state.editor()} if first else {}
            return {**self.results(values), **editor}


@dataclass
class RunStatistics:
    """Counts of a run over some photos, ``wanted`` variants in all; seconds of drawing."""

    wanted: int
    photos: int = 0
    variants: int = 0
    notes: list[str] = field(default_factory=list)
    failures: list[VflowError] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, job: Job) -> None:
        """Count a finished photo."""
        self.photos += 1
        self.notes += job.remarks()

    def progress(self, text: str) -> str:
        """HTML of the progress bar."""
        return progress(self.variants, self.wanted, text, "Variants drawn")

    def summary(self, requests: Sequence[Request]) -> str:
        """One line on the run."""
        settings = requests[0].settings
        made = settings_text(requests[0].checkpoint, temperature=settings.temperature, seed=settings.seed)
        if self.variants < self.wanted and not self.failures:
            return f"Stopped after {self.variants} of {counted(self.wanted, 'variant')} · {made}"
        drawn = counted(self.variants, "variant")
        if len(requests) > 1:
            drawn = f"{self.photos} of {len(requests)} photos, {drawn}"
        return f"{drawn} in {self.seconds:.1f} s · {made}"
