"""Every example says how it is run and is listed in docs/FLOWS.md; each runs at a small size."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from examples import (
    densities,
    digit_models,
    discrete_flows,
    flow_figures,
    integer_flow,
    invertible_network,
    knowledge_types,
    made_bits,
    masks,
    outliers,
    pixelcnn,
    row_lstm,
    systems,
    vae,
    vine_autoencoder,
)
from vflow.devices import machine

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))
Rows = list[dict[str, Any]]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_listed_and_says_how_it_is_run(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"examples.{name}")
    assert f"python -m examples.{name}" in str(module.__doc__)
    assert f"](../examples/{name}.py)" in (ROOT / "docs" / "FLOWS.md").read_text(encoding="utf-8")
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as stop:
        module.main()
    assert stop.value.code == 0 and "usage" in capsys.readouterr().out


class Digits:
    """Stand-in for MNIST: a bright square whose place is that of its label."""

    def __init__(self, *, split: str, root: str | None = None) -> None:
        self.labels = np.arange(200) % 10
        self.images = np.random.default_rng(len(split)).integers(40, size=(200, 28, 28)).astype(np.uint8)
        for image, label in zip(self.images, self.labels, strict=True):
            image[2 * label : 2 * label + 8, 8:20] += 200

    def __len__(self) -> int:
        return len(self.images)


def digits_of(name: str) -> Callable[[Path], Rows]:
    """Rows of a model of digits after two steps."""

    def rows(folder: Path) -> Rows:
        found: Rows = digit_models.compare([name], "validation", 3, steps=2)["rows"]
        assert found[0]["trained"].startswith("2 steps")
        return found

    return rows


def gallery(folder: Path) -> Rows:
    row = flow_figures.figure(flow_figures.BY_PRESET["maf"], 0.2, folder)
    assert (folder / "maf.png").stat().st_size > 100
    return [row]


def knowledge(folder: Path) -> Rows:
    return knowledge_types.run(0.2, 0.2)


def vines(folder: Path) -> Rows:
    pytest.importorskip("pyvinecopulib")
    row = vine_autoencoder.figure("", 0.2, folder)
    assert (folder / "vine-autoencoder.png").stat().st_size > 100
    return [row]


def planes(folder: Path) -> Rows:
    rows = list(densities.plane("two-moons", ["maf"], 0.2, 0, training=1000, tested=500))
    for row in rows:
        densities.record(folder / "rows.json", "plane", row)
    kept = json.loads((folder / "rows.json").read_text())["plane"]
    assert [row | {"machine": machine()} for row in rows] == kept
    return rows


SMALL: dict[str, tuple[Callable[[Path], Rows], int]] = {
    "densities": (planes, 1),
    "digit_models": (digits_of("pixelcnn"), 1),
    "discrete_flows": (lambda _: discrete_flows.table_rows(discrete_flows.XOR, 2, {"none": []}, 1), 2),
    "flow_figures": (gallery, 1),
    "integer_flow": (digits_of("integer-flow"), 1),
    "invertible_network": (lambda _: invertible_network.run("arm", 0.2, 0), 3),
    "knowledge_types": (knowledge, 4),
    "made_bits": (lambda _: list(made_bits.bits("", 0.2, 0)), 2),
    "masks": (lambda folder: masks.run("vessels", 0.2, 3, folder / "sheet.png"), 2),
    "outliers": (lambda _: outliers.measure("wine", preset="maf", max_steps=5), 3),
    "pixelcnn": (digits_of("pixelcnn"), 1),
    "row_lstm": (digits_of("row-lstm"), 1),
    "systems": (lambda _: list(systems.rings(0.1, 0)), 2),
    "vae": (lambda _: list(vae.posterior(["diagonal", "copula"], "", 2, 0)), 2),
    "vine_autoencoder": (vines, 1),
}


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_at_a_small_size(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, count = SMALL[name]
    for module in (digit_models, knowledge_types, made_bits, vae, vine_autoencoder):
        monkeypatch.setattr(module, "MnistImages", Digits)
    small = pixelcnn.PixelCNNConfig(hidden=4, layers=1, kernel=3)
    for module in (pixelcnn, row_lstm):
        monkeypatch.setattr(module, "CONFIG", small)
    monkeypatch.setattr(integer_flow, "CONFIG", integer_flow.IntegerFlowConfig(depth=(1, 1), classes=10))
    monkeypatch.setattr(invertible_network, "OBSERVATIONS", 6)
    monkeypatch.setattr(invertible_network, "COMPARED", 2)
    monkeypatch.setattr(systems, "POINTS", 2000)
    monkeypatch.setattr(flow_figures, "POINTS", 2000)
    monkeypatch.setattr(vine_autoencoder, "LATENT", 2)
    knowledge_types.judge.cache_clear()
    torch.manual_seed(0)
    rows = run(tmp_path)
    knowledge_types.judge.cache_clear()
    assert len(rows) == count
    figures = [value for row in rows for value in row.values() if isinstance(value, float)]
    assert figures and all(math.isfinite(figure) for figure in figures)
