"""Pictures of an evaluation: fidelity against frame, bits/dim against training time, contact sheets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vflow.data import io
from vflow.errors import InputError
from vflow.pipelines.evaluate.settings import Evaluation

SERIES = {
    "best": "best sample", "mean": "mean over samples", "of_mean": "mean of the samples",
    "copy_last": "last frame copied", "training_mean": "training mean", "regression": "per-pixel regression",
}  # fmt: skip
LABELS = {"psnr": "PSNR (dB)", "ssim": "SSIM"}
_BASELINES = ("copy_last", "training_mean", "regression")


def write_plots(folder: Path, evaluation: Evaluation, log: Path | None) -> list[Path]:
    """Write every picture that ``evaluation`` and a training log allow; returns their paths.

    Raises:
        InputError: the folder cannot be written, or the log cannot be read.
    """
    pictures = {f"{name}.png": sheet for name, sheet in evaluation.sheets.items()}
    for measure in LABELS:
        if f"{measure}_best_per_frame" in evaluation.figures:
            pictures[f"{measure}.png"] = fidelity(evaluation.figures, measure)
    if log is not None:
        pictures["training.png"] = training(read_curves(log))
    for name, picture in pictures.items():
        io.write_png(folder / name, picture)
    return [folder / name for name in pictures]


def fidelity(figures: Mapping[str, Any], measure: str) -> np.ndarray:
    """A measure against predicted frame, with baselines: uint8 (H, W, 3)."""
    figure, axes = _figure()
    for name, label in SERIES.items():
        values = figures.get(f"{measure}_{name}_per_frame")
        if values is not None:
            style = "--" if name in _BASELINES else "-"
            axes.plot(range(1, len(values) + 1), values, style, marker=".", label=label)
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("predicted frame")
    axes.set_ylabel(LABELS[measure])
    return _rendered(figure, axes)


Curves = dict[str, list[tuple[float, float]]]
"""Name → (minutes, bits/dim)."""


def read_curves(path: Path) -> Curves:
    """Bits/dim of training and validation from a ``log.jsonl``, or the folder of a run.

    Raises:
        InputError: no such file, or no figures in it.
    """
    path = path / "log.jsonl" if path.is_dir() else path
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the log.jsonl of a training run") from error
    minutes = 0.0
    curves: Curves = {"training": [], "validation": []}
    for text in lines:
        try:
            line = json.loads(text)
        except ValueError:
            continue  # half a line of a killed run
        minutes = line.get("seconds", 60 * minutes) / 60
        for name, key in (("training", "bits_per_dim"), ("validation", "val_bits_per_dim")):
            if line.get(key) is not None:
                curves[name].append((minutes, line[key]))
    if not any(curves.values()):
        raise InputError(f"{path}: no bits/dim in it; give the log.jsonl of a training run")
    return curves


def training(curves: Curves) -> np.ndarray:
    """Bits/dim against training time: uint8 (H, W, 3)."""
    figure, axes = _figure()
    for name, points in curves.items():
        if points:
            axes.plot(*zip(*points, strict=True), marker="." if len(points) < 40 else None, label=name)
    values = [bits for points in curves.values() for _, bits in points]
    if min(values) > 0 and max(values) > 10 * min(values):
        axes.set_yscale("log")
    axes.set_xlabel("minutes of training")
    axes.set_ylabel("bits/dim")
    return _rendered(figure, axes)


def _figure() -> tuple[Any, Any]:
    """A figure and its axes, without any window system or global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _rendered(figure: Any, axes: Any) -> np.ndarray:
    axes.grid(alpha=0.3)
    axes.legend()
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
