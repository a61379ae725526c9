"""Snippets of docs/FLOWS.md run, in their order."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import vflow
from vflow.config import load_preset
from vflow.models import build_model

PAGE = Path(__file__).resolve().parents[1] / "docs" / "FLOWS.md"
LOADING, PRESET, FITTING, COMPOSING, ENERGY = re.findall(
    r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)


def run(snippet: str) -> dict[str, Any]:
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    exec(compile(snippet, str(PAGE), "exec"), names)
    return names


def test_a_model_is_loaded_and_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        vflow, "load", lambda name: build_model(load_preset("maf").model).eval(), raising=False
    )
    names = run(LOADING)
    assert names["points"].shape == (1000, 2) and names["nats"].isfinite()


def test_a_preset_is_one_line() -> None:
    names = run(PRESET)
    for model in (names["flow"].eval(), names["model"]):
        x, log_p = model.sample_with_log_prob(torch.randn(6, model.noise_dim), torch.randn(6, 2))
        assert x.shape == (6, 5) and log_p.shape == (6,)


def test_a_conditional_model_is_built_and_learns() -> None:
    names = run(FITTING)
    entropy = 2 * (1.4189 + float(torch.tensor(0.1).log()))
    assert float(names["nats"]) < entropy + 1
    assert (names["samples"].mean(0) - torch.tensor([0.5, 0.25])).abs().max() < 0.2


def test_a_flow_is_put_together_and_learns() -> None:
    names = run("import vflow\n" + FITTING + COMPOSING)
    entropy = 2 * 1.9602  # of Student's t with two degrees of freedom
    heavy, drawn = names["heavy"], torch.from_numpy(names["drawn"])
    with torch.no_grad():
        assert float(-names["flow"].log_prob(heavy).mean()) < entropy + 0.15
    inside = (drawn.abs() < 1).float().mean()
    assert drawn.shape == (1000, 2) and abs(float(inside) - 0.5774) < 0.06


def test_a_flow_is_fitted_to_an_energy() -> None:
    found = run("import vflow\n" + FITTING + COMPOSING + ENERGY)["found"]
    assert found.log_normalizer == pytest.approx(math.log(math.pi), abs=0.01)
    assert found.mean(found.points).tolist() == pytest.approx([0, 0.5], abs=0.03)
    assert found.effective_share > 0.9
