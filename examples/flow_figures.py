"""Make the gallery of docs/FLOWS.md: a picture and a row of figures on validation points for each system.

Each system is trained for a given processor time. The picture shows the true density, the learned density,
samples, and the base's grid as bent by the flow. Run from the repository with one thread::

    python -m examples.flow_figures --seconds 60
    python -m examples.flow_figures maf sphere --seconds 20
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from apps.ui.lab.render import UNIT, Drawing, Plane, Space, Sphere, Torus
from apps.ui.lab.systems import BY_PRESET, System
from vflow.config import DensityConfig, load_preset
from vflow.data.media import resize, write_png
from vflow.densities import ENERGIES, target
from vflow.models import DensityModel, PointBatch
from vflow.pipelines.density import draw_points
from vflow.randomness import normal
from vflow.training.density import fit, fit_energy

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "figures" / "flows"
POINTS, HELD, HEIGHT, GAP = 200_000, 20_000, 120, 4
SHADES = 12  # grey levels that are one: keeps files small
PLANE = "two-moons"


def figure(system: System, seconds: float, folder: Path) -> dict[str, Any]:
    """Learn, write ``folder/PRESET.png``, and return the row."""
    preset = load_preset(system.preset, {"training.max_steps": 1_000_000})
    assert isinstance(preset.model, DensityConfig)
    torch.manual_seed(0)
    model = DensityModel(preset.model)
    began = time.process_time()
    row: dict[str, Any] = {"system": system.preset}
    if system.preset == "planar-energy":
        energy, log_z = ENERGIES["u1"], ENERGIES["u1"].log_normalizer()
        steps = sum(1 for _ in fit_energy(model, energy, preset.training, seconds))
        space: Space = Plane(4.6)
        true, top = space.density_picture(lambda points: -energy(points) - log_z)
        with torch.no_grad():
            eps = normal((HELD, model.noise_dim), "flow-figures")
            nats = -float(model(PointBatch(eps, energy=energy)).mean())
        row |= {"density": "u1", "nats": nats, "above": nats + log_z}
    else:
        name = PLANE if system.space == "plane" else system.space
        density = target(name)
        space = {"torus": Torus(), "sphere": Sphere()}.get(name) or Plane(4.0)
        steps = sum(1 for _ in fit(model, density.points(POINTS, name, "train"), preset.training, seconds))
        true, top = space.density_picture(lambda points: density.log_prob(points.double()))
        held = density.points(HELD, name, "validation")
        with torch.no_grad():
            log_p = model.log_prob(held).double()
        nats = -float(log_p.mean())
        row |= {
            "density": name,
            "nats": nats,
            "above": float((density.log_prob(held.double()) - log_p).mean()),
        }
    learned, _ = space.density_picture(model.log_prob, top)
    samples = space.samples_picture(draw_points(model, 3000).points)
    height = HEIGHT * UNIT // space.width + 20 * (space.width > UNIT)  # wide pictures are lower
    parts = [_fitted(part, height) for part in (true, learned, samples)]
    parts.append(_raster(space.drawing(model), height))
    gap = np.full((height, GAP, 3), 255, np.uint8)
    whole = np.concatenate([x for p in parts for x in (p, gap)][:-1], 1)
    write_png(folder / f"{system.preset}.png", whole // SHADES * SHADES)
    parameters = sum(p.numel() for p in model.parameters())
    used = round(time.process_time() - began, 1)
    row |= {"steps": steps, "parameters": parameters, "seconds": seconds, "with_figures": used, "held": HELD}
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}


def _fitted(picture: np.ndarray, height: int) -> np.ndarray:
    width = height * picture.shape[1] // picture.shape[0]
    return resize(picture[None, ..., :3], height, width, 3)[0]


def _raster(drawing: Drawing, height: int) -> np.ndarray:
    """Grid and dots of the last stage, uint8 (H, W, 3)."""
    canvas = np.full((height, height * drawing.width // UNIT, 3), (20, 19, 18), np.uint8)
    stage = drawing.stages[-1]
    points = (stage * (height * 16 / UNIT)).astype(np.int32)
    hidden = (stage < 0).all(1)
    segments: list[np.ndarray] = []
    for i in range(1, len(stage) - drawing.dots):
        short = np.abs(stage[i] - stage[i - 1]).max() < drawing.cut
        if i % drawing.per_line and short and not hidden[i - 1 : i + 1].any():
            segments.append(points[i - 1 : i + 1])
    color = (70, 175, 160)
    cv2.polylines(canvas, segments, isClosed=False, color=color, lineType=cv2.LINE_AA, shift=4)
    for place in points[-drawing.dots :][~hidden[-drawing.dots :]]:
        cv2.circle(canvas, tuple(map(int, place)), 20, (251, 191, 36), -1, cv2.LINE_AA, 4)
    return canvas


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help="presets (default: all)")
    parser.add_argument("--seconds", type=float, default=60, help="processor time for each system")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder")
    arguments = parser.parse_args()
    if unknown := set(arguments.systems) - set(BY_PRESET):
        parser.error(f"no such system: {', '.join(sorted(unknown))}; there are {', '.join(BY_PRESET)}")
    for name in arguments.systems or BY_PRESET:
        row = figure(BY_PRESET[name], arguments.seconds, arguments.output)
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
