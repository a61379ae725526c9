"""Training a nowcasting flow, with validation and pictures of samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.data.test_motion import moving
from vflow.config import load_preset
from vflow.errors import ConfigError
from vflow.training.args import TrainOptions, resolve
from vflow.training.loop import train
from vflow.training.nowcasts import open_nowcasts

SMALL = (
    "model.glow.height=32",
    "model.glow.width=32",
    "model.glow.depth=[1, 1]",
    "model.glow.hidden=[8, 8]",
    "model.condition.hidden=[8, 8]",
    "model.features=[4, 4]",
    "data.held_out_events=[b]",
    "training.losses=[{kind: crps, scales: [1, 4]}]",
    "training.actnorm_batch=4",
    "training.validation_examples=4",
    "training.validate_every=2",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "ab":
        np.savez(tmp_path / f"{name}.npz", frames=moving(2, 1, 12))
    return tmp_path


def test_training_logs_validation_and_draws_samples(folder: Path, runs: Path) -> None:
    output = runs / "rain"
    options = TrainOptions(
        config="rain", data=str(folder), output=output, max_steps=2, log_every=1, device="cpu", set=SMALL
    )
    assert train(options) == 0
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert any(np.isfinite(line.get("val_bits_per_dim", np.nan)) for line in lines)
    assert all(line["round_trip"] < 0.1 for line in lines if "round_trip" in line)
    assert (output / "samples" / "step_0000002.png").is_file() and lines[-1]["status"] == "finished"


def test_events_are_held_out_by_name(folder: Path) -> None:
    for held, message in ((["c"], r"no c\.npz"), (["a", "b"], "leave at least one")):
        preset = load_preset("rain", {"data.path": str(folder), "data.held_out_events": held})
        with pytest.raises(ConfigError, match=message):
            open_nowcasts(preset.model, preset)  # type: ignore[arg-type]
    preset = load_preset("rain", {"data.path": str(folder), "data.held_out_events": ["c"]})
    with pytest.raises(
        ConfigError, match=r"name some of a, b \(--set 'data\.held_out_events=\[b\]', or in a "
    ):
        open_nowcasts(preset.model, preset)  # type: ignore[arg-type]


def held_out(folder: Path, *settings: str) -> tuple[str, ...]:
    options = TrainOptions(config="rain", data=str(folder), output=folder / "run", set=settings)
    return resolve(options).data.held_out_events


def test_own_events_need_not_be_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert held_out(folder) == ("b",)
    assert caplog.messages == [
        f"{folder}: has no fmi_20170509, which the preset holds out, so the last event, b, is for "
        "validation; --set 'data.held_out_events=[NAME]', or in a recipe the stage's set, names another"
    ]
    caplog.clear()
    assert held_out(folder, "data.held_out_events=[a]") == ("a",)
    assert held_out(folder, "data.held_out_events=[c]") == ("c",)  # refused once the data are opened
    assert held_out(folder, "data.held_out_events=[]") == ()
    (folder / "b.npz").rename(folder / "fmi_20170509.npz")
    assert held_out(folder) == ("fmi_20170509",) and not caplog.messages
    (folder / "fmi_20170509.npz").unlink()
    assert held_out(folder) == ()
    assert caplog.messages == [f"{folder}: only one event, so training goes on without validation"]
