"""What happens on the page between a click on Predict and the finished grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from . import engine, examples, gallery
from .common import Shared, first_levels, first_temperature
from .controls import Board, Seed, Updates
from .maps import mean_frames
from .runs import Run
from .uploads import paths_of


@dataclass(frozen=True)
class Draw:
    """Inputs that decide what is drawn."""

    num_samples: gr.Slider
    num_frames: gr.Slider
    temperature: gr.Slider
    levels: gr.Textbox
    seed: Seed


@dataclass(frozen=True)
class Form:
    """Inputs of the tab."""

    files: gr.File
    checkpoint: gr.Dropdown
    draw: Draw
    fps: gr.Slider

    def components(self) -> set[Any]:
        """All of them, as the ``inputs`` of an event whose handler takes a dictionary."""
        draw = self.draw
        numbers = {draw.num_samples, draw.num_frames, draw.temperature, draw.levels}
        return {self.files, self.checkpoint, self.fps, *numbers, *vars(draw.seed).values()}


@dataclass(frozen=True)
class Downloads:
    """The row of downloads and the buttons in it."""

    row: gr.Row
    native: gr.DownloadButton
    archive: gr.DownloadButton
    settings: gr.DownloadButton


@dataclass(frozen=True)
class View:
    """Outputs of the tab."""

    board: Board
    results: gr.HTML
    downloads: Downloads
    run: gr.State

    def components(self) -> list[Any]:
        """All of them, as the ``outputs`` of an event."""
        return [*self.board.components(), self.results, self.run, *vars(self.downloads).values()]


def example(shared: Shared, form: Form, index: int) -> Updates:
    """The form filled in from an example; a checkpoint that is not there leaves the chosen one."""
    example = examples.offered(shared.models.names("videoflow"))[index]
    known = example.checkpoint in shared.models.names("videoflow")
    return {
        form.files: examples.copied(example, shared.cache),
        form.checkpoint: example.checkpoint if known else gr.skip(),
        form.draw.num_frames: example.num_frames,
        form.draw.temperature: first_temperature(shared, example.checkpoint) if known else gr.skip(),
        form.draw.levels: first_levels(shared, example.checkpoint) if known else gr.skip(),
    }


@dataclass(frozen=True)
class Flow:
    """One prediction on the page: yields updates after every frame."""

    shared: Shared
    form: Form
    view: View
    session: str

    def predict(self, values: Updates) -> Iterator[Updates]:
        """Predict from the uploaded files."""
        files = paths_of(values[self.form.files])
        yield from self.view.board.reported(self.shared, files, self._steps(values, files))

    def go_on(self, values: Updates, index: int) -> Iterator[Updates]:
        """Predict from the last frames of future ``index`` of the run on the page."""
        yield from self.view.board.reported(
            self.shared, (), self._continued(values, values[self.view.run], index)
        )

    def _continued(self, values: Updates, run: Run, index: int) -> Iterator[Updates]:
        yield from self._steps({**values, self.form.checkpoint: run.checkpoint}, run.future(index))

    def _steps(self, values: Updates, source: Sequence[str] | np.ndarray) -> Iterator[Updates]:
        form, view = self.form, self.view
        name, draw = values[form.checkpoint], form.draw
        seed = draw.seed.chosen(values)
        settings = engine.settings_from(
            values[draw.num_samples],
            values[draw.num_frames],
            values[draw.temperature],
            values[draw.levels],
            seed,
        )
        total = settings.num_frames
        with self.shared.jobs.running(self.session) as flag:
            reading = gallery.progress(0, total, "Reading the frames…")
            yield {view.board.status: reading, draw.seed.value: seed, **view.board.buttons.working()}
            job = engine.begin(self.shared, engine.Wish(name, source, settings))
            clock = self.shared.jobs.clock(str(name), engine.work(settings))
            yield _frame_done(view, job, clock.left(total))
            for _ in engine.advance(job, flag.is_set):
                clock.frame_done()
                yield _frame_done(view, job, clock.left(total - job.done))
        if job.done == 0:
            stopped = gallery.message("Stopped before the first frame.")
            yield {view.board.status: stopped, view.results: gallery.empty(), **view.board.buttons.idle()}
            return
        seconds = clock.elapsed()
        writing = gallery.progress(job.done, total, "Writing previews…")
        yield {view.board.status: writing, view.board.buttons.stop: gr.update(interactive=False)}
        run = engine.keep(self.shared, job, values[form.fps])
        yield _finished(view, job, run, seconds)


def _frame_done(view: View, job: engine.Job, left: float | None) -> Updates:
    total = job.wish.settings.num_frames
    rest = "" if left is None else f" · about {_duration(left)} left"
    text = f"Frame {min(job.done + 1, total)} of {total}{rest}"
    return {
        view.board.status: gallery.progress(job.done, total, text),
        view.results: gallery.live(job.prepared.context, job.futures, total),
    }


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"


def _finished(view: View, job: engine.Job, run: Run, seconds: float) -> Updates:
    last = [*job.futures[:, -1], mean_frames(job.futures)[-1]]
    return {
        view.board.status: gallery.message(_summary(job, seconds), "done", _remarks(job)),
        view.results: gallery.player(run, last),
        view.downloads.row: gr.update(visible=True),
        view.downloads.native: str(run.native),
        view.downloads.archive: str(run.archive),
        view.downloads.settings: str(run.settings),
        view.run: run,
        **view.board.buttons.idle(),
    }


def _summary(job: engine.Job, seconds: float) -> str:
    settings, done = job.wish.settings, job.done
    futures = "1 future" if settings.num_samples == 1 else f"{settings.num_samples} futures"
    frames = "1 frame" if done == 1 else f"{done} frames"
    many = f"{futures} × {frames}"
    if done < settings.num_frames:
        many = f"Stopped after frame {done} of {settings.num_frames}: {futures}"
    return f"{many} in {seconds:.1f} s, seed {settings.seed}"


def _remarks(job: engine.Job) -> list[str]:
    remarks = [note[:1].upper() + note[1:] for note in job.prepared.notes]
    if job.prepared.far_outside:
        remarks.insert(0, "These frames are unlike what this model was trained on; expect poor futures.")
    if job.redrawn:
        remarks.append(f"{job.redrawn} frame(s) were not finite and were drawn again.")
    return remarks
