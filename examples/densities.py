"""Density models compared with zuko and normflows: nats above entropy, rows per second.

Each command prints one JSON object per line. Budgets are in seconds of processor time, so other processes on
the machine do not count. Run with one thread::

    python -m examples.densities plane two-moons --models maf,spline,zuko-maf,zuko-nsf --seconds 60
    python -m examples.densities speed

With ``--output docs/results/densities.json``, rows are also stored there and replace earlier ones of the same
models; ``python scripts/results.py`` makes tables of them.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vflow.bijections import Bijection, Inverse
from vflow.bijections.autoregressive import Autoregressive
from vflow.bijections.element import Affine
from vflow.config import TrainingConfig
from vflow.config.density import DensityConfig
from vflow.config.presets import load_preset, preset_names
from vflow.densities import plane_density
from vflow.densities.named import target_entropy
from vflow.devices import machine
from vflow.models.density import DensityModel
from vflow.models.flow import PointBatch
from vflow.nn.masked import MADE
from vflow.training.density import batches, optimize

TRAINING_POINTS, TEST_POINTS = 1_000_000, 50_000
Log = Callable[[Tensor], Tensor]


class Peer(nn.Module):
    """A model of another library; ``log`` gives the log-density (B,) of points (B, D) under ``flow``."""

    def __init__(self, flow: nn.Module, log: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.flow, self.log = flow, log

    def log_prob(self, points: Tensor) -> Tensor:
        """log p, (B,), of ``points`` (B, D)."""
        return self.log(self.flow, points)


def zuko_maf() -> Peer:
    """zuko's MAF at the size of the preset ``maf``."""
    import zuko

    flow = zuko.flows.MAF(2, transforms=12, hidden_features=(32, 32))
    return Peer(flow, lambda f, x: f().log_prob(x))


def zuko_nsf() -> Peer:
    """zuko's neural spline flow at the size of the preset ``spline``."""
    import zuko

    flow = zuko.flows.NSF(2, transforms=4, bins=24, hidden_features=(64, 64))
    return Peer(flow, lambda f, x: f().log_prob(x))


def normflows_realnvp() -> Peer:
    """normflows' RealNVP at the size of the preset ``realnvp``, built as in its tutorial."""
    import normflows as nf

    flows = []
    for _ in range(12):
        flows.append(nf.flows.AffineCouplingBlock(nf.nets.MLP([1, 64, 64, 2], init_zeros=True)))
        flows.append(nf.flows.Permute(2, mode="swap"))
    return Peer(nf.NormalizingFlow(nf.distributions.DiagGaussian(2), flows), lambda f, x: f.log_prob(x))


def zuko_cnf() -> Peer:
    """zuko's continuous flow with the network of the preset ``continuous``, and its exact trace."""
    import zuko

    flow = zuko.flows.CNF(2, hidden_features=(32, 32), exact=True)
    return Peer(flow, lambda f, x: f().log_prob(x))


def normflows_residual() -> Peer:
    """normflows' residual flow at the size of the preset ``residual``; exact on the plane."""
    import normflows as nf

    flows = []
    for _ in range(8):
        net = nf.nets.LipschitzMLP([2, 32, 32, 2], init_zeros=True, lipschitz_const=0.97)
        flows += [nf.flows.Residual(net, reduce_memory=False, brute_force=True), nf.flows.ActNorm(2)]

    def log_prob(flow: Any, x: Tensor) -> Tensor:
        if flow.training:
            nf.utils.update_lipschitz(flow, 5)  # power iterations, as after each step in its tutorial
        return flow.log_prob(x)

    return Peer(nf.NormalizingFlow(nf.distributions.DiagGaussian(2), flows), log_prob)


# each with the preset whose size and training it has
PEERS: dict[str, tuple[Callable[[], Peer], str]] = {
    "zuko-maf": (zuko_maf, "maf"),
    "zuko-nsf": (zuko_nsf, "spline"),
    "normflows-realnvp": (normflows_realnvp, "realnvp"),
    "zuko-cnf": (zuko_cnf, "continuous"),
    "normflows-residual": (normflows_residual, "residual"),
}


def train(model: Peer | DensityModel, points: Tensor, config: TrainingConfig, seconds: float) -> int:
    """Train by maximum likelihood for some seconds of processor time; the number of steps."""
    stream = batches(points, config.batch_size, config.seed)
    return sum(1 for _ in optimize(model, lambda _: -model.log_prob(next(stream)).mean(), config, seconds))


def plane(
    density: str,
    names: list[str],
    seconds: float,
    seed: int,
    training: int = TRAINING_POINTS,
    tested: int = TEST_POINTS,
) -> Iterator[dict[str, Any]]:
    """Nats of each model on test points after the same seconds of training, with the same optimiser."""
    target = plane_density(density)
    points = target.points(training, density, "train")
    test = target.points(tested, density, "test")
    exact = -float(target.log_prob(test.double()).mean())
    for name in names:
        torch.manual_seed(seed)
        preset = load_preset(PEERS[name][1] if name in PEERS else name)
        config = preset.training.model_copy(update={"max_steps": 1_000_000, "seed": seed})
        if name in PEERS:
            mean, deviation = points.mean(0), points.std(0)
            model: Peer | DensityModel = PEERS[name][0]()
        else:
            assert isinstance(preset.model, DensityConfig)
            own = DensityModel(preset.model)
            own.initialize(PointBatch(points[: config.actnorm_batch]))
            mean, deviation, model = torch.zeros(2), torch.ones(2), own
        log_scale = float(deviation.log().sum())
        steps = train(model, (points - mean) / deviation, config, seconds)
        with torch.no_grad():
            nats = log_scale - float(model.log_prob((test - mean) / deviation).double().mean())
        yield {
            "density": density,
            "model": name,
            "nats": round(nats, 4),
            "entropy": round(target_entropy(density), 4),
            "above": round(nats - exact, 4),
            "steps": steps,
            "parameters": sum(p.numel() for p in model.parameters()),
            "seconds": seconds,
            "test_points": tested,
            "seed": seed,
            "threads": torch.get_num_threads(),
        }


def rows_per_second(calls: dict[str, Callable[[], Any]], rows: int, repeats: int = 100) -> dict[str, float]:
    """Rows per second of each call: the best of many alternating timings, by processor time."""
    best = dict.fromkeys(calls, math.inf)
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - start)
    return {name: rows / seconds for name, seconds in best.items()}


def speed() -> Iterator[dict[str, Any]]:
    """MAF densities and IAF samples against zuko, and MAF samples: rows per second without gradients."""
    import zuko

    for dim, hidden, layers, rows in ((2, 64, 8, 4096), (16, 128, 5, 2048), (64, 256, 5, 1024)):
        theirs = zuko.flows.MAF(dim, transforms=layers, hidden_features=(hidden, hidden))
        chain = [Autoregressive(Affine(), MADE(dim, 2, (hidden, hidden))) for _ in range(layers)]
        x, images = torch.randn(rows, dim), torch.randn(rows, dim, 1, 1)

        def density(maps: list[Autoregressive] = chain, z: Tensor = images) -> Tensor:
            total = torch.zeros(len(z))
            for one in maps:
                z, ladj = one(z)
                total = total + ladj
            return total - 0.5 * z.square().sum((1, 2, 3))

        def sample(maps: list[Bijection], z: Tensor = images) -> Tensor:
            for one in maps:
                z = one.inverse(z)[0]
            return z

        iaf: list[Bijection] = [Inverse(one) for one in chain]
        maf: list[Bijection] = [*reversed(chain)]
        flow = theirs()
        inverse = flow.transform
        with torch.no_grad():
            figures = rows_per_second(
                {
                    "density": density,
                    "density_zuko": lambda f=flow, p=x: f.log_prob(p),  # type: ignore[misc]
                    "iaf_samples": lambda m=iaf: sample(m),  # type: ignore[misc]
                    "iaf_samples_zuko": lambda t=inverse, p=x: t(p),  # type: ignore[misc]
                },
                rows,
            )
            figures |= rows_per_second({"maf_samples": lambda m=maf: sample(m)}, rows, repeats=3)  # type: ignore[misc]
        yield {
            "dim": dim,
            "hidden": hidden,
            "layers": layers,
            "rows": rows,
            **{name: round(value) for name, value in figures.items()},
            "density_ratio": round(figures["density"] / figures["density_zuko"], 2),
            "iaf_ratio": round(figures["iaf_samples"] / figures["iaf_samples_zuko"], 2),
            "threads": torch.get_num_threads(),
        }


IDENTITY = {
    "plane": ("density", "model"),
    "speed": ("dim",),
    "posterior": ("posterior",),
    "energies": ("energy", "layers"),
    "manifolds": ("model",),
    "rings": ("model",),
    "tails": ("density", "index"),
    "bits": ("masks",),
}


def record(path: Path, kind: str, row: dict[str, Any]) -> None:
    """Store ``row`` among those of its kind in a JSON file, replacing an earlier one of the same models."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    rows = [r for r in kept.get(kind, []) if any(r[key] != row[key] for key in IDENTITY[kind])]
    kept[kind] = [*rows, row | {"machine": machine()}]
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    on_plane = commands.add_parser("plane")
    on_plane.add_argument("density")
    on_plane.add_argument("--models", default="maf,spline,zuko-maf,zuko-nsf,normflows-realnvp")
    of_speed = commands.add_parser("speed")
    on_plane.add_argument("--seconds", type=float, default=60)
    on_plane.add_argument("--seed", type=int, default=0)
    for command in (on_plane, of_speed):
        command.add_argument("--output", type=Path, metavar="FILE", help="JSON file to store the rows in")
    args = parser.parse_args()
    if args.command == "plane":
        names = args.models.split(",")
        unknown = [name for name in names if name not in PEERS and name not in preset_names()]
        if unknown:
            parser.error(f"unknown models: {', '.join(unknown)}")
        rows = plane(args.density, names, args.seconds, args.seed)
    else:
        rows = speed()
    for row in rows:
        print(json.dumps(row), flush=True)
        if args.output:
            record(args.output, args.command, row)


if __name__ == "__main__":
    main()
