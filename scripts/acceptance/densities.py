"""Densities of vectors: exactness of every system here, and rows kept in docs/results/densities.json.

Those rows take minutes of processor time each; the message of a missing one is the command that adds it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from scripts.acceptance.registry import Figure, NotHere, Result, measure
from scripts.acceptance.report import ROOT
from scripts.density_tables import BENCHMARK, OUTPUT
from vflow.config.density import DensityConfig
from vflow.config.presets import load_preset, preset_names
from vflow.models.density import DensityModel, PointBatch

ROWS, GALLERY = ROOT / "docs" / "results" / "densities.json", ROOT / "docs" / "FLOWS.md"
PLANES = ("two-moons", "rings", "checkerboard", "eight-gaussians")
PEERS = ("zuko-maf", "zuko-nsf", "normflows-realnvp")
MANIFOLDS = ("sphere", "mobius", "circular-spline")
POINTS = 64


def _systems() -> dict[str, DensityConfig]:
    """Presets of density models."""
    models = {name: load_preset(name).model for name in preset_names()}
    return {name: model for name, model in models.items() if isinstance(model, DensityConfig)}


def _exactness(config: DensityConfig, points: Tensor) -> tuple[float, float]:
    """Largest error of the log-dets against autograd's, and of the inverse, at ``points`` (N, D)."""
    torch.manual_seed(0)
    model = DensityModel(config).double().eval()
    model.initialize(PointBatch(points))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    chain = model.flows[0]

    def encode(x: Tensor) -> Tensor:
        return chain.transform(x[None, :, None, None])[0].flatten()

    z, ladj = chain.transform(points[:, :, None, None])
    jacobians = torch.stack([torch.autograd.functional.jacobian(encode, point) for point in points])
    with torch.no_grad():
        back = chain.invert(z, None)[0].flatten(1)
    wrong = (torch.linalg.slogdet(jacobians).logabsdet - ladj.flatten()).abs().max()
    return float(wrong), float((back - points).abs().max())


@measure(
    "L",
    log_det=Figure("log-dets against autograd's slogdet, float64, largest error", "nats", at_most=1e-8),
    inverse=Figure("inverse against forward, largest error", "", at_most=1e-6),
)
def exactness() -> Result:
    """The chain of each preset without folds on the plane, weights moved by 3%, 64 normal points. Layers one
    by one, spheres, tori and folds: tests/bijections, which hold all of them to the same bounds."""
    points = 1.2 * torch.randn(POINTS, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    chosen = [name for name in _systems() if name not in (*MANIFOLDS, "rad")]
    found = {name: _exactness(_systems()[name], points) for name in chosen}
    note = f"{len(found)} systems; least exact: log-det {_worst(found, 0)}, inverse {_worst(found, 1)}"
    values = {"log_det": max(e[0] for e in found.values()), "inverse": max(e[1] for e in found.values())}
    return Result(values, note=note)


def _worst(errors: Mapping[str, tuple[float, float]], place: int) -> str:
    return max(errors, key=lambda name: errors[name][place])


def _kept(kind: str) -> list[dict[str, Any]]:
    """Rows of a kind."""
    rows: list[dict[str, Any]] = json.loads(ROWS.read_text(encoding="utf-8")).get(kind, [])
    return rows


def _above(density: str) -> dict[str, float]:
    """Model → nats above the true density after 60 s of a core."""
    return {row["model"]: row["above"] for row in _kept("plane") if row["density"] == density}


@measure(
    "L",
    **{
        name.replace("-", "_"): Figure(
            f"{name}: nats above the true density, best system", "nats", at_most=0.05, aim="0.02"
        )
        for name in PLANES
    },
    maf_two_moons=Figure("MAF on two-moons", "nats", at_most=0.05, aim="0.02"),
    maf_eight_gaussians=Figure("MAF on eight-gaussians", "nats", at_most=0.05, aim="0.02"),
)
def densities() -> Result:
    """After 60 s of processor time of one core, data made before, 50,000 test points; kept rows."""
    found = {name: _above(name) for name in PLANES}
    own = {name: {m: a for m, a in rows.items() if m not in PEERS} for name, rows in found.items()}
    for name, rows in own.items():
        if not rows:
            raise NotHere(f"no row of {name}: {BENCHMARK} plane {name} --models made,spline {OUTPUT}")
    best = {name: min(rows, key=lambda model: rows[model]) for name, rows in own.items()}
    values = {name.replace("-", "_"): own[name][best[name]] for name in PLANES}
    for name in ("two-moons", "eight-gaussians"):
        if "maf" not in own[name]:
            raise NotHere(f"no row of maf: {BENCHMARK} plane {name} --models maf {OUTPUT}")
        values[f"maf_{name.replace('-', '_')}"] = own[name]["maf"]
    return Result(values, note="best: " + ", ".join(f"{name} {model}" for name, model in best.items()))


@measure(
    "L",
    **{
        name.replace("-", "_"): Figure(
            f"{name}: best system's nats above the true density over the best peer's", "×", at_most=1
        )
        for name in PLANES
    },
)
def peers() -> Result:
    """zuko's MAF and NSF and normflows' RealNVP, of the presets' sizes, in the same loop for as long; kept
    rows."""
    values, notes = {}, []
    for name in PLANES:
        rows = _above(name)
        missing = [model for model in PEERS if model not in rows]
        if missing:
            raise NotHere(f"no rows: {BENCHMARK} plane {name} --models {','.join(missing)} {OUTPUT}")
        peer = min(PEERS, key=lambda model: rows[model])
        values[name.replace("-", "_")] = min(a for m, a in rows.items() if m not in PEERS) / rows[peer]
        notes.append(f"{name} {peer}")
    return Result(values, note="best peers: " + ", ".join(notes))


@measure(
    "L",
    density=Figure(
        "rows a second, MAF densities over zuko's, least of three sizes", "×", at_least=1, aim="1.3"
    ),
    samples=Figure("rows a second, IAF samples over zuko's, the same", "×", at_least=1, aim="1.3"),
)
def speed() -> Result:
    """Without gradients, one thread, best of 100 timings in turns; kept rows."""
    rows = _kept("speed")
    if not rows:
        raise NotHere(f"no rows: {BENCHMARK} speed {OUTPUT}")
    return Result(
        {
            "density": min(row["density_ratio"] for row in rows),
            "samples": min(row["iaf_ratio"] for row in rows),
        }
    )


@measure("L", gain=Figure("ELBO of an IAF posterior over a diagonal one", "nats", at_least=0.5, aim="1.5"))
def posterior() -> Result:
    """A VAE of binarised digits, validation digits, the same seconds with each posterior; kept rows."""
    found = {row["posterior"]: row for row in _kept("posterior")}
    missing = [name for name in ("diagonal", "iaf") if name not in found]
    if missing:
        raise NotHere(f"no rows: {BENCHMARK} posterior {','.join(missing)} --data MNIST {OUTPUT}")
    first, second = found["diagonal"], found["iaf"]
    note = (
        f"{first['elbo']:g} and {second['elbo']:g} after {first['seconds']:g} s; importance-weighted bounds "
        f"{first['importance_bound_20']:g} and {second['importance_bound_20']:g}"
    )
    return Result({"gain": second["elbo"] - first["elbo"]}, note=note)


@measure("L", lacking=Figure("systems without a picture or a row in docs/FLOWS.md", "", at_most=0))
def gallery() -> Result:
    """Presets of density models, by the links to their pictures."""
    page, folder = GALLERY.read_text(encoding="utf-8"), ROOT / "docs" / "figures" / "flows"
    shown = [f"| ![{name}](figures/flows/{name}.png) | `{name}` |" in page for name in _systems()]
    drawn = [(folder / f"{name}.png").is_file() for name in _systems()]
    return Result({"lacking": len(shown) - sum(a and b for a, b in zip(shown, drawn, strict=True))})
