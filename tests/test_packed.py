"""Checkpoints in zips: they load as folders do, and what else a zip may hold is refused unread."""

from __future__ import annotations

import stat
import warnings
import zipfile
from pathlib import Path

import pytest
import torch

import vflow
from vflow import packed
from vflow.catalog import CARD, CONFIG, WEIGHTS, checkpoint_folder
from vflow.checkpoint import save_checkpoint
from vflow.config import GlowConfig, LatentPriorConfig, VideoFlowConfig
from vflow.errors import CheckpointError
from vflow.models import build_model

GIVEN = (CONFIG, WEIGHTS, CARD)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    glow = GlowConfig(height=16, width=16, depth=(1, 1), hidden=(4, 4))
    config = VideoFlowConfig(glow=glow, prior=LatentPriorConfig(hidden=4, dilations=(1,)))
    target = tmp_path_factory.mktemp("packed") / "model"
    save_checkpoint(target, build_model(config), config=config, card="# model\n")
    return target


def test_a_zip_loads_as_its_folder_does(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "taught.zip"
    packed.pack(folder, GIVEN, path)
    ours, theirs = vflow.load(path).state_dict(), vflow.load(folder).state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert checkpoint_folder(path) == checkpoint_folder(path)


@pytest.mark.parametrize(
    "name", ["../config.json", "model/config.json", "/etc/passwd", "weights.pt", "config.json"]
)
def test_other_names_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "odd.zip"
    packed.pack(folder, GIVEN, path)
    with zipfile.ZipFile(path, "a") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's own, of a name that is there twice
        file.writestr(name, b"{}")
    with pytest.raises(CheckpointError, match=r"odd\.zip"):
        vflow.load(path)


def test_links_are_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "link.zip"
    link = zipfile.ZipInfo("model.safetensors")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as file:
        file.write(folder / "config.json", "config.json")
        file.writestr(link, "/etc/passwd")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        vflow.load(path)


def test_what_would_unpack_to_too_much_is_refused_before(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.zip"
    packed.pack(folder, GIVEN, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("statistics.safetensors", bytes(1 << 20))
    monkeypatch.setattr(packed, "MOST_BYTES", 1 << 19)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *arguments: pytest.fail("it was unpacked"))
    with pytest.raises(CheckpointError, match="1,048,576 bytes"):
        vflow.load(path)


def test_damaged_and_incomplete_zips_are_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "part.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.write(folder / "config.json", "config.json")
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        vflow.load(path)
    packed.pack(folder, GIVEN, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"part\.zip"):
        vflow.load(path)
