"""HTML of the Lab tab: pictures side by side, the bent grid, the curve of nats, and the system's lines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from html import escape
from typing import NamedTuple

import numpy as np

from ..shared.html import placeholder, png_uri
from .job import Job
from .render import Drawing
from .systems import System

WIDTH, HEIGHT = 520, 250  # of the curve
LEFT, BOTTOM, TOP, RIGHT = 44, 24, 12, 78  # its margins
MOST = 160  # losses drawn


def about(system: System) -> str:
    """Name, source, equation and three lines of a system."""
    lines = "".join(f"<li>{escape(line)}</li>" for line in system.lines)
    return (
        f'<section class="vf-system" aria-label="The flow"><h3>{escape(system.title)}'
        f"<span>{escape(system.source)}</span></h3>"
        f'<p class="vf-equation">{escape(system.equation)}</p><ul>{lines}</ul></section>'
    )


def empty() -> str:
    """Placeholder before the first run."""
    ghosts = '<div class="vf-lab-panels">' + '<div class="vf-ghost"></div>' * 3 + "</div>"
    return placeholder(ghosts, "A learned density appears here.", "Choose a density and press Learn.")


def results(job: Job, *, done: bool) -> str:
    """Pictures of a job so far; the slider through the layers comes with ``done``."""
    task, snapshot = job.task, job.snapshot
    first = "Energy: exp(−U)" if task.energy else "True density"
    if task.entropy is None:
        first = "Points given"
    panels = [_panel(task.picture, first)]
    if snapshot is None:
        panels += ['<div class="vf-ghost" aria-hidden="true"></div>'] * 3
    else:
        panels += [
            _panel(snapshot.density, f"Learned density, step {snapshot.step}"),
            _panel(snapshot.samples, "Samples"),
            _bend(snapshot.drawing, done=done),
        ]
    state = "vf-learned" if done else "vf-learning"
    return (
        f'<section class="vf-results vf-lab {state}" aria-label="Learned density">'
        f'<div class="vf-lab-panels">{"".join(panels)}{curve(job)}</div></section>'
    )


def _panel(picture: np.ndarray, caption: str) -> str:
    text = escape(caption)
    return f'<figure><img src="{png_uri(picture)}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def _bend(drawing: Drawing, *, done: bool) -> str:
    """The grid after each layer; lab.js draws it, and follows the slider."""
    shown = slice(None) if done else slice(-1, None)
    stages = drawing.stages[shown]
    data = {
        "stages": [stage.ravel().tolist() for stage in stages],
        "layers": drawing.layers[shown],
        "line": drawing.per_line,
        "dots": drawing.dots,
        "cut": drawing.cut,
    }
    last = len(stages) - 1
    slider = (
        f'<input type="range" class="vf-seek" min="0" max="{last}" step="0.05" value="{last}"'
        ' aria-label="Layers of the flow">'
        if done
        else ""
    )
    return (
        f'<figure class="vf-bend" data-bend="{escape(json.dumps(data, separators=(",", ":")))}">'
        f'<svg viewBox="0 0 {drawing.width} 1000" role="img" aria-label="Grid of the base space, bent by the'
        ' flow, with samples"><path class="vf-grid-lines"/><path class="vf-grid-dots"/></svg>'
        f'<figcaption><span>Square grid, bent</span>{slider}<output class="vf-now" aria-live="off"></output>'
        "</figcaption></figure>"
    )


class _Axes(NamedTuple):
    """Axes of the curve: steps 0 … ``total`` to the right, nats ``low`` … ``high`` upward; in pixels."""

    total: int
    low: float
    high: float

    def x(self, step: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * step / self.total, 1)

    def y(self, nats: float) -> float:
        share = (min(max(nats, self.low), self.high) - self.low) / (self.high - self.low)
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - share), 1)

    def line(self, values: Iterable[tuple[float, float]], css: str) -> str:
        """Line through the finite values, (step, nats) each; empty where there are none."""
        points = [f"{self.x(step)},{self.y(nats)}" for step, nats in values if math.isfinite(nats)]
        return f'<polyline class="{css}" points="{" ".join(points)}"/>' if points else ""

    def labels(self, floor: float) -> str:
        """Labels of three heights, from ``floor`` on, and of three steps."""
        nats = dict.fromkeys((floor, (self.low + self.high) / 2, self.high))
        heights = [(LEFT - 6, f"{self.y(v) + 4:.1f}", "end", f"{v:.2f}") for v in nats]
        steps = [(self.x(s), HEIGHT - 6, "middle", s) for s in (0, self.total // 2, self.total)]
        return "".join(
            f'<text x="{x}" y="{y}" text-anchor="{anchor}">{label}</text>'
            for x, y, anchor, label in (*heights, *steps)
        )


def curve(job: Job) -> str:
    """Nats against steps: training batches, points held out, and the entropy where it is known (SVG)."""
    losses, held, entropy = job.losses, job.curve, job.task.entropy
    known = [value for value in [*losses[len(losses) // 20 :], *(n for _, n in held)] if math.isfinite(value)]
    if not known:
        return ""
    floor = min([*known, *([] if entropy is None else [entropy])])
    high = max(float(np.quantile(known, 0.97)), max((n for _, n in held), default=floor), floor + 0.2)
    axes = _Axes(max(job.request.steps, 1), floor - 0.06 * (high - floor), high)
    stride = max(1, len(losses) // MOST)
    blocks = [(i + stride / 2, float(np.mean(losses[i : i + stride]))) for i in range(0, len(losses), stride)]
    lines = axes.line(blocks, "vf-nats-train")
    name, figure, dashed = "−log Z" if job.task.energy else "entropy", "", ""
    if entropy is not None:
        lines += axes.line([(0, entropy), (axes.total, entropy)], "vf-nats-entropy")
        lines += f'<text x="{WIDTH - RIGHT + 6}" y="{axes.y(entropy) + 4:.1f}">{name}</text>'
        figure, dashed = f"; {name} {entropy:.3f}", f", the best possible: {name} (dashed)"
    lines += axes.line(held, "vf-nats-held")
    last = f"{held[-1][1]:.3f} nats after {held[-1][0]} steps" if held else "no figure yet"
    return (
        f'<figure class="vf-nats"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' aria-label="Surprise at a point, in nats, against steps: {last}{figure}">'
        f"{axes.labels(floor)}{lines}</svg>"
        "<figcaption>Surprise at a point, in nats (lower is better), after so many steps: batches in training"
        f" (faint), {len(job.task.held):,} held-out points (bold){dashed}.</figcaption></figure>"
    )
