"""Tasks of the registry in the app: requests, jobs, and what a task's tab and endpoint show of them."""

from __future__ import annotations

import math
import shlex
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import gradio as gr
import numpy as np

from vflow.config.settings import Settings, Shown
from vflow.data import media
from vflow.errors import InputError, counted
from vflow.pipelines.batch.inputs import Item
from vflow.pipelines.batch.records import record_class
from vflow.pipelines.runner import Task
from vflow.pipelines.selection import Purpose
from vflow.registry import Command, Family, families, further, resolve

from . import checks, html
from .context import AppContext, settings_text
from .events import ON_CLICK, html_block
from .examples import picture_file, picture_strip
from .html import reduced
from .jobs import Clock
from .opening import OPENINGS, opening
from .storage import free_name, still_there
from .turns import work_time

if TYPE_CHECKING:
    from .task_tab import TaskForm, TaskView

PREVIEW = 768  # pixels of the longer side of an upload on the page
SETTINGS = "settings.json"
CHOOSE, REDUCE = "choose", "reduce"  # what a button makes of a photo that is too large


@dataclass
class Job:
    """A task under way on one item: its results so far, and the seconds they took."""

    face: Face
    checkpoint: str | None
    settings: Any
    model: Any
    name: str
    paths: tuple[Path, ...]
    given: Any
    results: list[Any] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def done(self) -> int:
        return self.face.done(self)

    @property
    def total(self) -> int:
        return self.face.total(self)

    @property
    def steps_left(self) -> float:
        """Results to come, or the share of all that is."""
        if self.face.timed_as_one:
            return 1 - self.done / self.total
        return -(-(self.total - self.done) // self.face.at_once)

    def advance(self, should_stop: Callable[[], bool]) -> Iterator[None]:
        """Go on result by result; ``results`` grows before each step is yielded.

        Raises:
            CheckpointError, InputError: with the message to show.
        """
        began = work_time()
        for result in self.face.steps(self, should_stop):
            self.results.append(result)
            self.seconds = work_time() - began
            yield
            if should_stop():
                return

    def save(self, app: AppContext, folder: Path) -> Any:
        """The result: files of the task, and the settings that make them again, in ``folder``.

        Raises:
            InputError: the folder that it lies in was cleared.
        """
        with still_there(self.face.gone):
            folder.mkdir(exist_ok=True)
            return self.face.save(app, self, folder)

    def summary(self) -> str:
        """One line on what was made."""
        used = {name: getattr(self.settings, name, None) for name in ("temperature", "seed")}
        made = settings_text(self.checkpoint, **used)
        return f"{self.face.drawn(self)} in {self.seconds:.1f} s{f' · {made}' if self.checkpoint else ''}"

    def remarks(self, result: Any) -> list[str]:
        """Further remarks for people on what ``save`` gave."""
        redrawn = sum(step.counts.redrawn for step in self.results)
        again = [f"{counted(redrawn, self.face.unit)} redrawn because of non-finite values."]
        notes = [*self.face.remarks(self, result), *self.face.notes(self)]
        notes += again if redrawn else []
        file = f"{self.paths[0].name}: " if self.paths and self.face.names_files else ""
        return [f"{file}{note}" for note in notes]


@dataclass(frozen=True)
class Files:
    """A result on disk whose pictures are shown as they are."""

    folder: Path
    name: str

    @property
    def settings(self) -> Path:
        return self.folder / SETTINGS

    @property
    def made(self) -> list[Path]:
        """Files that the task wrote."""
        files = sorted(self.folder.iterdir())
        return [path for path in files if path.is_file() and path.name not in (SETTINGS, *Face.outputs)]


@dataclass(frozen=True)
class Face:
    """The parts of a task's tab and endpoint that its settings do not say; those of a task without its own.

    Attributes:
        joined: faces of the families whose models the command draws with, too.
        sample: its name on the page, where the command has another. noun: an input's. verb: of the button.
        downloads: labels of the result's files. outputs: what the endpoint gives: files, and a ``report``.
        label: of the upload box, where it is not the noun. chooses: a person chooses the checkpoint.
        past: of what is done with a sample. finishing: words on the work after the last.
        timed_as_one: the time of a job is known as a whole, its files included, and not result by result.
        further: name of the family's further command that it is the face of.
        purpose: what a checkpoint is chosen for, where an endpoint is to find it.
        keeps: the page keeps the result, for what is asked about it later; large ones are not kept.
        fits: the app knows how inputs fit its models. picks: buttons inside a result change what it shows.
        names_files: remarks begin with the name of their file.
        shortened: setting that a job stopped early has less of. at_once: samples of a result.
        most: inputs at once. added: what to add where there is none. gone: said of a result that was cleared.
        limited_by: setting with choices that says how many pixels of a photo the page takes; a larger one can
            be reduced, or an area of it chosen.
        details: further sentences of the endpoint's help. pictures: examples, title → file of apps/examples.
    """

    family: Family
    joined: tuple[Face, ...] = ()

    sample: ClassVar[str] = ""
    noun: ClassVar[str] = "photo"
    verb: ClassVar[str] = "Run"
    downloads: ClassVar[tuple[str, ...]] = ("Files (zip)", "Settings (json)")
    outputs: ClassVar[tuple[str, ...]] = ("files.zip", SETTINGS)
    label: ClassVar[str] = ""
    chooses: ClassVar[bool] = True
    past: ClassVar[str] = "drawn"
    finishing: ClassVar[str] = "Writing the files…"
    timed_as_one: ClassVar[bool] = False
    further: ClassVar[str] = ""
    purpose: ClassVar[Purpose] = "futures"
    keeps: ClassVar[bool] = True
    fits: ClassVar[bool] = False
    picks: ClassVar[bool] = False
    names_files: ClassVar[bool] = False
    shortened: ClassVar[str] = "num_samples"
    at_once: ClassVar[int] = 1
    most: ClassVar[int] = 20
    added: ClassVar[str] = "a photo"
    gone: ClassVar[str] = "this result has been cleared from the server; run again"
    limited_by: ClassVar[str] = ""
    details: ClassVar[str] = ""
    pictures: ClassVar[Mapping[str, str]] = {}

    @property
    def command(self) -> Command:
        command = families()[self.family.joins or self.family.name].command
        command = further()[self.further] if self.further else command
        assert command
        return command

    @property
    def families(self) -> tuple[str, ...]:
        """Names of the families whose models the command draws with."""
        return (self.family.name, *(face.family.name for face in self.joined))

    def of(self, app: AppContext, checkpoint: str | None) -> Face:
        """The face of a checkpoint's family; ``begin`` says what is wrong with one of another."""
        family = app.models.family(checkpoint)
        return next((face for face in self.joined if face.family.name == family), self)

    @property
    def tab(self) -> str:
        """Identifier of the tab."""
        return self.command.name

    @property
    def unit(self) -> str:
        """Name of a sample."""
        return self.sample or self.command.unit

    @property
    def takes_files(self) -> bool:
        return bool(self.command.input)

    @property
    def takes_clip(self) -> bool:
        """True if all files together are one input."""
        return self.takes_files and self.command.item == "clip"

    @cached_property
    def task(self) -> Task[Any, Any, Any]:
        task: Task[Any, Any, Any] = resolve(self.family.task)
        return task

    @cached_property
    def kind(self) -> type[Settings]:
        """Class of the settings."""
        kind: type[Settings] = resolve(self.command.settings or self.family.settings or Settings)
        return kind

    def begin(self, app: AppContext, checkpoint: str | None, settings: Any, files: Sequence[str] = ()) -> Job:
        """Load the model and read the input.

        Raises:
            CheckpointError, InputError: with the message to show.
        """
        model = app.models.load(checkpoint, self.family.name)
        checks.check_levels(getattr(settings, "temperature", 1.0), model, checkpoint)
        paths = tuple(map(Path, files))
        if paths:
            item = Item(paths[0].stem.lstrip(".") or self.noun, paths)
        else:
            item = self.task.items(model, settings)[0]
        job = Job(self, checkpoint, settings, model, item.name, paths, self.read(model, item, settings))
        self.check(job)
        return job

    def read(self, model: Any, item: Item, settings: Any) -> Any:
        """Input of the task; raises as ``Task.read``."""
        return self.task.read(model, item, settings)

    def check(self, job: Job) -> None:
        """Refuse a job that is too large for the app.

        Raises:
            InputError: with the remedy.
        """

    def paths(self, files: Sequence[str]) -> Sequence[Sequence[str]]:
        """Files of each of an endpoint's jobs; none for a task without.

        Raises:
            InputError: no input, or too many.
        """
        if self.takes_files and not files:
            raise InputError(f"no {self.noun} given; add {self.added}, or choose an example")
        if self.takes_clip:
            return [files]
        if len(files) > self.most:
            raise InputError(f"{len(files)} {self.noun}s; give at most {self.most} at once")
        return [[file] for file in files] if self.takes_files else [()]

    def first(self, app: AppContext) -> str | None:
        """The checkpoint chosen as the page opens; None where there is none."""
        return app.models.default(*self.families)

    def work(self, job: Job) -> int | None:
        """Cost of one result in units of its own; None where the time left is not told."""
        return None

    def clock(self, app: AppContext, job: Job) -> Clock | None:
        """The clock of a job, where the time left is told."""
        work = self.work(job)
        return app.jobs.clock(str(job.checkpoint), work) if work else None

    def total(self, job: Job) -> int:
        """Sum of the sizes of all results."""
        return self.task.total(job.given, job.settings)

    def done(self, job: Job) -> int:
        """Sum of the sizes of the results so far."""
        return sum(result.size for result in job.results)

    def steps(self, job: Job, should_stop: Callable[[], bool]) -> Iterator[Any]:
        """Results of the task; raises as ``Task.iterate``."""
        return self.task.iterate(job.model, job.given, job.settings, should_stop)

    def notes(self, job: Job) -> Sequence[str]:
        """Remarks for people on what was done to the input."""
        return self.task.notes(job.given)

    def step(self, job: Job, rest: str) -> str:
        """Words on the result under way, for the status; ``rest`` is on the time left."""
        return f"{self.unit.capitalize()} {min(job.done + 1, job.total)} of {job.total}{rest}"

    def stopped(self, job: Job) -> str:
        """Words on a job that was stopped before it had a result; empty where it has one."""
        return "" if job.done else f"Stopped before the first {self.unit}."

    def drawn(self, job: Job) -> str:
        """Words on the samples drawn, for the line on a result."""
        if job.done < job.total:
            return f"Stopped after {job.done} of {counted(job.total, self.unit)}"
        return counted(job.done, self.unit)

    def remarks(self, job: Job, result: Any) -> list[str]:
        """Remarks for people on a result, in front of those on its input."""
        return []

    def save(self, app: AppContext, job: Job, folder: Path) -> Any:
        """The result, with its files and settings in ``folder``, which is there."""
        values, facts = job.settings.model_dump(), self.task.facts(job.given)
        values |= {name: facts[name] for name in values.keys() & facts.keys()}
        if job.total == values.get(self.shortened):
            values[self.shortened] = job.done
        record = record_class(self.kind)(**app.models.record(str(job.checkpoint)), **values)
        if not any(map(app.runs.holds, job.paths)):
            record = record.with_command(self.command.name, [path.name for path in job.paths])
        self.write(job, folder)
        (folder / SETTINGS).write_text(record.to_json(), encoding="utf-8")
        return self.finish(job, folder)

    def reply(self, result: Any, remarks: Sequence[str]) -> Sequence[Any]:
        """Reply of the endpoint, an entry for each of ``outputs``: a file, or a report with files inside."""
        return [result.folder / name for name in self.outputs]

    def write(self, job: Job, folder: Path) -> None:
        """Write the task's files, or what they are made of on demand."""
        self.task.write(folder, job.given, job.results, job.settings)

    def finish(self, job: Job, folder: Path) -> Any:
        """The result, with the files that the page needs beside the task's own."""
        return Files(folder, job.name)

    def archive(self, folder: Path, results: Sequence[Any]) -> Iterator[float]:
        """Write the archive of all results, if that is the first output; yields the number of files written.

        Raises:
            InputError: one of the results was cleared.
        """
        names, done = set[str](), 0
        if not self.outputs[0].endswith(".zip"):
            return
        with (
            still_there(self.gone),
            zipfile.ZipFile(folder / self.outputs[0], "w", zipfile.ZIP_STORED) as file,
        ):
            for result in results:
                name = free_name(result.name, names)
                for path in self.archived(result):
                    file.write(path, f"{name}/{path.name}")
                    yield (done := done + 1)

    def archived(self, result: Any) -> Sequence[Path]:
        """Files of a result that go into the archive."""
        made: list[Path] = result.made
        return made

    def files(self, result: Any) -> Sequence[Path]:
        """The result's files, in the order of ``downloads``."""
        return [result.folder / name for name in self.outputs]

    def empty(self, text: str = "Choose the settings and press the button.") -> str:
        """HTML before there is a result."""
        return html.placeholder(f'<ol class="vf-grid">{html.ghost_items(4)}</ol>', "No result yet", text)

    def uploaded(self, path: str) -> str:
        """HTML of an upload; raises VflowError where it cannot be read."""
        return self.empty(f"{Path(path).name}: press {self.verb}.")

    def most_pixels(self, setting: Any) -> int:
        """Pixels of a photo that the page takes with a value of the setting ``limited_by``."""
        return media.DEFAULT_LIMITS.pixels

    def refusal(self, path: str, setting: Any) -> str:
        """HTML of an upload that the page does not take with a value of ``limited_by``: why, and the ways on.

        Empty where it takes it.

        Raises:
            VflowError: it cannot be read.
        """
        if not self.limited_by:
            return ""
        photo = media.read_photo(path)[0].frames[:1]
        fits = math.prod(photo.shape[1:3]) <= self.most_pixels(setting)
        return "" if fits else self.too_large(path, photo, setting)

    def too_large(self, path: str, photo: np.ndarray, setting: Any) -> str:
        """HTML of a photo, uint8 (1, H, W, C), that is too large for a value of ``limited_by``."""
        size, most = (photo.shape[1], photo.shape[2]), self.most_pixels(setting)
        smaller, area = ("{1:,}×{0:,}".format(*each) for each in (reduced_size(size, most), cut(size, most)))
        name, field = self.command.name, self.kind.model_fields[self.limited_by]
        words = {value: label for label, value in Shown.of(field).choices}
        option = [] if setting == field.default else [f"--{self.limited_by}", str(setting)]
        command = shlex.join(["vflow", name, "--input", Path(path).name, *option, "--output", name])
        fitting = [value for value in words if math.prod(size) <= self.most_pixels(value)]
        return html.refused(
            f"{size[1]:,}×{size[0]:,} pixels; for {words[setting]} the page takes at most {most:,}.",
            html.ways(
                *(html.way_on(CHOOSE, f"Choose {words[value]}", value) for value in fitting),
                html.way_on(REDUCE, f"Reduce to {smaller}"),
            ),
            f"<p>Or click the middle of an area of {area} pixels:</p>",
            '<button type="button" class="vf-area-pick" aria-label="An area: its middle, where you click">'
            f'<img src="{html.png_uri(reduced(photo, PREVIEW)[0])}" alt=""></button>',
            html.command(command, "Or all of it on the command line:"),
        )

    def made_smaller(self, path: str, action: str, left: float, top: float, folder: Path, most: int) -> str:
        """A photo of at most ``most`` pixels, in ``folder``: all of it, or an area around a place in it.

        Args:
            action: ``REDUCE``, or another for an area. left, top: its middle, as shares of width and height.

        Raises:
            InputError: the photo cannot be read any more.
        """
        clip, alpha = media.read_photo(path)
        size, frames = clip.frames.shape[1:3], [clip.frames]
        if alpha is not None:
            frames = [media.resize(clip.frames, size[0], size[1], 3), alpha[None, ..., None]]
        if action == REDUCE:
            height, width = reduced_size(size, most)
            parts = [media.resize(frame, height, width, frame.shape[-1]) for frame in frames]
        else:
            rows, columns = cut(size, most)
            row = min(max(0, round(top * size[0]) - rows // 2), size[0] - rows)
            column = min(max(0, round(left * size[1]) - columns // 2), size[1] - columns)
            parts = [frame[:, row : row + rows, column : column + columns] for frame in frames]
        target = folder / f"{Path(path).stem}-{'reduced' if action == REDUCE else 'area'}.png"
        media.write_png(target, np.concatenate(parts, -1)[0])
        return str(target)

    def live(self, job: Job) -> str | None:
        """HTML while the job goes on; None: the page stays as it is."""
        return None

    def shown(self, job: Job, result: Any) -> str:
        """HTML of a result."""
        pictures = [path for path in result.made if path.suffix == ".png"]
        items = "".join(
            f'<li class="vf-tile"><img src="{html.file_url(path)}" alt="{escape(path.stem)}"></li>'
            for path in pictures
        )
        return f'<section class="vf-results" aria-label="Results"><ol class="vf-grid">{items}</ol></section>'

    def opening(self, app: AppContext) -> str:
        """HTML before the first run."""
        return opening(app, OPENINGS[self.tab]) if self.tab in OPENINGS else self.empty()

    def above(self) -> gr.HTML | None:
        """A line above the results, emptied with them; None: there is none."""
        return None

    def examples(self, app: AppContext) -> gr.HTML | None:
        """A strip of examples below the upload box."""
        words = f"Or {self.tab} an example", f"{self.tab.capitalize()} example", f"vf-try-{self.tab}"
        strip = picture_strip(self.pictures, *words)
        return html_block(strip, js_on_load=ON_CLICK) if self.pictures else None

    def example(self, index: int) -> Path:
        """File of an example."""
        return picture_file(self.pictures, index)

    def picked(self, result: Any, index: int) -> str:
        """HTML after a click on a button inside the result, where it ``picks``."""
        raise NotImplementedError

    def beside(self, app: AppContext, form: TaskForm, view: TaskView) -> None:
        """Lay out and wire what the tab has beside the task."""


def reduced_size(size: tuple[int, int], most: int) -> tuple[int, int]:
    """Height and width of a picture of ``size`` with at most ``most`` pixels."""
    scale = min(1.0, math.sqrt(most / (size[0] * size[1])))
    return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))


def cut(size: tuple[int, int], most: int) -> tuple[int, int]:
    """Height and width of an area, square where there is room, of at most ``most`` pixels of a picture."""
    side = math.isqrt(most)
    return min(side, size[0]), min(side, size[1])


def checked(kind: type[Settings], values: dict[str, Any]) -> Any:
    """Settings of values as they come from a form or an endpoint.

    Raises:
        InputError: a value is missing or out of range; the message names it and the range.
    """
    return kind.of(**{name: checks.setting(name, each, values) for name, each in kind.model_fields.items()})
