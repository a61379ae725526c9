"""From files or a chosen future to frames: the one path that the page and the endpoints both take."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vflow.checkpoint import checkpoint_hash, find_checkpoints
from vflow.data import media
from vflow.errors import InputError
from vflow.pipelines.batch.records import PredictRecord
from vflow.pipelines.common import CHUNK, Temperature
from vflow.pipelines.video.predict import PredictSettings, Prepared, iterate, prepare
from vflow.randomness import content_hash

from .common import Shared
from .runs import Run

MAX_FUTURES = 32
MAX_FRAMES = 60
MAX_TEMPERATURE = 2
MAX_SEED = 2**31 - 1


@dataclass(frozen=True)
class Wish:
    """What a person asked for, checked. ``source``: paths in order, or frames uint8 (n, H, W, C)."""

    checkpoint: str | None
    source: Sequence[str] | np.ndarray
    settings: PredictSettings


@dataclass
class Job:
    """A wish under way: what the model was given, and the frames so far, uint8 (N, t, H, W, C)."""

    wish: Wish
    model: Any
    prepared: Prepared
    futures: np.ndarray
    redrawn: int = 0

    @property
    def done(self) -> int:
        """Frames predicted so far."""
        return self.futures.shape[1]


def settings_from(
    num_samples: float, num_frames: float, temperature: float, levels: str, seed: float
) -> PredictSettings:
    """Check numbers as they come from a form or an endpoint.

    Args:
        levels: one temperature per level, fine to coarse, separated by commas; empty for one for all.

    Raises:
        InputError: a number is missing or out of range; the message names it and the range.
    """
    return PredictSettings(
        num_frames=whole("frames", num_frames, 1, MAX_FRAMES),
        num_samples=whole("futures", num_samples, 1, MAX_FUTURES),
        temperature=temperatures(temperature, levels),
        seed=whole("seed", seed, 0, MAX_SEED),
    )


def begin(shared: Shared, wish: Wish) -> Job:
    """Load the model and fit the input to it.

    Raises:
        CheckpointError, InputError: with the message to show.
    """
    if not isinstance(wish.source, np.ndarray) and not wish.source:
        raise InputError("no frames given; add images or a video, or choose an example")
    model = shared.models.load(wish.checkpoint, "videoflow")
    check_levels(wish.settings.temperature, model, wish.checkpoint)
    source = wish.source if isinstance(wish.source, np.ndarray) else media.read_frames(wish.source)
    prepared = prepare(model, source)
    nothing = np.repeat(prepared.context[None, :0], wish.settings.num_samples, axis=0)
    return Job(wish, model, prepared, nothing)


def advance(job: Job, should_stop: Callable[[], bool]) -> Iterator[Any]:
    """Predict frame by frame; ``job.futures`` grows before each step is yielded."""
    for step in iterate(job.model, job.prepared.context, job.wish.settings, should_stop=should_stop):
        job.futures, job.redrawn = step.frames, step.counts.redrawn
        yield step


def keep(shared: Shared, job: Job, fps: float) -> Run:
    """Write the job's files: native frames, previews at ``fps``, and the settings that make them again."""
    settings, context = job.wish.settings, job.prepared.context
    name = str(job.wish.checkpoint)
    record = PredictRecord(
        **identity(shared, name),
        num_frames=job.done,
        num_samples=settings.num_samples,
        temperature=settings.temperature,
        seed=settings.seed,
        context_sha=content_hash(context),
        format="npz",
        fps=fps,
    )
    return shared.runs.save(name, context, job.futures, record.to_json(), fps)


def identity(shared: Shared, name: str) -> dict[str, Any]:
    """How a record names the model, so that the command line finds it again, and where it ran."""
    folder = shared.models.folder(name)
    return {
        "checkpoint": name if find_checkpoints().get(name) == folder else str(folder),
        "checkpoint_hash": checkpoint_hash(folder),
        "device": shared.models.device.type,
    }


def work(settings: PredictSettings) -> int:
    """Samples computed per frame, padding included: what a frame costs."""
    return -(-settings.num_samples // CHUNK) * CHUNK


def temperatures(one: float, levels: str | None) -> Temperature:
    """The temperatures ``levels``, or where there are none, the ``one`` for all.

    Raises:
        InputError: one of them is not a number, or out of range.
    """
    parts = [part for part in re.split(r"[,;\s]+", levels or "") if part]
    per_level = tuple(
        within(f"temperature per level: '{part}'", _number(part), 0, MAX_TEMPERATURE) for part in parts
    )
    return per_level or within("temperature", one, 0, MAX_TEMPERATURE)


def check_levels(temperature: Temperature, model: Any, name: str | None) -> None:
    """Refuse another number of temperatures than the model has levels.

    Raises:
        InputError: naming both.
    """
    levels = len(model.latent_shapes)
    if isinstance(temperature, tuple) and len(temperature) != levels:
        raise InputError(f"temperature per level: {len(temperature)} given, {name} has {levels} levels")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def within(name: str, value: float | None, low: int, high: int) -> float:
    if value is None or not low <= value <= high:
        raise InputError(f"{name}: give a number from {low} to {high}")
    return float(value)


def whole(name: str, value: float | None, low: int, high: int) -> int:
    number = within(name, value, low, high)
    if number != int(number):
        raise InputError(f"{name}: give a whole number from {low} to {high}")
    return int(number)
