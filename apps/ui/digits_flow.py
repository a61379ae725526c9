"""From a class to drawn digits and their files: the path that the Digits tab and its endpoint both take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vflow.data import media
from vflow.errors import InputError
from vflow.pipelines.batch.records import DigitsRecord
from vflow.pipelines.digits.digits import ALL, Chunk, draw
from vflow.pipelines.video.predict import PredictSettings

from . import engine
from .common import Shared

KIND = "digits"
MAX_DIGITS = 32  # of a class
SHEET_SCALE = 4  # the sheet repeats each pixel so many times
ROW = 8  # digits
GAP = 2  # pixels of the sheet between digits, before that


@dataclass(frozen=True)
class Wish:
    """What a person asked for, checked."""

    checkpoint: str | None
    labels: tuple[int, ...]
    settings: PredictSettings


@dataclass(frozen=True)
class Run:
    """Drawn digits on disk. Small and copyable: arrays stay there."""

    folder: Path
    checkpoint: str

    @property
    def native(self) -> Path:
        return self.folder / "digits.npz"

    @property
    def sheet(self) -> Path:
        return self.folder / "digits.png"

    @property
    def settings(self) -> Path:
        return self.folder / "settings.json"

    def sample(self, index: int) -> tuple[np.ndarray, int]:
        """One digit, uint8 (28, 28), and its class.

        Raises:
            InputError: the run was removed, or there is no such digit.
        """
        try:
            with np.load(self.native) as saved:
                images, labels = saved["images"], saved["labels"]
        except FileNotFoundError as error:
            raise InputError("these digits have been cleared from the server; draw again") from error
        if not 0 <= index < len(images):
            raise InputError(f"digit {index + 1}: there are {len(images)} digits to choose from")
        return images[index], int(labels[index])


def wish(
    checkpoint: str | None, label: str | None, num_samples: float, temperature: float, seed: float
) -> Wish:
    """Check what comes from a form or an endpoint.

    Raises:
        InputError: a value is missing or out of range; the message names it and the range.
    """
    text = str(label or "").strip().lower()
    if text != ALL and text not in map(str, range(10)):
        raise InputError(f"class: give a digit from 0 to 9, or {ALL}")
    settings = PredictSettings(
        num_frames=1,
        num_samples=engine.whole("count", num_samples, 1, MAX_DIGITS),
        temperature=engine.within("temperature", temperature, 0, engine.MAX_TEMPERATURE),
        seed=engine.whole("seed", seed, 0, engine.MAX_SEED),
    )
    return Wish(checkpoint, tuple(range(10)) if text == ALL else (int(text),), settings)


@dataclass
class Job:
    """A wish under way: digits so far, uint8 (M, 28, 28), and their classes."""

    wish: Wish
    images: np.ndarray = field(default_factory=lambda: np.empty((0, 28, 28), np.uint8))
    labels: tuple[int, ...] = ()
    redrawn: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> int:
        return len(self.labels)

    @property
    def total(self) -> int:
        return len(self.wish.labels) * self.wish.settings.num_samples

    def add(self, chunk: Chunk) -> None:
        """Take some digits of a class."""
        self.images = np.concatenate([self.images, chunk.images])
        self.labels += (chunk.label,) * len(chunk.images)
        self.redrawn += chunk.counts.redrawn

    def summary(self) -> str:
        """One line on what was drawn."""
        count = "1 digit" if self.done == 1 else f"{self.done} digits"
        many = count if self.done == self.total else f"Stopped after {self.done} of {self.total} digits"
        return f"{many} in {time.monotonic() - self.began:.1f} s, seed {self.wish.settings.seed}"

    def remarks(self) -> list[str]:
        """What else a person should know."""
        return [f"{self.redrawn} digit(s) were not finite and were drawn again."] if self.redrawn else []


def advance(shared: Shared, job: Job, should_stop: Callable[[], bool]) -> Iterator[None]:
    """Draw chunk by chunk; ``job`` grows before each step is yielded.

    Raises:
        CheckpointError, InputError: with the message to show.
    """
    model = shared.models.load(job.wish.checkpoint, KIND)
    for chunk in draw(model, job.wish.labels, job.wish.settings):
        job.add(chunk)
        yield
        if should_stop():
            return


def keep(shared: Shared, job: Job) -> Run:
    """Write the job's files: arrays, a sheet of all digits, and the settings that make them again."""
    run = Run(shared.runs.fresh(), str(job.wish.checkpoint))
    media.write_npz(run.native, images=job.images, labels=np.array(job.labels, np.int64))
    media.write_png(run.sheet, sheet(job.images, job.labels))
    settings, labels = job.wish.settings, job.wish.labels
    record = DigitsRecord(
        **engine.identity(shared, run.checkpoint),
        label=str(labels[0]) if len(labels) == 1 else ALL,
        num_samples=settings.num_samples,
        temperature=settings.temperature,
        seed=settings.seed,
        format="npz",
    )
    run.settings.write_text(record.to_json(), encoding="utf-8")
    return run


def sheet(images: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    """Digits in rows of eight, a new row for each class, each pixel repeated four times: uint8 (H, W)."""
    rows: list[np.ndarray] = []
    for label in dict.fromkeys(labels):
        mine = images[np.array(labels) == label]
        rows += [mine[first : first + ROW] for first in range(0, len(mine), ROW)]
    most = max(len(row) for row in rows)
    side = images.shape[1] + GAP
    page = np.full((len(rows) * side + GAP, most * side + GAP), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            page[y * side + GAP :, x * side + GAP :][: image.shape[0], : image.shape[1]] = image
    return page.repeat(SHEET_SCALE, 0).repeat(SHEET_SCALE, 1)
