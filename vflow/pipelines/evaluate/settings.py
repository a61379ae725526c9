"""What to evaluate, and what an evaluation returns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vflow.errors import ConfigError
from vflow.pipelines.predict import Temperature

Progress = Callable[[int, int], None]
"""Told how many examples are done, and of how many."""


@dataclass(frozen=True)
class Settings:
    """What to evaluate on, and how much of it. None takes what suits the kind of model.

    Attributes:
        data: ``shapes``, ``moving-digits``, ``digits``, or a folder (also one in ``VFLOW_DATA``).
        train: folder of training data, for baselines and tuning; None finds it beside ``data``.
        split: what is scored; ``validation`` is part of the training data.
        limit: examples, evenly spread; 0 takes all.
        num_samples: per clip, photo or class.
        num_frames: predicted frames of each clip.
        context: given frames of each clip.
        temperature: scale of the noise.
        seed: names the noise.
        draws: K of the second, tighter bound; 1 leaves it out.
        features: ONNX network for a Fréchet distance.
        classifier: file of a digit classifier; written if it is not there.
    """

    data: str
    train: str | None = None
    split: Literal["test", "validation"] = "test"
    limit: int | None = None
    num_samples: int | None = None
    num_frames: int | None = None
    context: int | None = None
    temperature: Temperature = 1.0
    seed: int = 0
    draws: int = 16
    features: Path | None = None
    classifier: Path | None = None

    def __post_init__(self) -> None:
        for name, least in (("limit", 0), ("num_samples", 1), ("num_frames", 1), ("context", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} must be at least {least}, got {value}")
        if not 1 <= self.draws <= 1024:
            raise ConfigError(f"draws must lie in 1..1024, got {self.draws}")

    def count(self, available: int, usual: int) -> int:
        """How many of the ``available`` examples to take."""
        return min(available, usual if self.limit is None else self.limit or available)


@dataclass(frozen=True)
class Evaluation:
    """Figures by key, the protocol they were measured by, and pictures to look at (uint8 (H, W, C))."""

    figures: Mapping[str, Any]
    protocol: Mapping[str, Any]
    sheets: Mapping[str, np.ndarray] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """One object: a figure per key, and ``protocol``; what is not finite becomes null."""
        return {**plain(dict(self.figures)), "protocol": plain(dict(self.protocol))}


def plain(value: Any) -> Any:
    """``value`` as JSON has it: lists, numbers of Python, None for NaN and infinities."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def spread(available: int, count: int) -> list[int]:
    """``count`` indices evenly over ``available`` examples."""
    return np.linspace(0, available - 1, min(count, available)).astype(int).tolist()


def averaged(rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Mean of each key over examples."""
    return {key: np.mean([row[key] for row in rows], axis=0) for key in rows[0]}


def per_frame(values: Iterable[tuple[str, np.ndarray]]) -> dict[str, Any]:
    """Each series (T,) as its mean, and itself under ``NAME_per_frame``."""
    figures: dict[str, Any] = {}
    for name, series in values:
        figures |= {name: float(series.mean()), f"{name}_per_frame": series}
    return figures
