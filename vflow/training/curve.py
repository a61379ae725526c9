"""Pictures of a run for its card: the curve of its log, and its newest samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from vflow.card import CURVE, SAMPLES
from vflow.training.logging import LOG, SHEETS, Line, read_log

WIDTH, HEIGHT, LEFT, BOTTOM, MARGIN = 480, 240, 56, 28, 12  # pixels
SHOWN = 0.97
"""Share of the values of training that are inside the picture; the first are the highest by far."""


def run_pictures(run: Path) -> dict[str, bytes]:
    """Name → content of a run's pictures, as far as there are any yet."""
    drawn = curve(read_log(run / LOG))
    found = {CURVE: drawn.encode()} if drawn else {}
    sheets = sorted((run / SHEETS).glob("step_*.png"))
    return found | ({SAMPLES: sheets[-1].read_bytes()} if sheets else {})


def curve(lines: Iterable[Line]) -> str:
    """bits/dim of training (grey) and of validation (blue) over steps, as SVG; "" with fewer than two.

    Args:
        lines: of ``read_log``.
    """
    lines = list(lines)
    series = [_series(lines, "bits_per_dim"), _series(lines, "val_bits_per_dim")]
    values = np.array([value for points in series for _, value in points])
    if len(values) < 2:
        return ""
    last = max(step for points in series for step, _ in points)
    low, high = float(values.min()), float(np.quantile(values, SHOWN))
    high = high if high > low else low + 1

    def place(step: float, value: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - MARGIN) * step / max(last, 1)
        y = MARGIN + (HEIGHT - MARGIN - BOTTOM) * (high - min(value, high)) / (high - low)
        return round(x, 1), round(y, 1)

    trained, held_out = ([place(*point) for point in points] for points in series)
    right, ground = WIDTH - MARGIN, HEIGHT - BOTTOM
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<path d="M{LEFT} {MARGIN}V{ground}H{right}" fill="none" stroke="#888"/>',
        _line(trained, "#aaa"),
        _line(held_out, "#1f5fbf"),
        *(f'<circle cx="{x}" cy="{y}" r="2.5" fill="#1f5fbf"/>' for x, y in held_out),
        f'<text x="{LEFT - 4}" y="{MARGIN + 8}" text-anchor="end">{high:.4g}</text>',
        f'<text x="{LEFT - 4}" y="{ground}" text-anchor="end">{low:.4g}</text>',
        f'<text x="{right}" y="{HEIGHT - 8}" text-anchor="end">step {last:,}</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 8}">bits/dim: training grey, validation blue</text>',
        "</svg>", "",
    ])  # fmt: skip


def _series(lines: Sequence[Line], key: str) -> list[tuple[int, float]]:
    """(step, value) of the lines that hold a finite ``key``."""
    found = [(line.get("step"), line.get(key)) for line in lines]
    return [(s, float(v)) for s, v in found if isinstance(s, int) and isinstance(v, int | float)]


def _line(points: Sequence[tuple[float, float]], color: str) -> str:
    path = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{color}"/>'
