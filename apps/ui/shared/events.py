"""Events that start jobs, the status of a job, and the downloads of its result."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import Context

from vflow.errors import VflowError

from . import html
from .context import AppContext, to_gradio_error
from .recent import Updates, merge
from .turns import Party, Turn

Shown = AsyncGenerator[Updates, None]
Steps = Generator[Updates | Turn, None, None]
"""Updates of a job, each in the turn that it asked for last."""

# Buttons inside gr.HTML report which one was clicked; `select`, or the event that the button names, then
# carries index, action and key to Python: the key names what the button stands for, whose place may change.
ON_CLICK = """element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-index]');
  if (!button) return;
  const {index, action, key, event: name} = button.dataset;
  trigger(name || 'select', {index: Number(index), action: action || '', key: key || ''});
});"""
# Scripts of the page send a component other payloads; the event is named in the same way. The time, in
# milliseconds since the page was opened, tells which is newer.
ON_PAYLOAD = """element.addEventListener('vf-payload', ({detail, timeStamp}) => {
  trigger(detail.event || 'select', {...detail, time: timeStamp});
});"""
FOLLOW_LINK = "watch('value', () => element.querySelector('a')?.click());"  # as soon as it is there

GONE = "That result has since been deleted; run it again."
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
QUICK: dict[str, Any] = {**PRIVATE, "queue": False}
SETTLED = 0.5  # seconds in which the page has drawn an update
JOB: dict[str, Any] = {"concurrency_id": "jobs", "concurrency_limit": None}
"""Of every event that starts a job, which begins at once: ``Turns`` gives it its turns."""
QUEUED: dict[str, Any] = {
    **JOB,
    "api_visibility": "private",
    "show_progress": "minimal",  # place in the queue and seconds; the work itself shows in the status
}


class ComponentGroup:
    """A dataclass of components, of other groups and of tuples of such."""

    def components(self) -> list[Any]:
        """All of them, as inputs or outputs of an event."""
        return [component for part in vars(self).values() for component in flat(part)]


def flat(part: Any) -> list[Any]:
    """Components of a part of a group; none of None."""
    if isinstance(part, ComponentGroup):
        return part.components()
    if isinstance(part, tuple):
        return [component for each in part for component in flat(each)]
    return [] if part is None else [part]


def html_block(value: str, identifier: str | None = None, **options: Any) -> gr.HTML:
    """HTML without gradio's own styles."""
    return gr.HTML(value, apply_default_css=False, elem_id=identifier, **options)


ShouldStop = Callable[[], bool]
JobWork = Callable[[ShouldStop], Steps]
Work = Callable[[Updates, gr.EventData, ShouldStop], Steps]
Prepare = Callable[[Updates, gr.EventData], Updates]


def no_changes(values: Updates, event: gr.EventData) -> Updates:
    """No change to the form before a job."""
    return {}


@dataclass(frozen=True)
class Trigger:
    """An event that starts a job.

    Attributes:
        event: the listener, such as ``button.click``.
        work: the job: values of the form, the event's data and ``should_stop`` → updates, and the turns that
            it needs; ends early when told to stop.
        prepare: changes to the form at once, before the job's turn; ``work`` finds them in its values.
        group: a new job supersedes the one of its group that waits or runs.
    """

    event: Callable[..., Any]
    work: Work
    prepare: Prepare = no_changes
    group: str = ""


@dataclass(frozen=True)
class LastResult:
    """A tab's last result, which the browser knows by its token, and a line that offers it after a reload.

    Attributes:
        inputs: components whose values belong to the result beside what the job changes.
    """

    app: AppContext
    token: gr.BrowserState
    line: gr.HTML
    inputs: Sequence[Any]

    @classmethod
    def of(cls, app: AppContext, tab: str, line: gr.HTML, inputs: Sequence[Any]) -> LastResult:
        """The last result of a tab that is being built."""
        token = gr.BrowserState(None, storage_key=f"vflow-{tab}", render=False)
        app.outside_tabs.append(token)
        return cls(app, token, line, inputs)

    def kept(
        self, status: gr.HTML, session: str | None, known: Updates, work: JobWork, should_stop: ShouldStop
    ) -> Steps:
        """The steps of ``work``, whose result is kept once its status says done."""
        shown = {part: known[part] for part in self.inputs if part in known}
        with closing(work(should_stop)) as steps:
            for updates in steps:
                if isinstance(updates, Turn):
                    yield updates
                    continue
                merge(shown, updates)
                if "vf-done" in str(updates.get(status)):  # not in one of its own, which could undo this one
                    updates = {**updates, self.token: self.app.recent.keep(shown, session)}
                yield updates

    def wire(self, outputs: Sequence[Any]) -> None:
        """Offer the result when the page is opened, and show it on a click."""

        def offer(token: Any, request: gr.Request) -> str:
            minutes = self.app.recent.minutes(token, request.session_hash)
            return "" if minutes is None else html.offer(minutes)

        def show(token: Any, request: gr.Request) -> Updates:
            found = self.app.recent.find(token, request.session_hash)
            return {self.line: "" if found else html.note(GONE), **(found or {})}

        root, tab = Context.root_block, Context.block
        assert isinstance(root, gr.Blocks)
        openings = [tab.select] if isinstance(tab, gr.Tab) else []
        if not openings or tab.parent.children[0] is tab:  # the others are selected after it
            openings.append(root.load)
        gr.on(openings, offer, self.token, self.line, **QUICK)
        parts = list(dict.fromkeys([*outputs, *self.inputs]))
        self.line.select(show, self.token, [*parts, self.line], **QUICK)


class NewestWins:
    """Jobs where only the newest counts: an event ends the one that waits or runs, and starts another.

    A request stays on the server with the values and the data of its event; gradio's own ``always_last``
    would answer the last of several events with the data of the first.

    Args:
        about: the input whose value a job is about, if ``discard`` is to spare some jobs.
    """

    def __init__(
        self,
        app: AppContext,
        name: str,
        status: gr.HTML,
        last: LastResult | None = None,
        about: Any = None,
    ) -> None:
        self._app, self._name, self._status, self._last, self._about = app, name, status, last, about
        self._groups: set[str] = set()

    def add(self, trigger: Trigger, inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
        """Wire a trigger; returns the event of its work."""

        def prepare(values: Updates, event: gr.EventData, request: gr.Request) -> Updates:
            key = self._key(request, trigger.group)
            number = self._app.jobs.begin(key)
            changes = trigger.prepare(values, event)
            known = {**values, **{part: value for part, value in changes.items() if not _is_update(value)}}
            work: JobWork = partial(trigger.work, known, event)
            if self._last:
                work = partial(self._last.kept, self._status, request.session_hash, known, work)
            newest = self._app.jobs.request(key, work, number, known.get(self._about))
            return unless_empty(changes if newest else {}, self._status)

        async def work(request: gr.Request) -> Shown:
            buttons: Updates = {}
            with self._app.jobs.running(self._key(request, trigger.group)) as job:
                if job:
                    steps, stop = job.work(job.should_stop), job.should_stop
                    async with aclosing(in_turn(self._app, steps, self._status, request, stop)) as shown:
                        async for updates in shown:
                            if job.superseded:
                                break
                            if updates:
                                pressed = {k: v for k, v in updates.items() if isinstance(k, gr.Button)}
                                buttons.update(pressed)
                                yield updates
                # Gradio repeats the last update at the end, over what is newer, such as an empty panel: so it
                # is one without a result. Where it follows at once, the page loses the files of the one
                # before; a page of a busy machine may also have lost what became of the buttons.
                await asyncio.sleep(SETTLED)
                yield unless_empty({} if job is None or job.superseded else buttons, self._status)

        self._groups.add(trigger.group)
        begun = trigger.event(prepare, set(inputs), list(outputs), trigger_mode="multiple", **QUICK)
        results = [*outputs, self._last.token] if self._last else list(outputs)
        return begun.then(
            work, None, results, show_progress_on=self._status, trigger_mode="multiple", **QUEUED
        )

    def stop(self, request: gr.Request) -> None:
        """End the running jobs after the step they are at."""
        for group in self._groups:
            self._app.jobs.stop(self._key(request, group))

    def withdraw(self, request: gr.Request) -> None:
        """Forget the jobs that wait."""
        for group in self._groups:
            self._app.jobs.withdraw(self._key(request, group))

    def discard(self, request: gr.Request, unless: Any = None) -> bool:
        """Forget the jobs that wait, and let those that run end without a result.

        Events are answered side by side: where the one that ends jobs comes with the input that the newest
        job is about (``unless``), the click that began the job came later. Returns False where one is spared
        so.
        """
        jobs = self._app.jobs
        discarded = [jobs.discard(self._key(request, group), unless) for group in self._groups]
        return all(discarded)

    def _key(self, request: gr.Request, group: str) -> str:
        return f"{request.session_hash}/{self._name}/{group}"


@dataclass
class NewestPayload:
    """The newest of a page's payloads, which are answered side by side and not in their order.

    Lives in ``gr.State`` and is changed in place, so that no answer undoes a newer one's.

    Attributes:
        value: what the newest brought.
    """

    value: Any = None
    time: float = -1.0

    def take(self, event: gr.EventData, value: Any = None) -> bool:
        """Keep what a payload brought; False, and nothing changes, where a newer one came first."""
        if event.time < self.time:
            return False
        self.value, self.time = value, event.time
        return True


def in_turn(
    app: AppContext,
    steps: Steps,
    status: gr.HTML,
    request: gr.Request,
    should_stop: ShouldStop = lambda: False,
) -> Shown:
    """``steps`` in the turns of the ``request``; while they wait, ``status`` says so."""

    def waiting(text: str | None) -> Updates:
        return {status: gr.skip() if text is None else html.message(text)}

    return app.turns.take(steps, Party.of(request), waiting, should_stop)


def unless_empty(updates: Updates, component: Any) -> Updates:
    """The updates; where there are none, one that changes nothing, for gradio takes no empty dictionary."""
    return updates or {component: gr.skip()}


def _is_update(value: Any) -> bool:
    """True for gradio's change of a component's other properties, or no change."""
    return isinstance(value, dict) and "__type__" in value


@dataclass(frozen=True)
class Buttons(ComponentGroup):
    """Run and Stop; ``stop`` (a running job) and ``cancel`` (a queued one) share one place."""

    run: gr.Button
    stop: gr.Button
    cancel: gr.Button

    @classmethod
    def row(cls, label: str, tab: str, *, ready: bool) -> Buttons:
        """All three in a row; without a model (``ready``) Run is off."""
        with gr.Row(elem_classes="vf-actions"):
            run = gr.Button(
                label, variant="primary", scale=2, min_width=120, interactive=ready, elem_id=f"vf-{tab}-run"
            )
            stop = gr.Button(
                "Stop", variant="stop", min_width=90, interactive=False, elem_id=f"vf-{tab}-stop"
            )
            cancel = gr.Button(
                "Stop", variant="stop", min_width=90, visible=False, elem_id=f"vf-{tab}-cancel"
            )
        return cls(run, stop, cancel)

    def waiting(self) -> Updates:
        """After a click, until this job's turn: Stop leaves the queue."""
        return {
            self.run: gr.update(interactive=False),
            self.stop: gr.update(visible=False),
            self.cancel: gr.update(visible=True),
        }

    def working(self) -> Updates:
        """During a job: Stop ends it after the step it is at and keeps what there is."""
        return {self.cancel: gr.update(visible=False), self.stop: gr.update(visible=True, interactive=True)}

    def finishing(self) -> Updates:
        """The end of a job, which cannot be stopped any more."""
        return {self.stop: gr.update(interactive=False)}

    def idle(self) -> Updates:
        """No job."""
        return {
            self.run: gr.update(interactive=True),
            self.stop: gr.update(visible=True, interactive=False),
            self.cancel: gr.update(visible=False),
        }


def run_place() -> gr.Column:
    """Place for the buttons in front of the settings, in sight when the page opens; enter it to fill it."""
    return gr.Column(elem_classes="vf-run")


def status_line(value: str, identifier: str) -> gr.HTML:
    """A line that says how far a job is."""
    return html_block(value, identifier, elem_classes="vf-status-line", min_height=34)


@dataclass(frozen=True)
class StatusBar(ComponentGroup):
    """Status line and buttons of a tab."""

    status: gr.HTML
    buttons: Buttons
    offer: gr.HTML

    @classmethod
    def below(cls, buttons: Buttons, tab: str) -> StatusBar:
        """A status line of its own for ``buttons``."""
        line = status_line(html.message("Ready."), f"vf-{tab}-status")
        return cls(line, buttons, html_block("", f"vf-{tab}-offer", js_on_load=ON_CLICK))

    def waiting(self) -> Updates:
        """The job stands in the queue."""
        return {self.status: html.message("Waiting for the model…"), **self.buttons.waiting()}

    def on_cancel(self) -> Updates:
        """The person left the queue."""
        return {self.status: html.message("Stopped before it began."), **self.buttons.idle()}

    def stopped(self, text: str) -> Updates:
        """The person stopped the job before it had a result."""
        return {self.status: html.message(text), **self.buttons.idle()}

    def done(self, text: str, notes: Sequence[str] = ()) -> Updates:
        """The job has a result."""
        return {self.status: html.message(text, "done", notes), **self.buttons.idle()}

    def with_errors(
        self, app: AppContext, files: Sequence[str], steps: Steps, nothing: Updates | None = None
    ) -> Steps:
        """``steps``; a failure stays readable in the status line, an expected one shows as a toast too.

        Args:
            nothing: updates that empty the panel of results, which would not be those of the form.
        """
        try:
            yield from steps
        except VflowError as error:
            text = app.error_message(error, files)
            yield {**(nothing or {}), **self._failed(text)}
            raise to_gradio_error(text) from None
        except Exception:
            yield {**(nothing or {}), **self.failed()}
            raise

    def failed(self) -> Updates:
        """A failure that nobody foresaw."""
        return self._failed("Something went wrong on the server; its log says more.")

    def _failed(self, text: str) -> Updates:
        return {self.status: html.message(text, "error"), **self.buttons.idle()}


def wire_jobs(
    app: AppContext,
    tab: str,
    bar: StatusBar,
    triggers: Sequence[Trigger],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    kept: Sequence[Any] = (),
    about: Any = None,
) -> NewestWins:
    """Wire the triggers of a tab's jobs, Stop, and leaving the queue; returns what can end them.

    Args:
        kept: inputs whose values belong to a result that is offered after a reload.
        about: the input that ``NewestWins.discard`` knows a job by.
    """
    last = LastResult.of(app, tab, bar.offer, kept)
    newest = NewestWins(app, tab, bar.status, last, about)
    jobs = []
    for trigger in triggers:

        def prepare(values: Updates, event: gr.EventData, trigger: Trigger = trigger) -> Updates:
            return {**bar.waiting(), bar.offer: "", **trigger.prepare(values, event)}

        jobs.append(newest.add(Trigger(trigger.event, trigger.work, prepare, trigger.group), inputs, outputs))
    for job in jobs:
        job.failure(bar.buttons.idle, None, outputs, **QUICK)  # such as a full queue

    def on_cancel(request: gr.Request) -> Updates:
        newest.withdraw(request)
        return bar.on_cancel()

    last.wire(outputs)
    bar.buttons.stop.click(newest.stop, None, None, **QUICK)
    bar.buttons.cancel.click(on_cancel, None, outputs, cancels=jobs, **QUICK)
    return newest


@dataclass(frozen=True)
class Downloads(ComponentGroup):
    """A row of buttons for a result's files, hidden until there is one."""

    row: gr.Row
    buttons: tuple[gr.DownloadButton, ...]
    command: gr.HTML

    @classmethod
    def below(cls, *labels: str) -> Downloads:
        """A button for each label; with an empty one it is labelled by the file's name."""
        with gr.Row(visible=False, elem_classes="vf-downloads") as row:
            buttons = tuple(gr.DownloadButton(label, size="sm", min_width=100) for label in labels)
        return cls(row, buttons, html_block(""))

    def hide(self) -> Updates:
        """No result, so no files."""
        return {self.row: gr.update(visible=False), self.command: ""}

    def show(self, *files: Path) -> Updates:
        """Offer these files, one for each button, and the command that settings among them name."""
        *_, last = files
        facts = json.loads(last.read_text(encoding="utf-8")) if last.suffix == ".json" else {}
        return {
            self.row: gr.update(visible=True),
            self.command: html.command(facts["command"]) if facts.get("command") else "",
            **{
                button: str(path)
                if button.label
                else gr.update(value=str(path), label=f"Download {path.name}")
                for button, path in zip(self.buttons, files, strict=True)
            },
        }


@dataclass(frozen=True)
class View(ComponentGroup):
    """Outputs of a tab."""

    bar: StatusBar
    results: gr.HTML
    downloads: Downloads

    def nothing(self, placeholder: str) -> Updates:
        """No result: ``placeholder`` (HTML) in its place, and no files."""
        return {self.results: placeholder, **self.downloads.hide()}


def wire_clear(files: gr.File, view: View, jobs: NewestWins, placeholder: str) -> None:
    """Empty the panel of results when a person clears the upload box; a running job ends without one."""

    def clear(request: gr.Request) -> Updates:
        jobs.discard(request)
        return {**view.nothing(placeholder), **view.bar.stopped("Ready.")}

    files.clear(clear, None, view.components(), **QUICK)
