"""From a request to a finished walk and its files: the path of the tab and of the endpoint."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vflow.data import media
from vflow.errors import InputError, VflowError, counted
from vflow.pipelines.batch.inputs import clips
from vflow.pipelines.common import Temperature, temperature_text, versions
from vflow.pipelines.digits.preprocess import prepare_digit
from vflow.pipelines.video.export import heat
from vflow.pipelines.video.preprocess import fit
from vflow.pipelines.walk import render
from vflow.pipelines.walk.effects import Effect, effect
from vflow.pipelines.walk.space import WalkSettings
from vflow.pipelines.walk.walk import Walk, iterate

from ..shared import checks
from ..shared.context import AppContext, settings_text
from ..shared.forms import paths_of
from ..shared.html import reduced
from .kinds import (
    ALL,
    LIKELIEST,
    Kind,
    find_kind,
    initial_step,
    kinds,
    level_names,
    step_names,
    stored_directions,
)

MAX_STEPS = 33
MAX_FRAMES = 30
MAX_EXTENT = 10
MAX_SAMPLES = 10_000
WITH_EXTENT = ("direction", "semantic", "temperature")
PICTURE_FPS = 10.0
PREVIEW = 512  # pixels of the longer side on the page; downloads keep the model's or photo's own size
MIN_CHANGE = 8.0  # grey levels: the ramp of the map of changes never ends below this
NO_COMMAND = (
    "vflow walk would take these files for other inputs; put the files of each into a folder of its own "
    "and give it the folders"
)


@dataclass(frozen=True)
class Request:
    """A walk as a form or an endpoint asks for it, unchecked; names and counting as on the command line.

    Attributes:
        files, to: the input where the walk starts, and the one where it leads.
        negatives, positives: two groups of inputs.
        temperature, level_temperatures: None and empty: as the checkpoint suggests.
    """

    checkpoint: str | None = None
    kind: str = "direction"
    files: Sequence[str] | None = None
    to: Sequence[str] | None = None
    negatives: Sequence[str] | None = None
    positives: Sequence[str] | None = None
    steps: float = 9
    direction: float = 0
    level: str = "-1"
    extent: float = 0
    temperature: float | None = None
    level_temperatures: str = ""
    seed: float = 0
    label: str = LIKELIEST
    num_frames: float = 8
    first_sample: float = 0
    second_sample: float = 1

    def paths(self) -> list[str]:
        """All files, for messages."""
        groups = self.files, self.to, self.negatives, self.positives
        return [path for group in groups for path in paths_of(group)]

    def settings(self) -> WalkSettings:
        """The checked settings.

        Raises:
            InputError, ConfigError: a value is missing or out of range; the message names it and the range.
        """
        label = str(self.label or LIKELIEST)
        extent = checks.number_within("extent", self.extent, 0, MAX_EXTENT) if self.kind in WITH_EXTENT else 0
        first, second = (
            checks.whole_number("future", sample, 0, MAX_SAMPLES - 1)
            for sample in (self.first_sample, self.second_sample)
        )
        return WalkSettings(
            kind=self.kind,
            steps=checks.whole_number("steps", self.steps, 2, MAX_STEPS),
            direction=checks.whole_number("direction", self.direction, 0, 63),
            level=_level(str(self.level)),
            extent=extent or None,
            temperature=self._temperature(),
            seed=checks.seed_number(self.seed),
            label=None if label == LIKELIEST else _label(label),
            num_frames=checks.whole_number("frames", self.num_frames, 1, MAX_FRAMES),
            samples=(first, second),
        )

    def _temperature(self) -> Temperature | None:
        if self.temperature is None:
            return checks.listed_temperatures(self.level_temperatures) or None
        return checks.temperature(self.temperature, self.level_temperatures)


def _level(text: str) -> int | None:
    if text == ALL:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"level: '{text}': give a whole number, or {ALL}") from error


def _label(text: str) -> int:
    if text not in [str(digit) for digit in range(10)]:
        raise InputError(f"label: '{text[:20]}': give a digit, or {LIKELIEST}")
    return int(text)


@dataclass(frozen=True)
class Inputs:
    """Files as the model takes them.

    Attributes:
        inputs: where the walk starts, then where it leads; may be empty.
        negatives, positives: two groups.
        pictures: each of ``inputs`` as people see it, uint8 (T, H, W, C).
        notes: remarks for people.
        files: paths by parameter of the request, of those that were read.
    """

    inputs: list[Any]
    negatives: list[Any]
    positives: list[Any]
    pictures: list[np.ndarray]
    notes: tuple[str, ...]
    files: dict[str, list[str]]


def read_inputs(model: Any, request: Request) -> Inputs:
    """Read the files that this kind of walk takes.

    Raises:
        InputError: one is missing, or cannot be used.
    """
    names = [kind.name for kind in kinds(model.config.family)]
    if request.kind not in names:
        raise InputError(f"{request.checkpoint}: no walk of kind {request.kind!r}; choose {', '.join(names)}")
    kind = find_kind(model.config.family, request.kind)
    _require(kind, model.config.family, request)
    taken = {"files": True, "to": bool(kind.end), "negatives": kind.groups, "positives": kind.groups}
    files = {name: paths_of(getattr(request, name)) if used else [] for name, used in taken.items()}
    starts = [_read(model, files[name]) for name in ("files", "to") if files[name]]
    negatives, positives = (
        [_as_input(model, _read(model, [path])) for path in files[name]]
        for name in ("negatives", "positives")
    )
    shown = [_as_picture(model, clip) for clip in starts]
    notes = dict.fromkeys(note for _, notes in shown for note in notes)
    inputs = [_as_input(model, clip) for clip in starts]
    return Inputs(inputs, negatives, positives, [picture for picture, _ in shown], tuple(notes), files)


def _require(kind: Kind, family: str, request: Request) -> None:
    """Say what is missing in the words of the form, before the model says it in its own."""
    start, end = paths_of(request.files), paths_of(request.to)
    drawn = family == "digits" and request.label not in (None, LIKELIEST)
    if kind.groups and not (paths_of(request.negatives) and paths_of(request.positives)):
        raise InputError("two groups are needed: add examples to both")
    if kind.end and len(start and end) == 0 and not (drawn and not start and not end):
        raise InputError("two inputs are needed: where the walk starts and where it leads")
    if not kind.groups and not start and not drawn:
        raise InputError("no input given; add one, or choose an example")


def _read(model: Any, paths: list[str]) -> media.Clip:
    """One input: a clip, or the one picture that it must be."""
    if model.config.family == "videoflow":
        return media.read_frames(paths)
    if len(paths) > 1:
        raise InputError(f"{Path(paths[1]).name}: a walk starts from one image; remove the others")
    return media.read_image(paths[0])


def _as_input(model: Any, clip: media.Clip) -> Any:
    """An input as ``walk`` takes it."""
    return prepare_digit(clip.frames[0], clip.source) if model.config.family == "digits" else clip


def _as_picture(model: Any, clip: media.Clip) -> tuple[np.ndarray, tuple[str, ...]]:
    """An input as people see it: the frames in use of a clip, a digit as the model sees it; and remarks."""
    if model.config.family == "videoflow":
        frames, notes = fit(model.config, clip)
        return frames[-model.config.context - 1 :], notes
    if model.config.family == "digits":
        return prepare_digit(clip.frames[0], clip.source)[None, ..., None], clip.notes
    return clip.frames[:1], clip.notes


def expected_work(family: str, steps: int, num_frames: int) -> int:
    """Cost of a walk through a model of this family, in pictures decoded."""
    return steps * (num_frames if family == "videoflow" else 1)


def expected_seconds(
    app: AppContext, name: str | None, kind: str | None, steps: Any, num_frames: Any
) -> float | None:
    """Time that a walk will take; None where nothing is known, or the form cannot be used.

    Before the first walk, frames of a video model count as Predict's do.
    """
    try:
        work = expected_work(
            app.models.family(name),
            checks.whole_number("steps", steps, 2, MAX_STEPS),
            checks.whole_number("frames", num_frames, 1, MAX_FRAMES),
        )
    except VflowError:
        return None
    return app.jobs.expected(clock_name(name, kind), work) or app.jobs.expected(str(name), work)


def clock_name(checkpoint: str | None, kind: str | None) -> str:
    """Name under which the time of walks of a kind is known."""
    return f"{checkpoint} {kind}"


@dataclass
class Job:
    """A walk under way. ``walk`` is set when it is complete."""

    request: Request
    settings: WalkSettings
    model: Any
    inputs: Inputs
    walk: Walk | None = None

    @classmethod
    def begin(cls, app: AppContext, request: Request) -> Job:
        """Load the model and read the inputs.

        Raises:
            CheckpointError, InputError, ConfigError: with the message to show.
        """
        settings = request.settings()
        model = app.models.load(request.checkpoint)
        if settings.temperature is not None:
            checks.check_levels(settings.temperature, model, request.checkpoint)
        return cls(request, settings, model, read_inputs(model, request))

    @property
    def family(self) -> str:
        """Family of the model: videoflow, digits or colorizer."""
        return str(self.model.config.family)

    @property
    def temperature(self) -> Temperature:
        """Temperature of noise that is drawn."""
        return self.settings.temperature_for(self.model.config)

    @property
    def work(self) -> int:
        """Cost of the walk, in pictures decoded."""
        return expected_work(self.family, self.settings.steps, self.settings.num_frames)

    def advance(self, app: AppContext, should_stop: Callable[[], bool]) -> Iterator[tuple[int, int]]:
        """Walk; yields (done, of how many). Ends early, and without a walk, when told to stop.

        Raises:
            CheckpointError, InputError, ConfigError: with the message to show.
        """
        directions = (
            stored_directions(app, self.request.checkpoint) if self.settings.kind == "direction" else None
        )
        steps = iterate(
            self.model,
            self.inputs.inputs,
            self.settings,
            directions=directions,
            negatives=self.inputs.negatives,
            positives=self.inputs.positives,
        )
        while not should_stop():
            try:
                yield next(steps)
            except StopIteration as finished:
                self.walk = finished.value
                return

    def summary(self, seconds: float) -> str:
        """One line on the walk, which took some seconds."""
        assert self.walk is not None
        settings, family = self.settings, self.family
        kind = find_kind(family, settings.kind)
        random = kind.starts_at_random(family, upload=bool(self.inputs.files["files"]))
        name = f"{kind.title} {settings.direction + 1}" if "direction" in kind.controls else kind.title
        found = self.effect
        if "level" in kind.controls:
            shapes = self.model.latent_shapes
            key = ALL if settings.level is None else str(settings.level % len(shapes))
            level = next(text for text, number in level_names(shapes) if number == key)
            name = f"{name} ({level[:1].lower()}{level[1:]})"
        made = settings_text(
            self.request.checkpoint,
            temperature=self.temperature if kind.draws_noise(random=random) else None,
            seed=settings.seed if family == "videoflow" or random else None,
        )
        told = f"{str(found).capitalize()}, {name[:1].lower()}{name[1:]}" if found else name
        return f"{told}: {counted(len(self.walk.positions), 'step')} in {seconds:.1f} s · {made}"

    @cached_property
    def effect(self) -> Effect | None:
        """Words for the pictures at both ends, if the walk leads along a direction and they are clear."""
        assert self.walk is not None
        along = self.settings.kind in ("direction", "semantic")
        return effect([self.walk.frames]) if along else None

    def save(self, app: AppContext) -> Result:
        """Write the page's pictures, grid.png, walk.mp4, walk.npz and settings.json."""
        assert self.walk is not None
        walk, name = self.walk, str(self.request.checkpoint)
        fps = app.preview_fps(name) if self.family == "videoflow" else PICTURE_FPS
        captions = ["Input"] if len(self.inputs.pictures) == 1 else ["From", "To"]
        if self.settings.kind == "transfer" and self.family == "colorizer":
            captions = ["Photo", "Colours of"]
        result = save_pictures(
            app.runs.new_folder(),
            walk.frames if walk.frames.ndim == 5 else walk.frames[:, None],
            step_names(self.family, walk.kind, walk.positions),
            list(zip(captions, self.inputs.pictures, strict=False)),
            start=initial_step(walk.kind, walk.positions),
            fps=fps,
            effect=self.effect,
        )
        media.write_png(result.grid, render.grid(walk.frames))
        media.write_video(result.film, *render.film(walk.frames, fps))
        media.write_npz(result.native, frames=walk.frames, positions=np.array(walk.positions))
        result.settings.write_text(self._record(app), encoding="utf-8")
        return result

    def _record(self, app: AppContext) -> str:
        """Everything the walk depends on, and the command that makes it again, if there is one."""
        model = app.models.record(str(self.request.checkpoint))
        names = {key: [Path(path).name for path in paths] for key, paths in self.inputs.files.items()}
        alike = _command_reads_alike(self.family, self.inputs.files)
        record = {
            **model,
            **asdict(self.settings),
            "temperature": self.temperature,
            **{key: files for key, files in names.items() if files},
            **(
                {"command": _command(model["checkpoint"], self.settings, names)}
                if alike
                else {"no_command": NO_COMMAND}
            ),
            "threads": torch.get_num_threads(),
            "versions": versions(),
        }
        return json.dumps(record, indent=2) + "\n"


def _command_reads_alike(family: str, files: dict[str, list[str]]) -> bool:
    """True if ``vflow walk``, given all files by name, would read the inputs that the app read.

    It knows no upload boxes: of a video model's files, all stills are one clip, others a clip each.
    """
    paths = {path for group in files.values() for path in group}
    names = {Path(path).name for path in paths}
    if len(names) < len(paths) or any(name.startswith("-") for name in names):
        return False
    inputs = [files[key] for key in ("files", "to") if files[key]]
    groups = ([[path] for path in files[key]] for key in ("negatives", "positives"))
    return family != "videoflow" or all(_clips_alike(each) for each in (inputs, *groups))


def _clips_alike(inputs: list[list[str]]) -> bool:
    """True if the command line, given all their files by name, makes these clips of them."""
    wanted = [tuple(Path(Path(path).name) for path in files) for files in inputs]
    try:
        return not wanted or [item.paths for item in clips(sum(wanted, ()))] == wanted
    except InputError:
        return False


def _command(checkpoint: str, settings: WalkSettings, names: dict[str, list[str]]) -> str:
    words = ["vflow", "walk", "--checkpoint", checkpoint]
    defaults = asdict(WalkSettings())
    for key, value in asdict(settings).items():
        if value != defaults[key]:
            if key == "temperature":
                value = temperature_text(value)
            values = value if isinstance(value, tuple) else [ALL if value is None else value]
            words += [f"--{key.replace('_', '-')}", *map(str, values)]
    for flag, keys in (
        ("input", ("files", "to")),
        ("negatives", ("negatives",)),
        ("positives", ("positives",)),
    ):
        files = [name for key in keys for name in names[key]]
        words += [f"--{flag}", *files] if files else []
    return shlex.join([*words, "--output", "walk"])


@dataclass(frozen=True)
class Filmstrip:
    """A picture holding ``frames`` frames side by side, and its caption."""

    path: Path
    frames: int
    caption: str


@dataclass(frozen=True)
class Result:
    """Files of one walk.

    Attributes:
        steps: of the walk. inputs: shown beside it.
        changes: the map of changes. top: grey levels at its bright end.
        start: step shown first. fps: frames per second at which clips play.
        effect: words for both ends.
    """

    folder: Path
    steps: tuple[Filmstrip, ...]
    inputs: tuple[Filmstrip, ...]
    changes: Filmstrip
    top: float
    start: int
    fps: float
    effect: Effect | None = None

    @property
    def grid(self) -> Path:
        return self.folder / "grid.png"

    @property
    def film(self) -> Path:
        return self.folder / "walk.mp4"

    @property
    def native(self) -> Path:
        return self.folder / "walk.npz"

    @property
    def settings(self) -> Path:
        return self.folder / "settings.json"


def save_pictures(
    folder: Path,
    steps: np.ndarray,
    names: list[str],
    inputs: list[tuple[str, np.ndarray]],
    *,
    start: int,
    fps: float,
    effect: Effect | None = None,
) -> Result:
    """Write the pictures that the page plays, losslessly.

    Args:
        steps: uint8 (S, T, H, W, C).
        names: of the steps.
        inputs: captions and pictures to show beside the walk, uint8 (T', H, W, C).
        start, fps, effect: as in ``Result``.
    """
    small = np.stack([reduced(frames, PREVIEW) for frames in steps])
    # Standard deviation over steps, in grey levels; root mean square over channels: float32 (T, H, W).
    changes = np.sqrt(small.var(axis=0, dtype=np.float32).mean(axis=-1))
    top = max(MIN_CHANGE, float(changes.max()))
    return Result(
        folder,
        tuple(
            _filmstrip(folder / f"step_{index:02d}.png", frames, name)
            for index, (frames, name) in enumerate(zip(small, names, strict=True))
        ),
        tuple(
            _filmstrip(folder / f"input_{index}.png", reduced(frames, PREVIEW), caption)
            for index, (caption, frames) in enumerate(inputs)
        ),
        _filmstrip(folder / "changes.png", heat(changes, top), "Changes"),
        top,
        start,
        fps,
        effect,
    )


def _filmstrip(path: Path, frames: np.ndarray, caption: str) -> Filmstrip:
    """uint8 (T, H, W, C) side by side in a PNG."""
    media.write_png(path, np.concatenate(list(frames), axis=1))
    return Filmstrip(path, len(frames), caption)
