from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn

from vflow.config import Preset, TrainingConfig
from vflow.errors import CheckpointError
from vflow.training import state
from vflow.training.ema import Ema
from vflow.training.schedule import make_optimizer
from vflow.training.state import Progress, changed_keys, gather, read_state, restore, write_state


def learner(config: TrainingConfig, seed: int) -> tuple[nn.Module, torch.optim.Optimizer, Ema]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model, make_optimizer(model, config), Ema(model, 0.9)


def train(parts: tuple[nn.Module, torch.optim.Optimizer, Ema], steps: range) -> list[float]:
    model, optimizer, ema = parts
    losses = []
    for step in steps:
        x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        loss = model(x).square().mean() + model(x).sin().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update(model, step)
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_a_restored_learner_goes_on_bit_for_bit(tmp_path: Path, weight_decay: float) -> None:
    config = TrainingConfig(weight_decay=weight_decay)
    first, second = learner(config, 0), learner(config, 1)
    train(first, range(5))
    write_state(tmp_path / "state", gather(*first), Progress(step=5), Preset())
    tensors, progress, preset = read_state(tmp_path / "state")
    restore(tensors, *second)
    assert progress.step == 5 and preset == Preset().model_dump(mode="json")
    assert second[0].get_parameter("0.weight").is_contiguous(memory_format=torch.channels_last)
    assert train(first, range(5, 12)) == train(second, range(5, 12))
    ours, theirs = gather(*first), gather(*second)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_shards_stay_under_their_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "SHARD_BYTES", 1000)
    tensors = {f"model.{i}": torch.full((100,), float(i)) for i in range(7)}
    write_state(tmp_path / "state", tensors, Progress(), Preset())
    shards = sorted((tmp_path / "state").glob("*.safetensors"))
    assert len(shards) == 4 and all(shard.stat().st_size < 1500 for shard in shards)
    read = read_state(tmp_path / "state")[0]
    assert all(torch.equal(read[name], value) for name, value in tensors.items())


def test_a_commit_of_another_model_is_refused_by_name(tmp_path: Path) -> None:
    parts = learner(TrainingConfig(), 0)
    tensors = gather(*parts)
    with pytest.raises(CheckpointError, match=r"model.0.weight needs .*, has no such tensor"):
        restore({}, *parts)
    tensors["model.0.bias"] = torch.zeros(3)
    with pytest.raises(CheckpointError, match=r"model.0.bias needs \(8,\), has shape \(3,\)"):
        restore(tensors, *parts)


def test_unreadable_state_is_one_line(tmp_path: Path) -> None:
    write_state(tmp_path / "state", {"model.a": torch.zeros(3)}, Progress(), Preset())
    shard = next((tmp_path / "state").glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:20])
    with pytest.raises(CheckpointError, match="unreadable training state"):
        read_state(tmp_path / "state")


def test_changed_keys_are_dotted() -> None:
    before = {"model": {"a": 1, "b": [1]}, "note": "x"}
    after = {"model": {"a": 2, "b": [1], "c": 0}, "note": "x"}
    assert changed_keys(before, after) == ["model.a", "model.c"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("step", "x"), ("lr", []), ("position", 1e300), ("validation_bits", "ab"), ("loss_sum", float("inf"))],
)
def test_progress_of_other_types_is_refused(field: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=f"^state.json: not numbers of a run: {field}; resume"):
        Progress.from_json(asdict(Progress()) | {field: value}, "state.json")


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5_000, "[]", '{"progress": 1, "preset": {}}', "\xff"])
def test_a_state_file_of_nonsense_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match="unreadable training state"):
        read_state(tmp_path)
