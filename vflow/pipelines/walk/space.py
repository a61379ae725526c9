"""Movement through standardised noise ε that stays where its density has its mass.

A standard-normal vector of D numbers has a length close to √D. Straight lines through such vectors leave that
shell: the middle between two lies far inside, and what is added to one leads far outside. So longer vectors
turn instead of growing, and the path between two follows the great circle (Shoemake 1985; White 2016,
arXiv 1609.04468). Vectors of few numbers have no such shell, and move straight.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vflow.config.ranges import check_range, check_seed, temperature_per_level
from vflow.errors import ConfigError, InputError, counted
from vflow.models.glow import split_levels
from vflow.pipelines.common import (
    Temperature,
    check_temperature,
    temperature_or_suggested,
)

Levels = tuple[Tensor, ...]
"""Noise of one image, or of one step of a walk per row: per level (B, C, h, w), fine to coarse."""
FEW = 32
"""Below so many numbers the length of a normal vector says little: it varies by more than an eighth."""


def flatten(eps: Sequence[Tensor]) -> Tensor:
    """All levels side by side, (B, D)."""
    return torch.cat([level.flatten(1) for level in eps], 1)


def unflatten(flat: Tensor, like: Sequence[Tensor]) -> Levels:
    """Inverse of ``flatten`` for levels shaped like ``like``, whatever their batch."""
    return split_levels(flat, [tuple(level.shape[1:]) for level in like])


def move(eps: Tensor, direction: Tensor, amounts: Sequence[float]) -> Tensor:
    """ε after each of ``amounts`` along ``direction``, of its dtype: (steps, D).

    With a = ⟨ε, d⟩ + amount, ε becomes a·d + c·(ε − ⟨ε, d⟩ d), where c gives it its length. Noise as long as
    a typical vector, √D, or longer keeps its length: it turns, at most until it is ±d. Shorter noise, as
    at temperatures below 1, moves straight (c = 1) up to the length √D. Amount 0 returns ε.

    Args:
        eps: (1, D). direction: (D,), of length 1. amounts: in standard deviations of the prior, so 1 each.
    """
    start, d = _precise(eps), _precise(direction)
    d = d / d.norm().clamp_min(1e-12)  # stored directions have length 1 to float32 alone
    by = torch.tensor(amounts, dtype=torch.float64)[:, None]
    along = start @ d
    across = start - along[:, None] * d
    to = along[:, None] + by
    if start.shape[1] < FEW:
        return (to * d + across).to(eps)
    typical, length = math.sqrt(start.shape[1]), float(start.norm())
    to = to.clamp(-max(typical, length), max(typical, length))
    rest = across.square().sum().clamp_min(1e-12)
    longest = (to.square() + rest).sqrt().clamp_max(typical) if length < typical else to.new_tensor(length)
    share = ((longest.square() - to.square()) / rest).clamp_min(0).sqrt()
    return (to * d + share * across).to(eps)


def scaled(eps: Sequence[Tensor], amounts: Sequence[float]) -> Levels:
    """``eps`` (1, C, h, w) times each of ``amounts``: (steps, C, h, w)."""
    by = torch.tensor(amounts, dtype=torch.float32)[:, None, None, None]
    return tuple(level * by.to(level.device) for level in eps)


def between(a: Sequence[Tensor], b: Sequence[Tensor], positions: Sequence[float]) -> Levels:
    """Noise at ``positions`` 0..1 of the way from ``a`` to ``b``, along the great circle of each level.

    Lengths go evenly from one to the other. Levels of few numbers take the angle of all levels together, so
    independent draws stay normal: cos θ · a + sin θ · b. The ends return ``a`` and ``b`` themselves.

    Args:
        a, b: per level (1, C, h, w).

    Returns:
        Per level (steps, C, h, w).
    """
    whole = _angle(flatten(a), flatten(b))
    t = torch.tensor(positions, dtype=torch.float64)
    return tuple(_arc(one, other, t, whole) for one, other in zip(a, b, strict=True))


def _arc(a: Tensor, b: Tensor, t: Tensor, whole: float) -> Tensor:
    one, other = _precise(a), _precise(b)
    if a.numel() < FEW:
        left, right = _weights(whole, t)
    else:
        left, right = _weights(_angle(one, other), t)
        lengths = float(one.norm()), float(other.norm())
        now = (1 - t) * lengths[0] + t * lengths[1]
        left, right = left * now / max(lengths[0], 1e-12), right * now / max(lengths[1], 1e-12)
    shape = (-1, *[1] * (a.ndim - 1))
    return (left.view(shape) * one + right.view(shape) * other).to(a)


def _weights(angle: float, t: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of two vectors, ``angle`` apart, whose sum goes along the arc; a line if that is 0 or π."""
    if math.sin(angle) < 1e-6:
        return 1 - t, t
    return torch.sin((1 - t) * angle) / math.sin(angle), torch.sin(t * angle) / math.sin(angle)


def _angle(a: Tensor, b: Tensor) -> float:
    """Angle between two vectors, in radians; π / 2 if one of them has no length."""
    one, other = _precise(a).flatten(), _precise(b).flatten()
    lengths = float(one.norm() * other.norm())
    return math.acos(min(1.0, max(-1.0, float(one @ other) / lengths))) if lengths else math.pi / 2


def _precise(x: Tensor) -> Tensor:
    """Float64, on the CPU: not every device has it."""
    return x.cpu().double()


EDGE = 0.01
"""Grey levels between a dequantised pixel and the edge of its bin, at least."""
DEQUANTIZE_ROUNDS = 4
MAX_STEPS, MAX_EXTENT = 64, 20.0
KINDS = ("direction", "semantic", "interpolate", "transfer", "temperature", "blend")


@dataclass(frozen=True)
class WalkSettings:
    """Settings of a walk.

    Attributes:
        kind: ``direction`` (a principal one), ``semantic`` (from one group of inputs to another),
            ``interpolate`` (between two inputs), ``transfer`` (of a style or of colours), ``temperature``,
            or ``blend`` (of two futures).
        steps: 2..64. An odd number has the start in its middle.
        direction: which principal direction, 0 the one with most variance.
        level: whose noise moves, 0 the finest, −1 the coarsest; None: all together.
        extent: how far directions go each way, in standard deviations (3), the last temperature (1.5), or how
            far other walks go, 1 to their end.
        temperature: scale of noise that is drawn, for a start without an input and for futures: one number,
            or one per level, fine to coarse. In walks of the latent that leads to a frame's reference, scale
            of its pixels' noise too (up to 1). None: what the checkpoint suggests.
        seed: names the noise.
        label: class of a digit; None: the likeliest for the given digit.
        num_frames: predicted frames of each clip.
        samples: which two futures are blended.

    Examples:
        >>> vflow.WalkSettings(kind="interpolate", steps=9, level=-1).steps
        9
    """

    kind: str = "direction"
    steps: int = 9
    direction: int = 0
    level: int | None = -1
    extent: float | None = None
    temperature: Temperature | None = None
    seed: int = 0
    label: int | None = None
    num_frames: int = 8
    samples: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"kind {self.kind!r} is unknown; choose {', '.join(KINDS)}")
        for name, low, high in (("steps", 2, MAX_STEPS), ("num_frames", 1, 64), ("direction", 0, 63)):
            check_range(name, getattr(self, name), low, high, whole=True)
        check_seed(self.seed)
        if self.temperature is not None:
            check_temperature(self.temperature)
        if self.kind == "temperature" and self.temperature not in (None, 1):
            raise ConfigError("temperature: rises along this walk; leave it out, and give its end as extent")
        most = 2.0 if self.kind == "temperature" else MAX_EXTENT
        if self.extent is not None and not 0 < self.extent <= most:
            raise ConfigError(f"extent must be above 0 and at most {most:g}, got {self.extent:g}")
        if min(self.samples) < 0 or max(self.samples) >= 10_000:
            first, second = self.samples
            raise ConfigError(f"samples must be between 0 and 9999, got {first} and {second}")

    def temperature_for(self, config: Any) -> Temperature:
        """The temperature of noise that is drawn by a model of this ``config``; 1 where it is to rise."""
        return 1.0 if self.kind == "temperature" else temperature_or_suggested(self.temperature, config)

    def both_ways(self) -> tuple[float, ...]:
        """Positions −extent … extent."""
        extent = 3.0 if self.extent is None else self.extent
        return tuple(np.linspace(-extent, extent, self.steps).round(6).tolist())

    def one_way(self, default: float = 1.0) -> tuple[float, ...]:
        """Positions 0 … extent."""
        return tuple(np.linspace(0, self.extent or default, self.steps).round(6).tolist())


@dataclass(frozen=True)
class Point:
    """Start or end of a walk: noise per level, each (1, C, h, w), and the condition to decode it under."""

    eps: Levels
    condition: Any


class Path(NamedTuple):
    """Steps of a walk: for each its position, its condition and a row of ``eps``."""

    positions: tuple[float, ...]
    conditions: Sequence[Any]
    eps: Levels

    def part(self, first: int, stop: int) -> Path:
        """Steps ``first`` … ``stop − 1``."""
        rows = slice(first, stop)
        return Path(self.positions[rows], self.conditions[rows], tuple(level[rows] for level in self.eps))


Kinds = Mapping[str, Callable[[Sequence[Any]], Path]]
"""Kind of walk → its path, from the given inputs."""


class Progress(NamedTuple):
    """Parts of a walk that are decoded, of how many."""

    done: int
    total: int


Decoding = Generator[Progress, None, np.ndarray]
"""Decoding of a walk, part by part; returns uint8 (steps, H, W, C), of videos (steps, T, H, W, C)."""


class WalkAdapter(ABC):
    """One kind of model, as walks use it."""

    name: ClassVar[str]
    """Name of what the model makes, for errors."""

    def __init__(self, model: Any, settings: WalkSettings) -> None:
        self.model, self.settings = model, settings
        count = len(model.latent_shapes)
        self.temperature = temperature_per_level(settings.temperature_for(model.config), count)
        self.notes: dict[str, None] = {}

    def remark(self, source: str, notes: Iterable[str]) -> None:
        """Add remarks for people on what was done to an input, each once."""
        self.notes |= dict.fromkeys(f"{source}: {text}" for text in notes)

    @abstractmethod
    def extra_kinds(self) -> Kinds:
        """Kinds of walk that only this kind of model has."""

    @abstractmethod
    def start(self, inputs: Sequence[Any]) -> Point:
        """The first input, or what the seed draws where there is none.

        Raises:
            InputError: the input cannot be used. ConfigError: the model needs one.
        """

    @abstractmethod
    def pair(self, inputs: Sequence[Any]) -> tuple[Point, Point]:
        """Both ends of an interpolation, alike in form.

        Raises:
            InputError, ConfigError: as for ``start``, or there are not two inputs.
        """

    @abstractmethod
    def mix_conditions(self, a: Any, b: Any, t: float) -> Any:
        """Condition of the step at ``t`` in 0..1 between the conditions ``a`` and ``b``."""

    @abstractmethod
    def decode(self, path: Path) -> Decoding:
        """Decoding of all steps.

        Raises:
            InputError: a step is not finite.
        """

    def drawn(self, eps: Sequence[Tensor]) -> Levels:
        """Standard-normal noise at the temperature of each level."""
        return tuple(scale * level for scale, level in zip(self.temperature, eps, strict=True))

    def temperatures(self, inputs: Sequence[Any]) -> Path:
        """Path along which the start's noise is scaled, from 0 to the last temperature."""
        point, positions = self.start(inputs), self.settings.one_way(1.5)
        return Path(positions, [point.condition] * len(positions), scaled(point.eps, positions))


def typical_code(
    encode: Callable[[Tensor | None], Levels], decode: Callable[[Levels], Tensor], image: Tensor, eps: Tensor
) -> Levels:
    """Noise per level that decodes to ``image`` and is as long as that of a sample.

    At the centres of bins ε is far shorter than that of samples. So dequantisation noise is drawn, but for
    pixels that it would bring near the edge of a bin, where rounding might take them beyond it.

    Args:
        encode: dequantisation noise → noise per level; None means the centres of bins.
        decode: noise per level → grey levels before rounding.
        image: uint8 (1, C, H, W).
        eps: dequantisation noise, standard normal, shaped like ``image``.
    """
    for _ in range(DEQUANTIZE_ROUNDS):
        levels = encode(eps)
        inside = (decode(levels) - image - 0.5).abs() < 0.5 - EDGE
        if bool(inside.all()):
            return levels
        eps = torch.where(inside, eps, 0.0)
    return encode(None)


def exactly(inputs: Sequence[Any], count: int, what: str) -> None:
    """Refuse another number of inputs.

    Raises:
        ConfigError: says what is needed.
    """
    if len(inputs) != count:
        raise ConfigError(f"{what}, got {counted(len(inputs), 'input')}")


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
