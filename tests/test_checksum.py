"""Seals: a bit that turned in weights or config is refused by name; files of other tools need none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vflow.checkpoint import load, save_checkpoint
from vflow.checksum import serialize_tensors, verify_tensors
from vflow.config import VideoFlowConfig
from vflow.errors import CheckpointError
from vflow.models import build_model

CONFIG = VideoFlowConfig.model_validate(
    {
        "glow": {"height": 16, "width": 16, "depth": [1, 1], "hidden": [4, 4]},
        "prior": {"hidden": 4, "dilations": [1]},
    }
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "tiny", build_model(CONFIG), config=CONFIG, extra={"step": 3})
    return tmp_path / "tiny"


def turn_a_bit(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_a_bit_in_a_tensor(folder: Path) -> None:
    turn_a_bit(folder / "model.safetensors", -1000)  # the lowest bits of a weight: finite, and nearly right
    with pytest.raises(CheckpointError, match=r"model\.safetensors: its tensors do not match their SHA-256"):
        load(folder)


def test_every_bit_of_the_config_matters(folder: Path) -> None:
    path = folder / "config.json"
    whole = path.read_bytes()
    for position in range(0, len(whole), 41):
        turn_a_bit(path, position)
        with pytest.raises(CheckpointError, match=r"config\.json: "):
            load(folder)
        path.write_bytes(whole)
    load(folder)


def test_another_layout_of_the_same_config_is_the_same(folder: Path) -> None:
    path = folder / "config.json"
    path.write_bytes(json.dumps(json.loads(path.read_text()), sort_keys=True).replace(",", ",\r\n").encode())
    load(folder)


def test_the_same_model_gives_the_same_bytes(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    state = load_file(folder / "model.safetensors")
    assert all(
        serialize_tensors(state, {"b": "ü", "a": "2"}) == serialize_tensors(state, {"b": "ü", "a": "2"})
        for _ in range(9)
    )
    save_checkpoint(folder, load(folder), config=CONFIG, extra={"step": 3})
    assert (folder / "model.safetensors").read_bytes() == whole


def test_other_files_of_tensors_can_be_sealed_too(tmp_path: Path) -> None:
    path = tmp_path / "directions.safetensors"
    path.write_bytes(serialize_tensors({"a": torch.arange(5.0)}, {"about": "größe"}))
    assert verify_tensors(path)["about"] == "größe" and load_file(path)["a"].tolist() == [0, 1, 2, 3, 4]
    turn_a_bit(path, -1)
    with pytest.raises(CheckpointError, match=r"directions\.safetensors: its tensors do not match"):
        verify_tensors(path)


def test_a_file_without_a_seal_is_taken(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    save_file(state, folder / "model.safetensors")
    loaded = load(folder).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
