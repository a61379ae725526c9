"""Schedule, average, guards, options, launch checks, log and lock: the small parts of training."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn

from vflow.config import DataConfig, TrainingConfig
from vflow.errors import CheckpointError, ConfigError
from vflow.training import step as guards
from vflow.training.args import CONTENTS, TrainOptions, parse_settings, resolve
from vflow.training.distributed import autocast_dtype, check_world_size
from vflow.training.ema import Ema
from vflow.training.logging import RunLog, read_log, rewind_log
from vflow.training.schedule import learning_rate
from vflow.training.state import Progress


def test_rate_warms_up_then_falls_to_the_final_fraction() -> None:
    config = TrainingConfig(learning_rate=2.0, warmup_steps=4, max_steps=104, min_lr_ratio=0.1)
    rates = [learning_rate(config, step) for step in range(105)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0]
    assert rates[4] == 2.0 and math.isclose(rates[54], 1.1) and math.isclose(rates[104], 0.2)
    assert all(a >= b for a, b in pairwise(rates[4:]))


class Scaled(nn.Module):
    """Two parameters and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)
        self.register_buffer("count", torch.zeros(3))


def test_average_follows_its_ramp_and_carries_buffers() -> None:
    model, target = Scaled(), Scaled()
    ema, expected = Ema(model, 0.9), model.linear.weight.detach().clone()
    for step in range(100):
        with torch.no_grad():
            model.linear.weight.add_(1.0)
        ema.update(model, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.linear.weight.detach()
    model.get_buffer("count").fill_(5)
    ema.copy_to(target, model)
    torch.testing.assert_close(target.linear.weight.detach(), expected)
    assert target.get_buffer("count").tolist() == [5, 5, 5]
    other = Ema(Scaled(), 0.9)
    other.load(ema.tensors())
    assert all(torch.equal(value, ema.tensors()[name]) for name, value in other.tensors().items())


def test_guards_skip_what_is_not_finite_or_far_over_the_usual() -> None:
    progress = Progress()
    assert not guards.accept(progress, math.nan, 1.0, 1.0)
    assert not guards.accept(progress, 1.0, math.inf, 1.0)
    assert progress.skipped == progress.skipped_in_a_row == 2
    for _ in range(guards.WARM):
        assert guards.accept(progress, 1.0, 200.0, 1.0), "large norms are normal at first"
    assert progress.skipped_in_a_row == 0
    assert guards.accept(progress, 1.0, 5_000.0, 1.0)
    assert not guards.accept(progress, 1.0, 50_000.0, 1.0)
    assert guards.accept(progress, 1.0, 0.0, None)


def test_settings_are_yaml_values_under_dotted_keys() -> None:
    assert parse_settings(["a.b=[1, 2]", "c=null", "d=x=y"]) == {"a.b": [1, 2], "c": None, "d": "x=y"}
    with pytest.raises(ConfigError, match=r"--set training: expected key.path=value"):
        parse_settings(["training"])
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse_settings(["a=[1"])


def test_flags_override_the_preset(tmp_path: Path, tiny: str) -> None:
    options = TrainOptions(
        config=tiny,
        output=tmp_path,
        max_steps=7,
        seed=5,
        dtype="float32",
        set=("training.grad_clip_norm=2.5",),
    )
    training = resolve(options).training
    assert (training.max_steps, training.seed, training.precision, training.grad_clip_norm) == (
        7,
        5,
        "float32",
        2.5,
    )
    with pytest.raises(ConfigError, match=r"unknown key 'training.speed'"):
        resolve(TrainOptions(config=tiny, output=tmp_path, set=("training.speed=1",)))
    with pytest.raises(ConfigError, match="--keep -1"):
        resolve(TrainOptions(config=tiny, output=tmp_path, keep=-1))


def test_a_folder_replaces_generated_data(tmp_path: Path, tiny: str) -> None:
    data = resolve(TrainOptions(config=tiny, output=tmp_path, data=str(tmp_path))).data
    assert (data.name, data.path) == ("video-folder", str(tmp_path))
    with pytest.raises(ConfigError, match="no such folder"):
        resolve(TrainOptions(config=tiny, output=tmp_path, data=str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("config", "remedy"),
    [
        ("shapes-guided", "give a folder of clips or frame folders"),
        ("codec-clip", "give a folder of clips or frame folders"),
        ("digits", "give a folder of four IDX files, or of MNIST/raw with them"),
        ("rain", r"give a folder of radar sequences \(npz\)"),
        ("colorizer", "give a folder or zip of photos"),
    ],
)
def test_a_missing_folder_is_answered_with_what_the_preset_takes(
    tmp_path: Path, config: str, remedy: str
) -> None:
    with pytest.raises(ConfigError, match=f"none: no such folder; {remedy}$"):
        resolve(TrainOptions(config=config, output=tmp_path, data=str(tmp_path / "none")))


def test_each_data_set_says_what_it_takes() -> None:
    names = get_args(DataConfig.model_fields["name"].annotation)
    assert {*names} == {*CONTENTS, "points"}


def test_fewer_processes_than_asked_for_is_an_error() -> None:
    check_world_size(1, {})
    check_world_size(2, {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"})
    with pytest.raises(ConfigError, match="2 processes were requested but 1 joined; use torchrun"):
        check_world_size(1, {"WORLD_SIZE": "2"})
    with pytest.raises(ConfigError, match="accelerate launch --multi_gpu"):
        check_world_size(1, {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1"})


def test_precision_follows_setting_and_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert autocast_dtype("float32", cpu) is None
    assert autocast_dtype("bfloat16", cpu) == torch.bfloat16
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert autocast_dtype("auto", cpu) == torch.bfloat16
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(ConfigError, match="use bf16 or no"):
        autocast_dtype("auto", cpu)


def test_rewinding_drops_later_lines_status_and_a_torn_end(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    whole = [{"step": 1, "bits_per_dim": 3.0}, {"step": 2, "status": "failed"}, {"step": 3, "lr": 1.0}]
    path.write_text("".join(json.dumps(line) + "\n" for line in whole) + '{"step": 4, "bi')
    assert read_log(path) == whole
    rewind_log(path, 2)
    assert read_log(path) == whole[:1]
    rewind_log(path, -1)
    assert path.read_text() == ""


def test_log_appends_lines_and_events(tmp_path: Path) -> None:
    with RunLog(tmp_path / "log.jsonl", 2, 0, tmp_path / "events", "frames") as log:
        log.tick("3.0 bits/dim", 10.0, 1)
        log.write({"step": 1, "bits_per_dim": 3.0})
    assert read_log(tmp_path / "log.jsonl") == [{"step": 1, "bits_per_dim": 3.0}]
    assert list((tmp_path / "events").glob("events.out.*"))
    with RunLog(None, 2, 0, tmp_path / "none", "frames") as silent:
        silent.write({"step": 1})
    assert not (tmp_path / "none").exists()


def test_progress_survives_json_exactly() -> None:
    progress = Progress(step=3, lr=1e-3 / 3, loss_sum=0.1 + 0.2, validation_bits=(0.1, 0.9))
    assert Progress.from_json(json.loads(json.dumps(asdict(progress))), "state.json") == progress
    with pytest.raises(CheckpointError, match=r"state.json: .*speed"):
        Progress.from_json({**asdict(progress), "speed": 1}, "state.json")
