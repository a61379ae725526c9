"""Settings of an evaluation, its figures and its plots."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from vflow.bijections.pixel_map import Scaled
from vflow.config.ranges import check_range, check_whole
from vflow.data import media
from vflow.errors import ConfigError
from vflow.pipelines.common import Counts, Temperature

Progress = Callable[[int, int], None]
"""Called with the number of examples done, and of all."""
Stage = Callable[[str], Progress]
"""Start of a named stage; returns the function that takes its progress."""
PROBE_CLIPS = 4000
LEAST_PROBE_CLIPS = 40
"""Fewest training clips of a probe: so many that every direction that is held out occurs in them."""


@dataclass(frozen=True)
class Settings:
    """Settings of an evaluation; None takes what suits the kind of model.

    Attributes:
        data: ``shapes``, ``moving-digits``, ``digits``, or a folder (also one in ``VFLOW_DATA``).
        train: folder of training data, for baselines and tuning; None finds it beside ``data``.
        split: what is scored; ``validation`` is part of the training data.
        held_out_files: clips of a folder that were held out of training, None 5%.
        limit: examples, evenly spread; 0 takes all.
        num_samples: per clip, photo or class.
        num_frames: predicted frames of each clip; given, no later ones are scored.
        context: given frames of each clip.
        temperature: scale of the noise.
        seed: names the noise.
        num_importance_samples: K of the second, tighter bound; 1 leaves it out.
        classifier: file of a digit classifier; written if it is not there.
        probe_clips: training clips of the probe that reads directions of ``shapes``, 40 or more; 0 leaves it
            out; None: 4000, or 0 where there is a ``limit``.
    """

    data: str
    train: str | None = None
    split: Literal["test", "validation"] = "test"
    held_out_files: int | None = None
    limit: int | None = None
    num_samples: int | None = None
    num_frames: int | None = None
    context: int | None = None
    temperature: Temperature = 1.0
    seed: int = 0
    num_importance_samples: int = 16
    classifier: Path | None = None
    probe_clips: int | None = None

    def __post_init__(self) -> None:
        least_of = {"limit": 0, "num_samples": 1, "num_frames": 1, "context": 1, "held_out_files": 1}
        for name, least in least_of.items():
            value = getattr(self, name)
            if value is not None:
                check_whole(name, value)
            if value is not None and value < least:
                raise ConfigError(f"{name} must be at least {least}, got {value}")
        check_range("probe_clips", self.probes, 0, 100_000, whole=True)
        if 0 < self.probes < LEAST_PROBE_CLIPS:
            raise ConfigError(
                f"probe_clips must be at least {LEAST_PROBE_CLIPS}, or 0 for no probe, got {self.probes}"
            )
        check_range("num_importance_samples", self.num_importance_samples, 1, 1024, whole=True)

    @property
    def probes(self) -> int:
        """``probe_clips``, or how many suit the other settings."""
        return (0 if self.limit else PROBE_CLIPS) if self.probe_clips is None else self.probe_clips

    def sampling(self, usual: int) -> dict[str, Any]:
        """Settings that all samples have; ``usual``: how many, where the settings do not say."""
        number = self.num_samples or usual
        return {"num_samples": number, "temperature": self.temperature, "seed": self.seed}

    def count(self, available: int, usual: int) -> int:
        """Number of the ``available`` examples to take."""
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


class Samples(NamedTuple):
    """Samples uint8 (N, …) of an example, faults before any redraw or clamp, and seconds taken."""

    images: np.ndarray
    counts: Counts
    seconds: float

    @classmethod
    def draw(cls, parts: Iterable[tuple[np.ndarray, Counts]]) -> Self:
        """All of ``parts``, drawn as they are gone through."""
        began, images, counts = time.perf_counter(), [], Counts()
        for some, new in parts:
            images.append(some)
            counts = counts.plus(new)
        return cls(np.concatenate(images), counts, time.perf_counter() - began)


def scan_temperatures(
    temperatures: Sequence[float], score: Callable[[float], float], stage: Stage
) -> dict[float, float]:
    """Temperature → its score on validation data; the highest is the best."""
    found, progress = {}, stage("temperature")
    for done, temperature in enumerate(temperatures, 1):
        found[temperature] = score(temperature)
        progress(done, len(temperatures))
    return found


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


def mean_of_known(values: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is not NaN; NaN where all is."""
    numbers = np.asarray(values, np.float64)
    known = ~np.isnan(numbers)
    count = known.sum(0)
    mean: np.ndarray = np.where(known, numbers, 0).sum(0) / np.where(count, count, np.nan)
    return mean


def mean_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean of each key over examples."""
    return {key: np.mean([row[key] for row in rows], axis=0) for key in rows[0]}


def per_frame(values: Iterable[tuple[str, np.ndarray]]) -> dict[str, Any]:
    """Each series (T,) as its mean, and itself under ``NAME_per_frame``."""
    figures: dict[str, Any] = {}
    for name, series in values:
        figures |= {name: float(series.mean()), f"{name}_per_frame": series}
    return figures


def fault_figures(model: Any, counts: Counts) -> dict[str, Any]:
    """Faults in drawn values, before any redraw or clamp.

    A counted pixel map ends inside the range, so values out of range are counted of other maps alone.
    """
    figures: dict[str, Any] = {
        "nonfinite": counts.nonfinite,
        "redrawn": counts.redrawn,
        "sampled_values": counts.values,
    }
    if isinstance(model.pixel_map, Scaled):
        share = counts.out_of_range / max(1, counts.values)
        figures |= {"out_of_range": counts.out_of_range, "out_of_range_share": share}
    return figures


SERIES = {
    "best": "best sample", "mean": "one sample on average", "of_mean": "mean of the samples",
    "neighbours_best": "best of as many neighbours",
    "copy_last": "last frame copied", "optical_flow": "last motion going on (optical flow)",
    "training_mean": "training mean", "regression": "per-pixel regression",
}  # fmt: skip
LABELS = {"psnr": "PSNR (dB)", "ssim": "SSIM"}
_BASELINES = ("neighbours_best", "copy_last", "optical_flow", "training_mean", "regression")


def write_plots(folder: Path, evaluation: Evaluation) -> list[Path]:
    """Write every picture that ``evaluation`` allows; returns their paths.

    Raises:
        InputError: the folder cannot be written.
    """
    pictures = {f"{name}.png": sheet for name, sheet in evaluation.sheets.items()}
    for measure in LABELS:
        if f"{measure}_best_per_frame" in evaluation.figures:
            pictures[f"{measure}.png"] = fidelity(evaluation.figures, measure)
    for name, picture in pictures.items():
        media.write_png(folder / name, picture)
    return [folder / name for name in pictures]


def fidelity(figures: Mapping[str, Any], measure: str) -> np.ndarray:
    """A measure against predicted frame, with baselines: uint8 (H, W, 3)."""
    # Without pyplot there is no window system and no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), dpi=120, layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.add_subplot()
    for name, label in SERIES.items():
        values = figures.get(f"{measure}_{name}_per_frame")
        if values is not None:
            style = "--" if name in _BASELINES else "-"
            axes.plot(range(1, len(values) + 1), values, style, marker=".", label=label)
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("predicted frame")
    axes.set_ylabel(LABELS[measure])
    axes.grid(alpha=0.3)
    axes.legend()
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
