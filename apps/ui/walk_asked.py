"""What a form or an endpoint asks of a walk: checked, and its files read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vflow.data import media
from vflow.errors import InputError
from vflow.pipelines.digits.preprocess import prepare_digit
from vflow.pipelines.video.preprocess import fit
from vflow.pipelines.walk.space import WalkSettings

from . import engine, walk_kinds
from .uploads import paths_of

MAX_STEPS = 33
MAX_FRAMES = 30
MAX_EXTENT = 10
MAX_SAMPLES = 10_000
FAR = ("direction", "semantic", "temperature")  # kinds that go as far as they are told


@dataclass(frozen=True)
class Asked:
    """A walk as a form or an endpoint asks for it, unchecked; names and counting as on the command line."""

    checkpoint: str | None = None
    kind: str = "direction"
    files: Sequence[str] | None = None
    to: Sequence[str] | None = None
    away: Sequence[str] | None = None
    towards: Sequence[str] | None = None
    steps: float = 9
    direction: float = 0
    level: str = "-1"
    extent: float = 0
    temperature: float = 1
    seed: float = 0
    label: str = walk_kinds.LIKELIEST
    num_frames: float = 8
    first_sample: float = 0
    second_sample: float = 1

    def paths(self) -> list[str]:
        """All files, for messages."""
        return [path for group in (self.files, self.to, self.away, self.towards) for path in paths_of(group)]


def settings_from(asked: Asked) -> WalkSettings:
    """Check what comes from a form or an endpoint.

    Raises:
        InputError, ConfigError: a value is missing or out of range; the message names it and the range.
    """
    label = str(asked.label or walk_kinds.LIKELIEST)
    extent = engine.within("extent", asked.extent, 0, MAX_EXTENT) if asked.kind in FAR else 0.0
    samples = tuple(
        engine.whole("future", sample, 0, MAX_SAMPLES - 1)
        for sample in (asked.first_sample, asked.second_sample)
    )
    return WalkSettings(
        kind=asked.kind,
        steps=engine.whole("steps", asked.steps, 2, MAX_STEPS),
        direction=engine.whole("direction", asked.direction, 0, 63),
        level=_level(str(asked.level)),
        extent=extent or None,
        temperature=engine.within("temperature", asked.temperature, 0, engine.MAX_TEMPERATURE),
        seed=engine.whole("seed", asked.seed, 0, engine.MAX_SEED),
        label=None if label == walk_kinds.LIKELIEST else _label(label),
        num_frames=engine.whole("frames", asked.num_frames, 1, MAX_FRAMES),
        samples=(samples[0], samples[1]),
    )


@dataclass(frozen=True)
class Inputs:
    """Files as the model takes them, and what is said and shown of them.

    Attributes:
        starts: what the walk starts from, then where it leads; may be empty.
        away, towards: two groups.
        shown: uint8 (T, H, W, C) of each of ``starts``.
        notes: remarks for people.
        boxes: the files of each box that was read: files, to, away, towards.
    """

    starts: list[Any]
    away: list[Any]
    towards: list[Any]
    shown: list[np.ndarray]
    notes: tuple[str, ...]
    boxes: dict[str, list[str]]


def read(model: Any, asked: Asked) -> Inputs:
    """Read the files that this kind of walk takes.

    Raises:
        InputError: one is missing, or cannot be used.
    """
    names = [one.name for one in walk_kinds.kinds(model.config.family)]
    if asked.kind not in names:
        raise InputError(f"{asked.checkpoint}: no walk of kind {asked.kind!r}; choose {', '.join(names)}")
    kind = walk_kinds.kind(model.config.family, asked.kind)
    _require(kind, model.config.family, asked)
    boxes = _boxes(kind, asked)
    clips = [_clip(model, boxes[name]) for name in ("files", "to") if boxes[name]]
    groups = [boxes["away"], boxes["towards"]]
    away, towards = ([_given(model, _clip(model, [path])) for path in group] for group in groups)
    starts = [_given(model, clip) for clip in clips]
    shown = [_shown(model, clip) for clip in clips]
    notes = dict.fromkeys(note for clip in clips for note in _notes(model, clip))
    return Inputs(starts, away, towards, shown, tuple(notes), boxes)


def _boxes(kind: walk_kinds.Kind, asked: Asked) -> dict[str, list[str]]:
    """Files by box; none in boxes that this kind of walk does not show."""
    shown = {"files": True, "to": bool(kind.second), "away": kind.groups, "towards": kind.groups}
    return {name: paths_of(getattr(asked, name)) if there else [] for name, there in shown.items()}


def _require(kind: walk_kinds.Kind, model: str, asked: Asked) -> None:
    """Say what is missing in the words of the form, before the model says it in its own."""
    start, end = paths_of(asked.files), paths_of(asked.to)
    drawn = model == "digits" and asked.label not in (None, walk_kinds.LIKELIEST)
    if kind.groups and not (paths_of(asked.away) and paths_of(asked.towards)):
        raise InputError("two groups are needed: add examples to both, away from and towards")
    if kind.second and len(start and end) == 0 and not (drawn and not start and not end):
        raise InputError("two inputs are needed: where the walk starts and where it leads")
    if not kind.groups and not start and not drawn:
        raise InputError("no input given; add one, or choose an example")


def _clip(model: Any, paths: list[str]) -> media.Clip:
    """One input: a clip, or the one picture that it must be."""
    if model.config.family == "videoflow":
        return media.read_frames(paths)
    if len(paths) > 1:
        raise InputError(f"{Path(paths[1]).name}: one picture is walked at a time; remove the others")
    return media.read_image(paths[0])


def _given(model: Any, clip: media.Clip) -> Any:
    """An input as ``walk`` takes it."""
    return prepare_digit(clip.frames[0], clip.source) if model.config.family == "digits" else clip


def _shown(model: Any, clip: media.Clip) -> np.ndarray:
    """An input as people see it: of a video, the frames that matter; of a digit, what was made of it."""
    if model.config.family == "videoflow":
        return fit(model.config, clip)[0][-model.config.context - 1 :]
    if model.config.family == "digits":
        return prepare_digit(clip.frames[0], clip.source)[None, ..., None]
    return clip.frames[:1]


def _notes(model: Any, clip: media.Clip) -> tuple[str, ...]:
    return fit(model.config, clip)[1] if model.config.family == "videoflow" else clip.notes


def _level(text: str) -> int | None:
    if text == walk_kinds.ALL:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"level: '{text}': give a whole number, or {walk_kinds.ALL}") from error


def _label(text: str) -> int:
    if not text.isdigit():
        raise InputError(f"label: '{text}': give a digit, or {walk_kinds.LIKELIEST}")
    return int(text)
