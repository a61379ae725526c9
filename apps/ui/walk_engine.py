"""From what was asked to a finished walk and its files: where the app meets ``vflow.pipelines.walk.walk``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vflow.checkpoint import checkpoint_hash, find_checkpoints
from vflow.data import media
from vflow.errors import InputError
from vflow.pipelines.batch import inputs as items
from vflow.pipelines.common import device_of, versions
from vflow.pipelines.walk import render as views
from vflow.pipelines.walk.directions import Directions, load_directions
from vflow.pipelines.walk.space import WalkSettings
from vflow.pipelines.walk.walk import Walk, iterate

from . import walk_files, walk_kinds
from .common import Shared, preview_fps
from .walk_asked import Asked, Inputs, read, settings_from

PICTURE_FPS = 10.0
NO_COMMAND = (
    "vflow walk would take these files for other inputs; put the files of each into a folder of its own "
    "and give it the folders"
)


@dataclass
class Job:
    """A walk under way. ``made`` is set when it is complete."""

    asked: Asked
    settings: WalkSettings
    model: Any
    inputs: Inputs
    made: Walk | None = None

    @property
    def kind(self) -> str:
        """Kind of model: videoflow, digits or colorizer."""
        return str(self.model.config.family)


def begin(shared: Shared, asked: Asked) -> Job:
    """Load the model and read the inputs.

    Raises:
        CheckpointError, InputError, ConfigError: with the message to show.
    """
    settings = settings_from(asked)
    model = shared.models.load(asked.checkpoint)
    return Job(asked, settings, model, read(model, asked))


def advance(shared: Shared, job: Job, should_stop: Callable[[], bool]) -> Iterator[tuple[int, int]]:
    """Walk; yields (done, of how many). Ends early, and without a walk, when told to stop.

    Raises:
        CheckpointError, InputError, ConfigError: from the walk.
    """
    directions = stored(shared, job.asked.checkpoint) if job.settings.kind == "direction" else None
    walking = iterate(
        job.model, job.inputs.starts, job.settings, directions=directions,
        negatives=job.inputs.away, positives=job.inputs.towards,
    )  # fmt: skip
    while not should_stop():
        try:
            yield next(walking)
        except StopIteration as finished:
            job.made = finished.value
            return


def stored(shared: Shared, name: str | None) -> Directions | None:
    """Principal directions stored beside a checkpoint; None if there are none.

    Raises:
        CheckpointError: the checkpoint or the file is damaged.
    """
    return load_directions(shared.models.folder(name), shared.models.load(name))


def keep(shared: Shared, job: Job) -> walk_files.WalkRun:
    """Write the walk's files: what the page plays, grid.png, walk.mp4, walk.npz and settings.json."""
    assert job.made is not None
    made, name = job.made, str(job.asked.checkpoint)
    fps = preview_fps(shared, name) if job.kind == "videoflow" else PICTURE_FPS
    frames = made.frames if made.frames.ndim == 5 else made.frames[:, None]
    captions = ["Input"] if len(job.inputs.shown) == 1 else ["From", "To"]
    if job.settings.kind == "transfer" and job.kind == "colorizer":
        captions = ["Photo", "Colours of"]
    said = walk_kinds.said(job.kind, made.kind, made.positions)
    beside = list(zip(captions, job.inputs.shown, strict=False))
    run = walk_files.save(
        shared.runs.fresh(), frames, said, beside,
        start=walk_kinds.first_shown(made.kind, made.positions), fps=fps,
    )  # fmt: skip
    media.write_png(run.grid, views.grid(made.frames))
    media.write_video(run.film, *views.film(made.frames, fps))
    media.write_npz(run.native, frames=made.frames, positions=np.array(made.positions))
    run.settings.write_text(_record(shared, job), encoding="utf-8")
    return run


def _record(shared: Shared, job: Job) -> str:
    """Everything the walk depends on, and the command that makes it again, if there is one."""
    name = str(job.asked.checkpoint)
    folder = shared.models.folder(name)
    checkpoint = name if find_checkpoints().get(name) == folder else str(folder)
    names = {box: [Path(path).name for path in paths] for box, paths in job.inputs.boxes.items()}
    alike = _read_alike(job.kind, job.inputs.boxes)
    record = {
        "checkpoint": checkpoint,
        "checkpoint_hash": checkpoint_hash(folder),
        **asdict(job.settings),
        **{box: files for box, files in names.items() if files},
        **({"command": _command(checkpoint, job.settings, names)} if alike else {"no_command": NO_COMMAND}),
        "device": device_of(job.model).type,
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
    return json.dumps(record, indent=2) + "\n"


def _read_alike(model: str, boxes: dict[str, list[str]]) -> bool:
    """Whether ``vflow walk``, given the files of all boxes by name, would read the inputs that the app read.

    It knows no boxes: of a video model's files it takes all stills for one clip, others for a clip each.
    """
    paths = {path for box in boxes.values() for path in box}
    names = {Path(path).name for path in paths}
    if len(names) < len(paths) or any(name.startswith("-") for name in names):
        return False
    starts = [boxes[box] for box in ("files", "to") if boxes[box]]
    groups = ([[path] for path in boxes[box]] for box in ("away", "towards"))
    return model != "videoflow" or all(_clips_alike(inputs) for inputs in (starts, *groups))


def _clips_alike(inputs: list[list[str]]) -> bool:
    """Whether the command line, given all their files by name, makes these clips of them."""
    wanted = [tuple(Path(Path(path).name) for path in files) for files in inputs]
    try:
        return not wanted or [item.paths for item in items.clips(sum(wanted, ()))] == wanted
    except InputError:
        return False


def _command(checkpoint: str, settings: WalkSettings, names: dict[str, list[str]]) -> str:
    words = ["vflow", "walk", "--checkpoint", checkpoint]
    for key, value in asdict(settings).items():
        if value != asdict(WalkSettings())[key]:
            values = value if isinstance(value, tuple) else ["all" if value is None else value]
            words += [f"--{key.replace('_', '-')}", *map(str, values)]
    for flag, boxes in (("input", ("files", "to")), ("negatives", ("away",)), ("positives", ("towards",))):
        files = [name for box in boxes for name in names[box]]
        words += [f"--{flag}", *files] if files else []
    return shlex.join([*words, "--output", "walk"])
