"""From files to a clip's surprise and its files: the path that the Surprise tab takes."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vflow.data import media
from vflow.errors import InputError
from vflow.pipelines.common import versions
from vflow.pipelines.video import export as surprise_files
from vflow.pipelines.video.stats import ClipStatistics, load_clip_statistics
from vflow.pipelines.video.surprisal import FittedClip, Surprisal, finalize, iterate, prepare

from . import engine
from .common import Shared, preview_fps

KIND = "videoflow"
SHOWN = 60  # frames of a clip that are looked at
SEGMENT = 4  # frames between two looks at Stop


@dataclass(frozen=True)
class Wish:
    """What a person asked for, checked."""

    checkpoint: str | None
    paths: tuple[str, ...]
    quantile: float
    seed: int


@dataclass(frozen=True)
class Run:
    """Files of one clip."""

    folder: Path

    @property
    def native(self) -> Path:
        return self.folder / "surprise.npz"

    @property
    def sheet(self) -> Path:
        return self.folder / "surprise.png"

    @property
    def film(self) -> Path:
        return self.folder / "surprise.mp4"

    @property
    def settings(self) -> Path:
        return self.folder / "settings.json"


def wish(checkpoint: str | None, paths: Sequence[str], percent: float, seed: float) -> Wish:
    """Check what comes from the form; ``percent`` of validation frames are not beyond the limit.

    Raises:
        InputError: a value is missing or out of range; the message names it and the range.
    """
    if not paths:
        raise InputError("no frames given; add images or a video, or choose an example")
    share = engine.within("flag beyond", percent, 50, 100) / 100
    return Wish(checkpoint, tuple(paths), min(share, 0.9999), engine.whole("seed", seed, 0, engine.MAX_SEED))


@dataclass
class Job:
    """A clip under way: maps of its first frames so far, each float32 (t, H, W)."""

    wish: Wish
    model: Any
    ready: FittedClip
    statistics: ClipStatistics | None
    maps: list[np.ndarray] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @property
    def total(self) -> int:
        return len(self.ready.frames) - self.model.config.min_context

    @property
    def done(self) -> int:
        return sum(map(len, self.maps))

    def summary(self) -> str:
        """One line on what was looked at."""
        count = "1 frame" if self.done == 1 else f"{self.done} frames"
        many = count if self.done == self.total else f"Stopped after {self.done} of {self.total} frames"
        return f"{many} scored in {time.monotonic() - self.began:.1f} s, seed {self.wish.seed}"

    def remarks(self) -> list[str]:
        """What else a person should know."""
        return [note[:1].upper() + note[1:] for note in self.ready.notes]


def begin(shared: Shared, wish: Wish) -> Job:
    """Load the model and what is typical of its data, and fit the clip to it.

    Raises:
        CheckpointError, InputError: with the message to show.
    """
    model = shared.models.load(wish.checkpoint, KIND)
    ready = prepare(model, media.read_frames(wish.paths))
    if len(ready.frames) > SHOWN:
        note = f"looked at the first {SHOWN} of {len(ready.frames)} frames"
        ready = FittedClip(ready.frames[:SHOWN], (*ready.notes, note))
    return Job(wish, model, ready, load_clip_statistics(shared.models.folder(wish.checkpoint), model))


def advance(job: Job, should_stop: Callable[[], bool]) -> Iterator[None]:
    """Score some frames at a time; ``job`` grows before each step is yielded."""
    for maps in iterate(job.model, job.ready.frames, job.wish.seed, SEGMENT):
        job.maps.append(maps)
        yield
        if should_stop():
            return


def finish(shared: Shared, job: Job) -> tuple[Surprisal, Run]:
    """Look for frames out of order, and write arrays, a sheet, a film and the settings."""
    found = finalize(job.model, job.ready, job.maps, job.statistics, job.wish.quantile, job.wish.seed)
    run = Run(shared.runs.fresh())
    name = str(job.wish.checkpoint)
    surprise_files.write(run.folder, "surprise", found, preview_fps(shared, name))
    run.settings.write_text(_record(shared, job, found), encoding="utf-8")
    return found, run


def _record(shared: Shared, job: Job, found: Surprisal) -> str:
    """Figures, everything they depend on, and the command that makes them again."""
    identity = engine.identity(shared, str(job.wish.checkpoint))
    names = [Path(path).name for path in job.wish.paths]
    words = [
        "vflow",
        "score",
        "--checkpoint",
        identity["checkpoint"],
        "--input",
        *names,
        "--maps-dir",
        "maps",
    ]
    words += ["--quantile", f"{job.wish.quantile:g}", "--seed", str(job.wish.seed)]
    record = {
        **identity,
        "files": names,
        **found.to_json(),
        "command": shlex.join(words),
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
    return json.dumps(record, indent=2) + "\n"
