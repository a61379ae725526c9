"""Kinds of walk: the controls each needs and its words, by family of models, and what a checkpoint can do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from vflow.checkpoint import checkpoint_hash
from vflow.errors import CheckpointError, VflowError
from vflow.pipelines.walk.directions import Directions, load_directions
from vflow.registry import walks

from ..shared.context import AppContext
from ..shared.examples import FOLDER
from ..shared.models import ModelStore

LIKELIEST = "likeliest"
ALL = "all"
LEAST_EFFECT = 1.0
"""Grey levels, root mean square: a level whose walk changes pictures by less is not offered."""
EFFECTS = FOLDER / "walk-effects.json"


@dataclass(frozen=True)
class Kind:
    """A kind of walk.

    Attributes:
        name: as ``vflow.walk`` calls it. info: one sentence below the buttons.
        start: label of the first upload box. end: of the second; empty: there is none.
        groups: there are two boxes for groups of examples.
        controls: further controls it needs: direction, level, extent, temperature, steps, frames, futures.
    """

    name: str
    info: str
    start: str = ""
    end: str = ""
    groups: bool = False
    controls: frozenset[str] = frozenset({"steps"})

    @property
    def title(self) -> str:
        """Text of its button."""
        return self.name.capitalize()

    def draws_noise(self, *, random: bool) -> bool:
        """True if noise is drawn whose temperature can be chosen; ``random``: the start is a sample."""
        return "temperature" in self.controls or (random and self.name != "temperature")

    def starts_at_random(self, family: str, *, upload: bool) -> bool:
        """True if the walk starts from a sample, unless from an upload: digits can."""
        return family == "digits" and not self.groups and not upload


ORDER = ("digits", "videoflow", "colorizer")  # of families: digits can walk without an input
CLIP = "a clip: images in order, one video, or npz"
FRAMES = frozenset({"temperature", "frames"})
TWO_FUTURES = Kind(
    "blend",
    "From one future of a clip to another, numbered as in Predict with this seed.",
    walks()["videoflow"].start,
    controls=frozenset({"steps", "futures"}) | FRAMES,
)
ALL_TEN = Kind(
    "transfer", "The style of one digit as all ten digits.", walks()["digits"].start, controls=frozenset()
)
COLORS = Kind(
    "transfer", "From a photo's own colours to those of another photo.",
    "Photo to colour", "Photo with the colours",
)  # fmt: skip


def kinds(family: str) -> tuple[Kind, ...]:
    """Walks that models of a family can do, in the order offered; direction is the first.

    Raises:
        CheckpointError: models of this family have no walks.
    """
    if family not in (known := walks()):
        raise CheckpointError(f"{family}: no model to walk through; choose one of {', '.join(known)}")
    video, start = family == "videoflow", known[family].start
    clip = FRAMES if video else frozenset()
    direction = Kind(
        "direction",
        "Less and more of one effect: both ways along a direction in which training data vary most.",
        start,
        controls=frozenset({"steps", "direction", "level", "extent"}) | clip,
    )
    interpolate = Kind(
        "interpolate",
        "From one input to another. The ends are the inputs themselves.",
        f"From: {CLIP}" if video else start.replace("Start", "From"),
        f"To: {CLIP}" if video else start.replace("Start", "To"),
        controls=frozenset({"steps"}) | clip,
    )
    temperature = Kind(
        "temperature",
        "The same noise at rising temperature: the most typical result first, then more and more variation.",
        start,
        controls=frozenset({"steps", "extent"} | (clip - {"temperature"})),
    )
    groups = Kind(
        "semantic",
        "From one group of examples towards another, such as from thin digits to bold ones.",
        start.replace("Start", "Start (optional)"),
        groups=True,
        controls=frozenset({"steps", "level", "extent"}) | clip,
    )
    if family == "colorizer":
        return direction, interpolate, COLORS, temperature, groups
    return direction, TWO_FUTURES if video else ALL_TEN, interpolate, temperature, groups


def walkable(models: ModelStore) -> list[str]:
    """Names of the checkpoints whose models can be walked through."""
    return [name for name in models.names() if models.family(name) in walks()]


def first_checkpoint(models: ModelStore) -> str | None:
    """The checkpoint whose walks come first, if any."""
    return next(filter(None, map(models.default, ORDER)), None)


def find_kind(family: str, name: str | None) -> Kind:
    """The kind called ``name``, or the family's second if it has none of that name."""
    offered = kinds(family)
    return next((kind for kind in offered if kind.name == name), offered[1])


@dataclass(frozen=True)
class Capabilities:
    """Abilities of a checkpoint.

    Attributes:
        family: of its model.
        kinds: walks it can do.
        levels: (name of a level, its number as text), coarse to fine, then all together.
        explained: shares of variance of the stored directions, by level: the one that changes pictures
            most first, without those that change next to nothing.
        note: remark for people.
        effects: what directions do, in words, by level; empty for one whose effect is not clear.
    """

    family: str
    kinds: tuple[Kind, ...]
    levels: list[tuple[str, str]]
    explained: dict[str, tuple[float, ...]]
    note: str
    effects: dict[str, list[str]]


def capabilities(app: AppContext, name: str | None) -> Capabilities:
    """Abilities of the checkpoint ``name``.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    model = app.models.load(name)
    family, note = str(model.config.family), ""
    try:
        directions = stored_directions(app, name)
    except VflowError as error:
        directions, note = None, app.error_message(error)
    levels = level_names(model.latent_shapes)
    stored = {level: found.explained for level, found in directions.levels.items()} if directions else {}
    in_order = {level: stored[level] for _, level in levels if level in stored}
    known = measured_effects(app.models.folder(name))
    explained = by_effect(in_order, {level: each["change"] for level, each in known.items()})
    offered = kinds(family) if explained else kinds(family)[1:]
    if not explained and not note:
        note = (
            "This model comes without principal directions, so it cannot walk along them. "
            f"To make them: python scripts/directions.py --config PRESET --checkpoint {name}"
        )
    words = {level: each["effects"] for level, each in known.items()}
    return Capabilities(family, offered, levels, explained, note, words)


def by_effect(
    explained: dict[str, tuple[float, ...]], effects: dict[str, float]
) -> dict[str, tuple[float, ...]]:
    """Levels in order of their effect, without those that have next to none, and without all levels together
    where these do what one of them does; as they are where no effect is known."""
    visible = [level for level in explained if effects.get(level, LEAST_EFFECT) >= LEAST_EFFECT]
    if any(effects.get(level) == effects.get(ALL, -1.0) for level in visible if level != ALL):
        visible = [level for level in visible if level != ALL]
    ranked = sorted(visible or explained, key=lambda level: effects.get(level, 0.0), reverse=True)
    return {level: explained[level] for level in ranked}


@lru_cache(maxsize=32)
def measured_effects(folder: Path) -> dict[str, Any]:
    """Change of pictures by a walk at each level, in grey levels, and effects of its directions, in words;
    empty for checkpoints that do not ship."""
    known: dict[str, dict[str, Any]] = json.loads(EFFECTS.read_text(encoding="utf-8"))
    return known.get(checkpoint_hash(folder), {})


def stored_directions(app: AppContext, name: str | None) -> Directions | None:
    """Principal directions stored beside a checkpoint; None if there are none.

    Raises:
        CheckpointError: the checkpoint or the file is damaged.
    """
    return load_directions(app.models.folder(name), app.models.load(name))


def level_names(shapes: Sequence[Sequence[int]]) -> list[tuple[str, str]]:
    """(name of a level, its number as text), coarse to fine, and all levels together.

    Args:
        shapes: the model's ``latent_shapes``, (C, h, w) per level; a single number is a displacement, several
            without a place are a mean colour or augmented dimensions.
    """
    named = [(_level_name(*shape), str(level)) for level, shape in enumerate(shapes)]
    if len(shapes) > 1:
        named[0] = (f"Finest detail, {named[0][0]}", "0")
    spatial = [level for level, (_, height, width) in enumerate(shapes) if height * width > 1]
    if len(spatial) > 1:
        named[spatial[-1]] = (f"Coarsest layout, {named[spatial[-1]][0]}", str(spatial[-1]))
    return [*reversed(named), ("All levels together", ALL)]


def _level_name(channels: int, height: int, width: int) -> str:
    if height * width > 1:
        return f"{height}×{width} grid"
    return "Motion of the frame" if channels == 1 else "Whole image"


def step_names(family: str, kind: str, positions: Sequence[float]) -> list[str]:
    """Positions along a walk in the words of its kind."""
    if kind == "direction":
        return [f"{_signed(p)} σ" if p else "start" for p in positions]
    if kind == "semantic":
        return [f"{_signed(100 * p / 3, 0)}%" if p else "start" for p in positions]
    if kind == "temperature":
        return [f"T {p:.2f}" for p in positions]
    if kind == "transfer" and family == "digits":
        return [f"as {p:.0f}" for p in positions]
    return [f"{100 * p:.0f}%" for p in positions]


def initial_step(kind: str, positions: Sequence[float]) -> int:
    """The step shown first: the start of the walk, or the temperature nearest to 1."""
    wanted = {"direction": 0.0, "semantic": 0.0, "temperature": 1.0}.get(kind, positions[0])
    return min(range(len(positions)), key=lambda index: abs(positions[index] - wanted))


def _signed(value: float, digits: int = 1) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")
