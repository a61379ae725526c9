"""Variants of a preset for equal time."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

import vflow
from scripts.ablate import SPAN, _rate, main
from tests.training.support import ROOT, tiny_preset
from vflow.config import TrainingConfig
from vflow.errors import ConfigError


def test_the_rate_warms_up_in_steps_and_falls_with_the_time() -> None:
    config = TrainingConfig(learning_rate=1e-3, min_lr_ratio=0.1, warmup_steps=4, max_steps=SPAN)
    assert [_rate(config, step, 0.0) for step in range(4)] == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3])
    assert _rate(config, 3, 0.9) == pytest.approx(1e-3), "few steps in all the time are still warmed up"
    assert [_rate(config, 10, share) for share in (0.0, 0.5, 1.0)] == pytest.approx([1e-3, 5.5e-4, 1e-4])


def test_a_variant_has_its_time_and_tells_what_it_reached(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "scripts" / "ablate.py"),
        tiny_preset(tmp_path),
        "--minutes",
        "0.03",
    ]
    changes = ["--set", "model.noise=learned", "--seed", "3", "--output", str(tmp_path / "made")]
    done = subprocess.run([*command, *changes], capture_output=True, text=True, check=True, timeout=120)
    row = json.loads(done.stdout)
    assert row["set"] == ["model.noise=learned"]
    assert row["steps"] > 0 and row["skipped"] == 0 and 1.8 <= row["seconds"] < 10
    assert math.isfinite(row["held_out_bits_per_dim"])
    model = vflow.load(tmp_path / "made")
    assert model.config.noise == "learned" and row["parameters"] == sum(p.numel() for p in model.parameters())


def test_bad_settings_are_refused_in_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["ablate.py", "shapes-guided", "--set", "model.noise=loud"])
    assert main() == ConfigError.exit_code
    assert capsys.readouterr().err.startswith("error: ")
