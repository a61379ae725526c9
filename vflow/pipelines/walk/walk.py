"""Latent walks: noise ε that moves step by step and stays as likely as any, and its decoding."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vflow.errors import CheckpointError, ConfigError
from vflow.models import configuration
from vflow.pipelines.walk.directions import Directions, principal_directions
from vflow.pipelines.walk.space import (
    Path,
    Point,
    Progress,
    WalkAdapter,
    WalkSettings,
    between,
    flatten,
    move,
    unflatten,
)
from vflow.registry import resolve, walks

if TYPE_CHECKING:
    from torch import nn

Inputs = Any
"""A sequence of inputs, or one alone."""
FEWEST = 3
"""Inputs from which on they give principal directions of their own."""


@dataclass(frozen=True)
class Walk:
    """A finished walk.

    Attributes:
        frames: uint8 (steps, H, W, C), or clips (steps, T, H, W, C).
        positions: of the steps: standard deviations along a direction, shares of the way from one input
            to the other, temperatures, or labels.
        kind: as in the settings.
        given: frames at the start of each clip that are not predictions; 0 for pictures.
        notes: remarks for people on what was done to the inputs.
    """

    frames: np.ndarray
    positions: tuple[float, ...]
    kind: str
    given: int = 0
    notes: tuple[str, ...] = ()


def walk(
    model: nn.Module,
    inputs: Inputs = (),
    settings: WalkSettings | None = None,
    *,
    directions: Directions | None = None,
    negatives: Sequence[Any] = (),
    positives: Sequence[Any] = (),
) -> Walk:
    """Walk through a model's noise.

    All walks act on ε = (z − μ) / σ, which the model takes for standard normal. Those of kind ``temperature``
    scale it; others keep its length where that is typical (see ``vflow.pipelines.walk.space``). Decoding the
    noise of an input gives the input back.

    Args:
        model: from ``vflow.load``.
        inputs: what the walk starts from, and for interpolations and transfers also where it leads: clips
            (T, H, W, C) for video models, digits (H, W) or photos (H, W, 3); one alone need not be in a list.
            Digits may be left out when the settings name a label: one is drawn.
        settings: kind and length of the walk, and more; None: ``WalkSettings()``.
        directions: from ``vflow.load_directions``, for kind ``direction``; without them three or more inputs
            give their own, and the walk starts from the first.
        negatives, positives: for kind ``semantic``: at 3 the walk has moved by all of their difference.

    Raises:
        InputError: an input cannot be used. ConfigError: the kind does not suit the model or the inputs.
        CheckpointError: there are no walks for such models.

    Examples:
        >>> model = vflow.load("digits")
        >>> settings = vflow.WalkSettings(kind="temperature", steps=3, label=7)
        >>> vflow.walk(model, (), settings).frames.shape
        (3, 28, 28, 1)
    """
    steps = iterate(model, inputs, settings, directions=directions, negatives=negatives, positives=positives)
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            made: Walk = finished.value
            return made


def iterate(
    model: nn.Module,
    inputs: Inputs = (),
    settings: WalkSettings | None = None,
    *,
    directions: Directions | None = None,
    negatives: Sequence[Any] = (),
    positives: Sequence[Any] = (),
) -> Generator[Progress, None, Walk]:
    """The same walk, part by part; arguments and errors are those of ``walk``.

    Yields:
        Progress, after each part.

    Returns:
        The walk: ``made = yield from iterate(...)``.
    """
    settings = settings or WalkSettings()
    several = inputs if isinstance(inputs, Sequence) and not isinstance(inputs, str) else [inputs]
    adapter = open_adapter(model, settings)
    path = _path(adapter, several, settings, directions, (negatives, positives))
    frames = yield from adapter.decode(path)
    given = frames.shape[1] - settings.num_frames if frames.ndim == 5 else 0
    return Walk(frames, path.positions, settings.kind, given, tuple(adapter.notes))


def open_adapter(model: nn.Module, settings: WalkSettings) -> WalkAdapter:
    """Adapter of ``model`` to walks.

    Raises:
        CheckpointError: there are no walks for such models. ConfigError: settings that do not suit it.
    """
    family = configuration(model).family
    if family not in (known := walks()):
        raise CheckpointError(f"{family}: no model to walk through; choose one of kind {', '.join(known)}")
    adapter: WalkAdapter = resolve(known[family].adapter)(model, settings)
    return adapter


def _path(
    adapter: WalkAdapter,
    inputs: Sequence[Any],
    settings: WalkSettings,
    directions: Directions | None,
    groups: tuple[Sequence[Any], Sequence[Any]],
) -> Path:
    extra_kinds = adapter.extra_kinds()
    if settings.kind in extra_kinds:
        return extra_kinds[settings.kind](inputs)
    if settings.kind == "direction":
        return _principal(adapter, inputs, settings, directions)
    if settings.kind == "semantic":
        return _semantic(adapter, inputs, settings, groups)
    if settings.kind == "interpolate":
        positions, (a, b) = settings.one_way(), adapter.pair(inputs)
        conditions = [adapter.mix_conditions(a.condition, b.condition, min(t, 1.0)) for t in positions]
        return Path(positions, conditions, between(a.eps, b.eps, positions))
    choices = ", ".join(sorted({*extra_kinds, "direction", "semantic", "interpolate"}))
    raise ConfigError(f"kind {settings.kind} is not for {adapter.name} models; choose {choices}")


def _principal(
    adapter: WalkAdapter, inputs: Sequence[Any], settings: WalkSettings, directions: Directions | None
) -> Path:
    """Path both ways along a direction of the data, in its standard deviations."""
    start = adapter.start(inputs)
    if directions is None:
        if len(inputs) < FEWEST:
            raise ConfigError(
                "no principal directions are stored with this model, or none were given (directions); run "
                f"scripts/directions.py, or give {FEWEST} or more inputs to find some in them"
            )
        noise = [start.eps, *(adapter.start([item]).eps for item in inputs[1:])]
        directions = principal_directions([torch.cat(level) for level in zip(*noise, strict=True)])
    found = directions.at(settings.level, len(start.eps))
    if settings.direction >= len(found.vectors):
        most = len(found.vectors) - 1
        raise ConfigError(f"direction must be between 0 and {most} at this level, got {settings.direction}")
    unit = math.sqrt(float(found.variance[settings.direction]))
    return _along(start, found.vectors[settings.direction], unit, settings)


def _semantic(
    adapter: WalkAdapter,
    inputs: Sequence[Any],
    settings: WalkSettings,
    groups: tuple[Sequence[Any], Sequence[Any]],
) -> Path:
    """Path both ways along the difference of two groups' means; position 3 has moved by all of it."""
    if not all(len(group) for group in groups):
        raise ConfigError(
            "a semantic direction leads from negatives to positives: give both groups of inputs"
        )
    means = []
    for group in groups:
        noise = zip(*(adapter.start([item]).eps for item in group), strict=True)
        means.append(_part([torch.cat(level).mean(0, keepdim=True) for level in noise], settings.level))
    difference = (means[1] - means[0])[0]
    length = float(difference.norm())
    if length < 1e-6:
        raise ConfigError("both groups have the same noise; give inputs that differ")
    start = adapter.start(inputs if len(inputs) else groups[0][:1])
    return _along(start, difference / length, length / 3, settings)


def _along(start: Point, direction: Tensor, unit: float, settings: WalkSettings) -> Path:
    """Path along ``direction``, one of the settings' level; ``unit`` is its standard deviation."""
    positions, eps = settings.both_ways(), start.eps
    here = _part(eps, settings.level)
    moved = move(here, direction.to(here.device), [unit * t for t in positions])
    conditions = [start.condition] * len(positions)
    if settings.level is None:
        return Path(positions, conditions, unflatten(moved, eps))
    levels = [level.expand(len(positions), -1, -1, -1) for level in eps]
    levels[settings.level] = moved.reshape(len(positions), *eps[settings.level].shape[1:])
    return Path(positions, conditions, tuple(levels))


def _part(eps: Sequence[Tensor], level: int | None) -> Tensor:
    """The noise of one level, or of all, (B, D).

    Raises:
        ConfigError: there is no such level.
    """
    if level is None:
        return flatten(eps)
    if not -len(eps) <= level < len(eps):
        raise ConfigError(f"level must be between {-len(eps)} and {len(eps) - 1}, got {level}")
    return eps[level].flatten(1)
