"""From photos to coloured ones: the one path that the Colourise tab and its endpoint both take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vflow.data import media
from vflow.errors import InputError
from vflow.pipelines.batch.records import ColorRecord
from vflow.pipelines.color.colorize import ColorSettings, PhotoColorizer
from vflow.pipelines.color.hints import Hint
from vflow.pipelines.color.noise import Variant
from vflow.pipelines.color.photo import color_config, read_photo

from . import colourise_files, engine
from .colourise_files import Coloured
from .common import Shared

KIND = "colorizer"
MAX_VARIANTS = 16
MAX_PHOTOS = 50


@dataclass(frozen=True)
class Wish:
    """Variants of one photo that a person asked for, checked."""

    checkpoint: str | None
    path: str
    settings: ColorSettings
    parent: Coloured | None = None
    near: Variant = ()


@dataclass
class Job:
    """A wish under way: planes a and b so far, float32 (n, 2, h, w)."""

    wish: Wish
    palette: PhotoColorizer
    notes: tuple[str, ...]
    planes: list[torch.Tensor] = field(default_factory=list)
    redrawn: int = 0

    @property
    def done(self) -> int:
        return sum(map(len, self.planes))

    def remarks(self) -> list[str]:
        """What else a person should know."""
        redrawn = [f"{self.redrawn} variant(s) were not finite and were drawn again"] if self.redrawn else []
        return [f"{Path(self.wish.path).name}: {text}" for text in (*self.notes, *redrawn)]


def settings_from(
    num_samples: float,
    temperature: float,
    levels: str,
    seed: float,
    hints: Sequence[Hint] = (),
    strength: float = 1.0,
) -> ColorSettings:
    """Check numbers as they come from a form or an endpoint; ``levels`` as for predictions.

    Raises:
        InputError: a number is missing or out of range; the message names it and the range.
    """
    return ColorSettings(
        num_samples=engine.whole("variants", num_samples, 1, MAX_VARIANTS),
        temperature=engine.temperatures(temperature, levels),
        strength=engine.within("strength", strength, 0, 1),
        hints=tuple(hints),
        seed=engine.whole("seed", seed, 0, engine.MAX_SEED),
    )


def check_number(photos: int) -> None:
    """Refuse no photo at all, and too many.

    Raises:
        InputError: with the message to show.
    """
    if photos == 0:
        raise InputError("no photo given; add pictures, or choose an example")
    if photos > MAX_PHOTOS:
        raise InputError(f"{photos} photos; give at most {MAX_PHOTOS} at once")


def begin(shared: Shared, wish: Wish) -> Job:
    """Load the model and read the photo.

    Raises:
        CheckpointError, InputError: with the message to show.
    """
    model = shared.models.load(wish.checkpoint, KIND)
    engine.check_levels(wish.settings.temperature, model, wish.checkpoint)
    photo, notes = read_photo(color_config(model), wish.path)
    if (frames := media.probe(wish.path).frames) > 1:
        notes = (*notes, f"first of {frames} frames")
    return Job(wish, PhotoColorizer(model, photo, wish.settings), notes)


def advance(job: Job, should_stop: Callable[[], bool]) -> Iterator[Any]:
    """Draw eight variants at a time; ``job`` grows before each step is yielded."""
    for colours in job.palette.draw(job.wish.near, should_stop):
        job.planes.append(colours.ab)
        job.redrawn += colours.counts.redrawn
        yield colours


def keep(job: Job, folder: Path) -> Coloured:
    """Put the job's planes and photo on disk, in ``folder``, which is made.

    Raises:
        InputError: the folder that it is to lie in was cleared.
    """
    wish = job.wish
    colourise_files.keep(folder, wish.path, job.palette.photo, torch.cat(job.planes))
    return Coloured(
        folder,
        Path(wish.path).name,
        str(wish.checkpoint),
        wish.settings,
        job.done,
        wish.near,
        wish.parent,
    )


def save_record(shared: Shared, made: Coloured, strength: float) -> Path:
    """A settings file that makes the same pictures again.

    Raises:
        InputError: the folder was cleared.
    """
    path, settings = made.folder / "settings.json", made.settings
    record = ColorRecord(
        **engine.identity(shared, made.checkpoint),
        num_samples=made.count,
        temperature=settings.temperature,
        seed=settings.seed,
        strength=strength,
        hints=tuple(f"{x:g},{y:g},#{bytes(colour).hex()}" for x, y, colour in settings.hints),
        near=made.near,
    )
    with colourise_files.still_there():
        path.write_text(record.to_json(), encoding="utf-8")
    return path
