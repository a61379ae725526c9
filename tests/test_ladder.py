"""The ladder from the paper's VideoFlow to lattices."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts import ladder
from vflow.config import load_preset

GIVEN = {
    "paper": ("videoflow", "uniform", "scaled"),
    "learned-noise": ("videoflow", "learned", "scaled"),
    "counts": ("videoflow", "conditional", "marginal"),
    "mixtures": ("videoflow", "conditional", "marginal"),
    "couplings": ("frame_conditioned_videoflow", "learned", "marginal"),
    "lattice": ("lattice_videoflow", "uniform", "marginal"),
}


def test_rungs_differ_in_what_they_are_named_for() -> None:
    models = {name: ladder.configured(name).model for name in ladder.RUNGS}
    assert {name: (m.kind, m.noise, m.pixel_map) for name, m in models.items()} == GIVEN
    assert models["counts"] == load_preset("videoflow").model
    assert {name for name, m in models.items() if getattr(m.prior, "mixtures", 1) > 1} == {"mixtures"}
    assert len({m.glow for name, m in models.items() if name != "lattice"}) == 1


def test_a_rung_with_a_result_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds: list[float] = []

    def ablate(preset: object, time: float, folder: Path) -> dict[str, float]:
        seconds.append(time)
        folder.mkdir()
        return {"steps": 7}

    monkeypatch.setattr(ladder, "ablate", ablate)
    monkeypatch.setattr(ladder, "judged", lambda folder: {"accepted": {0.6: 0.5}})
    found = [ladder.rung("paper", tmp_path / "paper", 10) for _ in range(2)]
    assert seconds == [600.0] and found[0] == found[1] == {"steps": 7, "accepted": {"0.6": 0.5}}
    assert json.loads((tmp_path / "paper" / "result.json").read_text()) == found[0]
