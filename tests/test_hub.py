"""Uploads to, and downloads from, a fake of the hub."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants

from tests.fake_hub import FakeHub, Repository
from vflow.checkpoint import load, save_checkpoint
from vflow.cli import main
from vflow.config import VideoFlowConfig
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.hub import push_to_hub
from vflow.models import build_model
from vflow.pipelines.video.stats import ClipStatistics, load_clip_statistics, save_clip_statistics

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


def test_what_is_pushed_comes_back_and_nothing_else_travels(
    hub: FakeHub, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "notes.txt").write_text("mine alone")
    (folder / "README.md").write_text("# tiny, by hand\n")
    assert main(["push", "--checkpoint", str(folder), "--repo", "ada/tiny"]) == 0
    assert capsys.readouterr().out.startswith(f"{hub.address}/ada/tiny/commit/")
    repository = hub.repositories["ada/tiny"]
    assert repository.commits == [["README.md", "config.json", "model.safetensors"]]
    assert not repository.private and repository.files["README.md"] == b"# tiny, by hand\n"
    repository.files |= {"pytorch_model.bin": b"\x80\x04", "training_args.bin": b"\x80\x04"}
    loaded, own = load("ada/tiny").state_dict(), load(folder).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in own.items())
    assert sorted(hub.downloads) == ["README.md", "config.json", "model.safetensors"]


def test_typical_figures_travel_with_the_weights_they_belong_to(hub: FakeHub, folder: Path) -> None:
    figures = ClipStatistics(
        np.zeros((16, 16), np.float32), np.ones(3, np.float32), np.ones(1, np.float32), "few"
    )
    path = save_clip_statistics(folder, figures)
    push_to_hub(folder, "ada/tiny")
    assert "statistics.safetensors" in hub.repositories["ada/tiny"].files
    found = load_clip_statistics("ada/tiny", load("ada/tiny"))
    assert found is not None and found.about == "few"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        push_to_hub(folder, "ada/tiny")


def test_a_card_is_written_where_there_is_none(hub: FakeHub, folder: Path) -> None:
    push_to_hub(folder, "ada/tiny", private=True)
    repository = hub.repositories["ada/tiny"]
    card = repository.files["README.md"].decode()
    assert repository.private and not (folder / "README.md").exists()
    assert card.startswith("---\nlibrary_name: vflow\n") and "# ada/tiny" in card
    assert "16×16 RGB; 2 levels of 1, 1 steps" in card and "| steps | 3 |" in card


def test_a_private_upload_never_lands_in_a_public_place(hub: FakeHub, folder: Path) -> None:
    hub.repositories["ada/tiny"] = Repository()
    with pytest.raises(InputError, match=r"^ada/tiny: is public already; make it private"):
        push_to_hub(folder, "ada/tiny", private=True)
    assert not hub.repositories["ada/tiny"].files


def test_a_wrong_token_is_one_line(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(InputError, match=r"^ada/tiny: the hub does not let you write there \(401\); log in"):
        push_to_hub(folder, "ada/tiny")


def test_no_hub_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(InputError, match=r"^ada/tiny: not uploaded \(.+\); nothing was changed, try again$"):
        push_to_hub(folder, "ada/tiny")


@pytest.mark.parametrize("name", ["optimizer.pt", "pytorch_model.bin"])
def test_pickles_are_not_published(hub: FakeHub, folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\x80\x04")
    with pytest.raises(CheckpointError, match=f"holds {name}; pickled files are not published"):
        push_to_hub(folder, "ada/tiny")
    assert not hub.repositories


def test_what_does_not_load_is_not_published(hub: FakeHub, folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        push_to_hub(folder, "ada/tiny")
    with pytest.raises(CheckpointError, match="pickled weights are refused"):
        shutil.copy(weights, folder.parent / "model.bin")
        push_to_hub(folder.parent / "model.bin", "ada/tiny")
    with pytest.raises(ConfigError, match="--repo tiny: give user/name"):
        push_to_hub(folder, "tiny")
    assert not hub.repositories


def test_a_repository_of_pickles_is_refused_by_name(hub: FakeHub) -> None:
    hub.repositories["ada/old"] = Repository(files={"config.json": b"{}", "pytorch_model.bin": b"\x80\x04"})
    with pytest.raises(CheckpointError, match=r"^ada/old: holds pytorch_model.bin, but pickled weights are"):
        load("ada/old")
    hub.repositories["ada/none"] = Repository(files={"notes.txt": b"nothing"})
    with pytest.raises(CheckpointError, match=r"^ada/none: no config.json in it"):
        load("ada/none")
    assert hub.downloads == ["config.json"]


def test_weights_of_another_config_are_refused(hub: FakeHub, folder: Path) -> None:
    push_to_hub(folder, "ada/tiny")
    config = hub.repositories["ada/tiny"].files["config.json"]
    changed = config.replace(b'"hidden": [\n        4,', b'"hidden": [\n        8,')
    assert changed != config
    hub.repositories["ada/tiny"].files["config.json"] = changed
    with pytest.raises(CheckpointError, match=r"has shape .*; the weights belong to another config.json"):
        load("ada/tiny")


def test_push_wants_both_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", "--checkpoint", "shapes"]) == 2
    assert "error: --repo must be given" in capsys.readouterr().err
