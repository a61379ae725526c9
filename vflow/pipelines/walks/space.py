"""What walks need to know of a model: how inputs become noise ε, and how noise is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from vflow.errors import ConfigError, InputError
from vflow.pipelines.walks.geometry import Levels

MAX_STEPS, MAX_EXTENT = 64, 20.0
KINDS = ("direction", "semantic", "interpolate", "transfer", "temperature", "blend")


@dataclass(frozen=True)
class WalkSettings:
    """What to walk.

    Attributes:
        kind: ``direction`` (a principal one), ``semantic`` (from one group of inputs to another),
            ``interpolate`` (between two inputs), ``transfer`` (of a style or of colours), ``temperature``,
            or ``blend`` (of two futures).
        steps: 2..64. An odd number has the start in its middle.
        direction: which principal direction, 0 the one with most variance.
        level: whose noise moves, 0 the finest, −1 the coarsest; None: all together.
        extent: how far directions go each way, in standard deviations (3), or the last temperature (1.5).
        temperature: scale of noise that is drawn: of the start where there is no input, of futures; and in
            walks of what guides a frame, of its pixels' noise (up to 1).
        seed: names the noise.
        label: class of a digit; None: the likeliest for the given digit.
        num_frames: predicted frames of each clip.
        samples: which two futures are blended.
    """

    kind: str = "direction"
    steps: int = 9
    direction: int = 0
    level: int | None = -1
    extent: float | None = None
    temperature: float = 1.0
    seed: int = 0
    label: int | None = None
    num_frames: int = 8
    samples: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"kind {self.kind!r} is unknown; choose {', '.join(KINDS)}")
        for name, low, high in (("steps", 2, MAX_STEPS), ("num_frames", 1, 64), ("direction", 0, 63)):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"{name} must lie in {low}..{high}, got {getattr(self, name)}")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must lie in 0..2^63 − 1, got {self.seed}")
        if not isinstance(self.temperature, float | int) or not 0 <= self.temperature <= 2:
            raise ConfigError(f"temperature must be one number in 0..2, got {self.temperature}")
        most = 2.0 if self.kind == "temperature" else MAX_EXTENT
        if self.extent is not None and not 0 < self.extent <= most:
            raise ConfigError(f"extent must lie above 0 and up to {most:g}, got {self.extent:g}")
        if min(self.samples) < 0 or max(self.samples) >= 10_000:
            raise ConfigError(f"samples must lie in 0..9999, got {self.samples[0]} and {self.samples[1]}")

    def both_ways(self) -> tuple[float, ...]:
        """Positions −extent … extent."""
        extent = 3.0 if self.extent is None else self.extent
        return tuple(np.linspace(-extent, extent, self.steps).round(6).tolist())

    def one_way(self, default: float = 1.0) -> tuple[float, ...]:
        """Positions 0 … extent."""
        return tuple(np.linspace(0, self.extent or default, self.steps).round(6).tolist())


@dataclass(frozen=True)
class Point:
    """Where a walk starts or ends: noise per level, each (1, C, h, w), and what it is decoded given."""

    eps: Levels
    scene: Any


class Path(NamedTuple):
    """The steps of a walk: per step its position, what it is decoded given, and a row of ``eps``."""

    positions: tuple[float, ...]
    scenes: Sequence[Any]
    eps: Levels

    def part(self, first: int, stop: int) -> Path:
        """Steps ``first`` … ``stop − 1``."""
        rows = slice(first, stop)
        return Path(self.positions[rows], self.scenes[rows], tuple(level[rows] for level in self.eps))


Kinds = Mapping[str, Callable[[Sequence[Any]], Path]]
"""Kind of walk → its path, from the given inputs."""


Progress = Callable[[int, int], None]
"""Told (done, of how many) as steps are decoded; what it raises ends the walk."""


class Space(Protocol):
    """One kind of model, as walks see it."""

    name: str
    """Of what it makes, for errors."""

    def own(self) -> Kinds:
        """Kinds of walk that are this model's own."""
        ...

    def start(self, inputs: Sequence[Any]) -> Point:
        """The first input, or what is drawn by the seed where there is none.

        Raises:
            InputError: it cannot be used. ConfigError: the model needs one.
        """
        ...

    def pair(self, inputs: Sequence[Any]) -> tuple[Point, Point]:
        """Both ends of an interpolation, alike in form.

        Raises:
            InputError, ConfigError: as for ``start``, or these are not two.
        """
        ...

    def blend(self, a: Any, b: Any, t: float) -> Any:
        """What the step at ``t`` in 0..1 from scene ``a`` to scene ``b`` is decoded given."""
        ...

    def show(self, path: Path, progress: Progress) -> np.ndarray:
        """Decode all steps in one batch: uint8 (steps, H, W, C), of videos (steps, T, H, W, C).

        Raises:
            InputError: a step is not finite.
        """
        ...


def exactly(inputs: Sequence[Any], count: int, what: str) -> None:
    """Refuse another number of inputs.

    Raises:
        ConfigError: says what is needed.
    """
    if len(inputs) != count:
        raise ConfigError(f"{what}, got {len(inputs)} input(s)")


def refuse_label(settings: WalkSettings, name: str) -> None:
    """Refuse a label where models have no classes.

    Raises:
        ConfigError: there is one.
    """
    if settings.label is not None:
        raise ConfigError(f"label is for digits, not for {name} models; leave it out")


def refuse_nonfinite(nonfinite: Tensor, positions: Sequence[float]) -> None:
    """Check decoded steps: ``nonfinite`` (steps,) counts values that are not finite.

    Raises:
        InputError: a step has some; noise that was encoded or moved cannot be drawn anew.
    """
    bad = [position for position, count in zip(positions, nonfinite.tolist(), strict=True) if count]
    if bad:
        raise InputError(f"the step at {bad[0]:+g} is not finite; choose a smaller extent or another input")
