"""Densities of vectors: exactness of every system, and stored rows of docs/results/densities.json.

Each of those rows takes minutes of processor time; if one is missing, the error names the command that
adds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scripts.acceptance.registry import NotHere, Result, measure
from scripts.acceptance.report import ROOT, stored
from scripts.density_tables import BENCHMARK, OUTPUT, SYSTEMS
from vflow.config.density import DensityConfig
from vflow.config.presets import load_preset, preset_names
from vflow.models.density import DensityModel
from vflow.models.flow import PointBatch

GALLERY = ROOT / "docs" / "FLOWS.md"
PLANES = ("two-moons", "rings", "checkerboard", "eight-gaussians")
PEERS = ("zuko-maf", "zuko-nsf", "normflows-realnvp")
OF_MAF = ("two-moons", "eight-gaussians")
MANIFOLDS = ("sphere", "mobius", "circular-spline", "earth")
POINTS = 64


def _systems() -> dict[str, DensityConfig]:
    """Presets of density models."""
    models = {name: load_preset(name).model for name in preset_names()}
    return {name: model for name, model in models.items() if isinstance(model, DensityConfig)}


def _exactness(config: DensityConfig, points: Tensor) -> tuple[float, float]:
    """Largest errors of the log-dets (against autograd) and of the inverse at ``points`` (N, D)."""
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
    wrong = (torch.linalg.slogdet(jacobians).logabsdet - ladj.detach().flatten()).abs().max()
    return float(wrong), float((back - points).abs().max())


@measure("L")
def exactness() -> Result:
    """The chain of each preset without folds on the plane, with weights perturbed by noise of scale 0.03, at
    64 normal points. tests/bijections hold single layers, spheres, tori and folds to the same bounds (a fold
    by the sum of its two sides)."""
    points = 1.2 * torch.randn(POINTS, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    chosen = [name for name in _systems() if name not in (*MANIFOLDS, "rad")]
    found = {name: _exactness(_systems()[name], points) for name in chosen}
    note = f"{len(found)} systems; least exact: log-det {_worst(found, 0)}, inverse {_worst(found, 1)}"
    worst = np.max(list(found.values()), 0).tolist()
    return Result(dict(zip(("log_det", "inverse"), worst, strict=True)), note=note)


def _worst(errors: Mapping[str, tuple[float, float]], place: int) -> str:
    """Name of the largest error; of NaN, where there is one."""
    return list(errors)[int(np.argmax([error[place] for error in errors.values()]))]


def _kept(kind: str) -> list[dict[str, Any]]:
    """Stored rows of a kind."""
    rows: list[dict[str, Any]] = stored("densities").get(kind, [])
    return rows


def _above(density: str) -> dict[str, float]:
    """Model → nats above the true density after 60 s on one core."""
    return {row["model"]: row["above"] for row in _kept("plane") if row["density"] == density}


def _lacks(density: str, models: Sequence[str]) -> NotHere:
    """Error for missing rows of ``models``, with the command that adds them."""
    return NotHere(f"no rows: {BENCHMARK} plane {density} --models {','.join(models)} {OUTPUT}")


def _best(density: str) -> Result:
    """After 60 s of processor time on one core, not counting data generation; 50,000 test points; stored
    rows."""
    own = {model: nats for model, nats in _above(density).items() if model not in PEERS}
    if not own or (density in OF_MAF and "maf" not in own):
        raise _lacks(density, ["maf"])
    best = min(own, key=lambda model: own[model])
    return Result({**own, "best": own[best]}, note=f"best: {best}")


def _beside_peers(density: str) -> Result:
    """Against zuko's MAF and NSF and normflows' RealNVP, at the presets' sizes, trained as long; stored
    rows."""
    rows = _above(density)
    if missing := [model for model in PEERS if model not in rows]:
        raise _lacks(density, missing)
    peer = min(PEERS, key=lambda model: rows[model])
    best = min(nats for model, nats in rows.items() if model not in PEERS)
    return Result({"ratio": best / rows[peer]}, note=f"best peer: {peer}")


for _density in PLANES:
    _name = _density.replace("-", "_")
    measure("L", _name, _best.__doc__)(partial(_best, _density))
    measure("L", f"{_name}_beside_peers", _beside_peers.__doc__)(partial(_beside_peers, _density))


@measure("L")
def speed() -> Result:
    """Without gradients, one thread, best of 100 alternating timings; stored rows."""
    rows = _kept("speed")
    if not rows:
        raise NotHere(f"no rows: {BENCHMARK} speed {OUTPUT}")
    ratios = {"density": "density_ratio", "samples": "iaf_ratio"}
    return Result({name: min(row[ratio] for row in rows) for name, ratio in ratios.items()})


@measure("L")
def energies() -> Result:
    """Energies of Rezende & Mohamed 2015; reverse KL after equal numbers of steps; stored rows."""
    kl = {(row["energy"], row["layers"]): row["kl"] for row in _kept("energies")}
    if not kl:
        raise NotHere(f"no rows: {SYSTEMS} energies {OUTPUT}")
    ratios = {energy: kl[energy, 32] / kl[energy, 2] for energy, _ in kl}
    return Result({"ratio": max(ratios.values())}, note=", ".join(f"{e} {r:.2f}" for e, r in ratios.items()))


@measure("L")
def posterior() -> Result:
    """A VAE on binarised digits, the same number of steps with each posterior; validation digits; stored
    rows."""
    found = {row["posterior"]: row for row in _kept("posterior")}
    missing = [name for name in ("diagonal", "iaf", "planar", "copula") if name not in found]
    if missing:
        command = f"python -m examples.vae {','.join(missing)} --data MNIST --steps 16000 {OUTPUT}"
        raise NotHere(f"no rows: {command}")
    gains = {name: row["elbo"] - found["diagonal"]["elbo"] for name, row in found.items()}
    bounds = ", ".join(
        f"{name} {row['elbo']:g} ({row['importance_bound_20']:g})" for name, row in found.items()
    )
    note = f"after {found['diagonal']['steps']:,} steps (importance-weighted bounds): {bounds}"
    return Result(gains, note=note)


@measure("L")
def gallery() -> Result:
    """Presets of density models, found by the links to their pictures."""
    page, folder = GALLERY.read_text(encoding="utf-8"), ROOT / "docs" / "figures" / "flows"
    shown = [f"| ![{name}](figures/flows/{name}.png) | `{name}` |" in page for name in _systems()]
    drawn = [(folder / f"{name}.png").is_file() for name in _systems()]
    return Result({"lacking": len(shown) - sum(a and b for a, b in zip(shown, drawn, strict=True))})
