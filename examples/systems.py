"""Single systems of docs/FLOWS.md on their intended tasks: energies, manifolds, rings and tails.

Each model is trained for some seconds of processor time, or steps, and prints a JSON object. Run with one
thread::

    python -m examples.systems energies --steps 1000
    python -m examples.systems manifolds --seconds 8
    python -m examples.systems rings --seconds 12
    python -m examples.systems tails --seconds 10

With ``--output docs/results/densities.json``, rows are stored there along with those of densities.py.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from examples.densities import record
from vflow.bijections.marginals import ParetoMarginals
from vflow.config import DensityConfig
from vflow.config.presets import Preset, load_preset
from vflow.densities import ENERGIES, target
from vflow.models.density import DensityModel
from vflow.pipelines.evaluate.density import evaluate_density
from vflow.pipelines.evaluate.report import Settings
from vflow.randomness import generator
from vflow.training.density import fit, fit_energy

LENGTHS = (2, 8, 32)
MANIFOLDS = ("sphere", "mobius", "circular-spline")
FOLDED = ("rad", "realnvp")
POINTS = 1_000_000
TAILS = {"Pareto": (0.1, 0.5, 1.0), "Student": (0.1, 0.5, 1.0)}
TAIL_POINTS = 200_000
CELLS = 400  # along each of two coordinates, of quadratures
ENDLESS = {"training.max_steps": 1_000_000}


def _model(preset: Preset) -> DensityModel:
    torch.manual_seed(preset.training.seed)
    assert isinstance(preset.model, DensityConfig)
    return DensityModel(preset.model)


def _figures(model: DensityModel, data: str) -> dict[str, float]:
    """Figures of ``vflow evaluate`` on test points, or on samples judged by an energy."""
    return dict(evaluate_density(model, Settings(data), lambda _: lambda done, count: None).figures)


def energies(names: list[str], steps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Reverse KL to energies of Rezende & Mohamed 2015, by number of planar layers."""
    for energy in (ENERGIES[name] for name in names):
        for length in LENGTHS:
            planar = {"kind": "repeat", "times": length, "layers": [{"kind": "planar"}]}
            layers = [{"kind": "elementwise"}, {"kind": "inverse", "layers": [planar]}]
            overrides = {"training.max_steps": steps, "model.layers": layers, "training.seed": seed}
            preset = load_preset("planar-energy", overrides)
            model, start = _model(preset), time.process_time()
            for _ in fit_energy(model, energy, preset.training):
                pass
            spent = time.process_time() - start
            found = _figures(model, energy.name)
            yield {
                "energy": energy.name,
                "layers": length,
                "kl": round(found["kl"], 4),
                "effective": round(found["effective_sample_share"], 3),
                "steps": steps,
                "seconds": round(spent, 1),
            }


def integral(model: DensityModel, dim: int) -> float:
    """∫ p over the torus of two angles (``dim`` 2), or over the sphere S² (3), by quadrature."""
    step = 2 * np.pi / CELLS
    angle = step * torch.arange(CELLS, dtype=torch.float64) - np.pi
    if dim == 2:
        points, area = torch.cartesian_prod(angle, angle), torch.tensor(step**2)
    else:
        node, weight = (torch.from_numpy(array) for array in np.polynomial.legendre.leggauss(CELLS))
        height, turn = node.repeat_interleave(CELLS), angle.repeat(CELLS)
        radius = (1 - height.square()).sqrt()
        points = torch.stack([radius * turn.cos(), radius * turn.sin(), height], 1)
        area = step * weight.repeat_interleave(CELLS)
    with torch.no_grad():
        density = torch.cat([model.log_prob(part.float()) for part in points.split(8000)]).double().exp()
    return float((density * area).sum())


def manifolds(seconds: float, seed: int) -> Iterator[dict[str, Any]]:
    """Flows on torus and sphere, trained by maximum likelihood on a mixture of von Mises densities."""
    for name in MANIFOLDS:
        preset = load_preset(name, {**ENDLESS, "training.seed": seed})
        model, data = _model(preset), preset.data.path
        assert data is not None
        steps = sum(
            1 for _ in fit(model, target(data).points(POINTS, data, "train"), preset.training, seconds)
        )
        found = _figures(model, data)
        yield {
            "density": data,
            "model": name,
            "kl": round(found["kl"], 4),
            "reverse_kl": round(found["reverse_kl"], 4),
            "effective": round(found["effective_sample_share"], 3),
            "integral": round(integral(model, model.config.dim), 5),
            "steps": steps,
            "parameters": sum(p.numel() for p in model.parameters()),
        }


def rings(seconds: float, seed: int) -> Iterator[dict[str, Any]]:
    """RAD against a Real NVP of the same size on separate rings."""
    points = target("rings").points(POINTS, "rings", "train")
    for name in FOLDED:
        preset = load_preset(name, {**ENDLESS, "training.seed": seed})
        model = _model(preset)
        steps = sum(1 for _ in fit(model, points, preset.training, seconds))
        found = _figures(model, "rings")
        yield {
            "model": name,
            "kl": round(found["kl"], 3),
            "reverse_kl": round(found["reverse_kl"], 3),
            "effective": round(found["effective_sample_share"], 3),
            "steps": steps,
            "parameters": sum(p.numel() for p in model.parameters()),
        }


def tailed_points() -> Tensor:
    """Columns with known tail indices ξ, (N, 6): two-sided Pareto densities, then Student's t, ν = 1 / ξ."""
    random = generator("tails")
    level = random.random((TAIL_POINTS, len(TAILS["Pareto"])))
    index = np.array(TAILS["Pareto"])
    excess = np.expm1(-index * np.log1p(-level)) / index
    pareto = excess * random.choice([-1, 1], excess.shape)
    student = [random.standard_t(1 / index, TAIL_POINTS) for index in TAILS["Student"]]
    return torch.from_numpy(np.column_stack([pareto, *student])).float()


def tails(seconds: float, seed: int) -> Iterator[dict[str, Any]]:
    """Tail indices that the preset ``marginal-tails`` learns from points with known ones."""
    kinds = [(kind, index) for kind, all_of_kind in TAILS.items() for index in all_of_kind]
    preset = load_preset("marginal-tails", {**ENDLESS, "model.dim": len(kinds), "training.seed": seed})
    model = _model(preset)
    steps = sum(1 for _ in fit(model, tailed_points(), preset.training, seconds))
    marginals = next(part for part in model.modules() if isinstance(part, ParetoMarginals))
    lower, upper = marginals.tail_index.tolist()
    for place, (kind, index) in enumerate(kinds):
        yield {
            "density": kind,
            "index": index,
            "lower": round(lower[place], 3),
            "upper": round(upper[place], 3),
            "points": TAIL_POINTS,
            "steps": steps,
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("energies", "manifolds", "rings", "tails"):
        command = commands.add_parser(name)
        if name == "energies":
            command.add_argument(
                "names", nargs="*", metavar="ENERGY", help=f"from {', '.join(ENERGIES)} (default: all)"
            )
            command.add_argument("--steps", type=int, default=1000, help="training steps of each model")
        else:
            command.add_argument(
                "--seconds", type=float, default=30, help="processor time of training each model"
            )
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--output", type=Path, metavar="FILE", help="JSON file to store the rows in")
    args = parser.parse_args()
    match args.command:
        case "energies":
            if unknown := set(args.names) - set(ENERGIES):
                parser.error(f"unknown energies: {', '.join(sorted(unknown))}")
            rows = energies(args.names or list(ENERGIES), args.steps, args.seed)
        case "manifolds":
            rows = manifolds(args.seconds, args.seed)
        case "rings":
            rows = rings(args.seconds, args.seed)
        case _:
            rows = tails(args.seconds, args.seed)
    for row in rows:
        budget = {} if args.command == "energies" else {"seconds": args.seconds}
        complete = row | budget | {"seed": args.seed, "threads": torch.get_num_threads()}
        print(json.dumps(complete), flush=True)
        if args.output:
            record(args.output, args.command, complete)


if __name__ == "__main__":
    main()
