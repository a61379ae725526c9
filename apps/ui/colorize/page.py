"""Components of the Colourise tab, what they become after a click, and its jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gradio as gr

from vflow.errors import InputError, VflowError, counted
from vflow.tasks.colorize.settings import MOST_REACH, ColorSettings

from ..shared import checks
from ..shared.context import AppContext, settings_text
from ..shared.events import ComponentGroup, ShouldStop, StatusBar, Steps, Updates
from ..shared.faces import Job
from ..shared.forms import Upload, by_name
from ..shared.html import message, progress
from ..shared.jobs import paced
from ..shared.task_tab import TaskForm
from ..shared.turns import Turn
from . import html
from .job import FACE, ColorizedPhoto, has_color
from .state import PhotoState, SessionState

REACH = "At 100 a hint colours the thing that it lies on; lower values reach less far, higher ones further."


class Form(TaskForm):
    """Inputs of the tab."""

    files: gr.File

    def __init__(self, app: AppContext, files: gr.File, state: gr.State) -> None:
        super().__init__(app, FACE, Upload(files))
        self.state = state

    def further(self) -> None:
        self.reach = gr.Slider(
            0, 100 * MOST_REACH, 100, step=5, label="Reach of colour hints in %", info=REACH
        )

    def components(self) -> list[Any]:
        return [*super().components(), self.state, self.reach]

    def usual(self, checkpoint: str | None) -> Updates:
        return {**super().usual(checkpoint), self.reach: self.reach.value}


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
        hints = result.settings.points
        large = html.compare(
            result.before(), after, photo.variant, photo.name, original=original, hints=hints
        )
        return {self.view.compare: large}

    def small(self, values: Updates) -> Updates:
        """All variants, if there are any; raises as ``results``."""
        photo = self.state(values).photo
        if photo is None or photo.result is None:
            return {}
        *_, parent = None, *photo.result.settings.near
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
                state.update(photo.path, lambda p: p.with_result(parent, result.settings.near[-1]))
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
        FACE.paths([photo.path for photo in photos])
        settings = form.settings(values)
        reach = checks.number_within("reach of hints", values[form.reach], 0, 100 * MOST_REACH) / 100
        plan = [
            (photo.path, settings.model_copy(update={"hints": photo.hints_within(reach)})) for photo in photos
        ]
        if form.seed:
            yield {form.seed.value: settings.seed}
        yield from self._run(values, values[form.checkpoint], plan, should_stop)

    def _near(self, values: Updates, photo: PhotoState | None, index: int, should_stop: ShouldStop) -> Steps:
        if photo is None or photo.result is None or not 0 <= index < photo.result.count:
            raise InputError("no such variant; colourise the photo first")
        result = photo.result
        near = (*result.settings.near, index)
        number = int(values[self.form.parts["num_samples"]])
        settings = result.settings.model_copy(update={"num_samples": number, "near": near})
        yield from self._run(values, result.checkpoint, [(photo.path, settings)], should_stop, result)

    def _run(
        self,
        values: Updates,
        checkpoint: str,
        plan: Sequence[tuple[str, ColorSettings]],
        should_stop: ShouldStop,
        parent: ColorizedPhoto | None = None,
    ) -> Steps:
        """Colour photos with settings of their own; the results may be near one of ``parent``."""
        bar = self.view.bar
        statistics = RunStatistics(sum(settings.num_samples for _, settings in plan))
        with self.app.runs.job_folder() as folder:
            yield Turn.READ
            yield {bar.status: statistics.progress("Reading the photo…"), **bar.buttons.working()}
            for number, (path, settings) in enumerate(plan, 1):
                yield Turn.READ
                if should_stop():
                    break
                prefix = f"Photo {number} of {len(plan)}, variant" if len(plan) > 1 else "Variant"
                try:
                    job = FACE.begin(self.app, checkpoint, settings, [path])
                    yield Turn.COMPUTE
                    yield from self._draw(job, statistics, prefix, should_stop)
                    if job.done:
                        result = job.save(self.app, folder / str(number))
                        statistics.add(job, result)
                        yield self._store(values, path, replace(result, parent=parent))
                except VflowError as error:
                    if len(plan) == 1:
                        raise
                    statistics.failures.append(error)
        if statistics.photos == 0 and statistics.failures:
            raise statistics.failures[0]
        if statistics.variants == 0:
            yield bar.stopped("Stopped before the first variant.")
            return
        paths = [path for path, _ in plan]
        failed = [self.app.error_message(error, paths) for error in statistics.failures]
        # Repeated: gradio's client may lose what is visible when another update follows at once.
        tools = self.tools(values)
        summary = statistics.summary(checkpoint, plan[0][1], len(plan))
        yield {**tools, **bar.done(summary, [*failed, *statistics.notes])}

    def _draw(self, job: Job, statistics: RunStatistics, prefix: str, should_stop: ShouldStop) -> Steps:
        for share in paced(job.given.prepare(job.settings)):
            if should_stop():
                break
            text = f"Preparing the colour hints: {share:.0%}"
            yield {self.view.bar.status: progress(round(100 * share), 100, text, "Photo prepared")}
        for _ in job.advance(should_stop):
            text = f"{prefix} {job.done} of {job.total}"
            yield {self.view.bar.status: statistics.progress(text, job.done)}

    def _store(self, values: Updates, path: str, result: ColorizedPhoto) -> Updates:
        """Keep the variants of one photo; they appear at once if it is the one shown."""
        state = self.state(values)
        with state.turn:
            old = state.find(path)
            # New hints: the same variant stays in sight.
            variant = 0 if result.settings.near or old is None else old.variant
            state.update(path, lambda photo: photo.with_result(result, variant))
            if state.photo is None or state.photo.path != path:
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

    def add(self, job: Job, result: ColorizedPhoto) -> None:
        """Count a finished photo."""
        self.photos += 1
        self.variants += job.done
        self.seconds += job.seconds
        self.notes += job.remarks(result)

    def progress(self, text: str, more: int = 0) -> str:
        """HTML of the progress bar; ``more`` variants are of the photo under way."""
        return progress(self.variants + more, self.wanted, text, "Variants drawn")

    def summary(self, checkpoint: str, settings: ColorSettings, photos: int) -> str:
        """One line on the run."""
        made = settings_text(checkpoint, temperature=settings.temperature, seed=settings.seed)
        if self.variants < self.wanted and not self.failures:
            return f"Stopped after {self.variants} of {counted(self.wanted, 'variant')} · {made}"
        drawn = counted(self.variants, "variant")
        if photos > 1:
            drawn = f"{self.photos} of {photos} photos, {drawn}"
        return f"{drawn} in {self.seconds:.1f} s · {made}"
