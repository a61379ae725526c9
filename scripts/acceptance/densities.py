"""Densities of vectors: exactness of every system, and stored rows of docs/results/densities.json.

Each of those rows takes minutes of processor time; if one is missing, the error names the command that
adds it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scripts.acceptance.registry import Figure, NotHere, Result, measure
from scripts.acceptance.report import ROOT
from scripts.density_tables import BENCHMARK, OUTPUT, SYSTEMS
from vflow.config.density import DensityConfig
from vflow.config.presets import load_preset, preset_names
from vflow.models.density import DensityModel
from vflow.models.flow import PointBatch

ROWS, GALLERY = ROOT / "docs" / "results" / "densities.json", ROOT / "docs" / "FLOWS.md"
PLANES = ("two-moons", "rings", "checkerboard", "eight-gaussians")
PEERS = ("zuko-maf", "zuko-nsf", "normflows-realnvp")
OF_MAF = ("two-moons", "eight-gaussians")
MANIFOLDS = ("sphere", "mobius", "circular-spline")
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


@measure(
    "L",
    log_det=Figure(
        "largest error of the log-dets against slogdet of autograd's Jacobian, float64", "nats", at_most=1e-8
    ),
    inverse=Figure("largest error of the inverse", "", at_most=1e-6),
)
def exactness() -> Result:
    """The chain of each preset without folds on the plane, with weights perturbed by noise of scale 0.03, at
    64 normal points. tests/bijections hold single layers, spheres, tori and folds to the same bounds (a fold
    by the sum of its two sides)."""
    points = 1.2 * torch.randn(POINTS, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    chosen = [name for name in _systems() if name not in (*MANIFOLDS, "rad")]
    found = {name: _exactness(_systems()[name], points) for name in chosen}
    note = f"{len(found)} systems; least exact: log-det {_worst(found, 0)}, inverse {_worst(found, 1)}"
    log_det, inverse = np.max(list(found.values()), 0)
    values = {"log_det": float(log_det), "inverse": float(inverse)}
    return Result(values, note=note)


def _worst(errors: Mapping[str, tuple[float, float]], place: int) -> str:
    """Name of the largest error; of NaN, where there is one."""
    return list(errors)[int(np.argmax([error[place] for error in errors.values()]))]


def _kept(kind: str) -> list[dict[str, Any]]:
    """Stored rows of a kind."""
    rows: list[dict[str, Any]] = json.loads(ROWS.read_text(encoding="utf-8")).get(kind, [])
    return rows


def _above(density: str) -> dict[str, float]:
    """Model → nats above the true density after 60 s on one core."""
    return {row["model"]: row["above"] for row in _kept("plane") if row["density"] == density}


def _lacks(density: str, models: Sequence[str]) -> NotHere:
    """Error for missing rows of ``models``, with the command that adds them."""
    return NotHere(f"no rows: {BENCHMARK} plane {density} --models {','.join(models)} {OUTPUT}")


def _register(density: str) -> None:
    """Register one density's measures: the best system and MAF, and the best system against the best peer."""
    best_of = f"{density}: nats above the true density, best system"
    figures = {"best": Figure(best_of, "nats", at_most=0.05, aim="0.02")}
    if density in OF_MAF:
        figures["maf"] = Figure(f"{density}: the same for MAF", "nats", at_most=0.05, aim="0.02")

    def above() -> Result:
        """After 60 s of processor time on one core, not counting data generation; 50,000 test points; stored
        rows."""
        own = {model: nats for model, nats in _above(density).items() if model not in PEERS}
        if not own or ("maf" in figures and "maf" not in own):
            raise _lacks(density, ["maf"])
        best = min(own, key=lambda model: own[model])
        values = {"best": own[best], **({"maf": own["maf"]} if "maf" in figures else {})}
        return Result(values, note=f"best: {best}")

    def beside_peers() -> Result:
        """Against zuko's MAF and NSF and normflows' RealNVP, at the presets' sizes, trained as long; stored
        rows."""
        rows = _above(density)
        if missing := [model for model in PEERS if model not in rows]:
            raise _lacks(density, missing)
        peer = min(PEERS, key=lambda model: rows[model])
        best = min(nats for model, nats in rows.items() if model not in PEERS)
        return Result({"ratio": best / rows[peer]}, note=f"best peer: {peer}")

    ratio = Figure(f"{best_of} relative to best peer", "×", at_most=1)
    above.__name__ = density.replace("-", "_")
    beside_peers.__name__ = f"{above.__name__}_beside_peers"
    measure("L", **figures)(above)
    measure("L", ratio=ratio)(beside_peers)


for _density in PLANES:
    _register(_density)


@measure(
    "L",
    density=Figure(
        "rows per second, MAF densities relative to zuko, lowest of three sizes", "×", at_least=1, aim="1.3"
    ),
    samples=Figure("the same for IAF samples", "×", at_least=1, aim="1.3"),
)
def speed() -> Result:
    """Without gradients, one thread, best of 100 alternating timings; stored rows."""
    rows = _kept("speed")
    if not rows:
        raise NotHere(f"no rows: {BENCHMARK} speed {OUTPUT}")
    return Result(
        {
            "density": min(row["density_ratio"] for row in rows),
            "samples": min(row["iaf_ratio"] for row in rows),
        }
    )


@measure(
    "L",
    ratio=Figure("KL to an energy, 32 planar layers relative to 2, largest ratio of four", "×", at_most=1),
)
def energies() -> Result:
    """Energies of Rezende & Mohamed 2015; reverse KL after equal numbers of steps; stored rows."""
    kl = {(row["energy"], row["layers"]): row["kl"] for row in _kept("energies")}
    if not kl:
        raise NotHere(f"no rows: {SYSTEMS} energies {OUTPUT}")
    ratios = {energy: kl[energy, 32] / kl[energy, 2] for energy, _ in kl}
    return Result({"ratio": max(ratios.values())}, note=", ".join(f"{e} {r:.2f}" for e, r in ratios.items()))


@measure(
    "L",
    gain=Figure("ELBO gained by an IAF posterior over a diagonal one", "nats", at_least=0.5, aim="1.5"),
    planar=Figure("the same by a planar posterior", "nats"),
    copula=Figure("the same by a Gaussian copula", "nats"),
)
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
    return Result({"gain": gains["iaf"], "planar": gains["planar"], "copula": gains["copula"]}, note=note)


@measure("L", lacking=Figure("systems without a picture or a row in docs/FLOWS.md", "", at_most=0))
def gallery() -> Result:
    """Presets of density models, found by the links to their pictures."""
    page, folder = GALLERY.read_text(encoding="utf-8"), ROOT / "docs" / "figures" / "flows"
    shown = [f"| ![{name}](figures/flows/{name}.png) | `{name}` |" in page for name in _systems()]
    drawn = [(folder / f"{name}.png").is_file() for name in _systems()]
    return Result({"lacking": len(shown) - sum(a and b for a, b in zip(shown, drawn, strict=True))})
