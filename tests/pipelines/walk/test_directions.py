"""Principal directions: found, stored beside the weights, and checked like them."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vflow.catalog import DIRECTIONS
from vflow.checkpoint import checkpoint_hash, load, save_checkpoint
from vflow.data.media import write_png
from vflow.errors import CheckpointError, ConfigError
from vflow.models import VideoModel
from vflow.pipelines.walk import directions as module
from vflow.pipelines.walk.directions import (
    Directions,
    load_directions,
    principal_directions,
    save_directions,
)

from ..conftest import make_model

SHAPES = ((6, 8, 8), (24, 4, 4))


@pytest.fixture
def folder(tmp_path: Path, one_model: VideoModel) -> Path:
    assert one_model.latent_shapes == SHAPES
    save_checkpoint(tmp_path / "tiny", one_model, config=one_model.config)
    return tmp_path / "tiny"


@pytest.fixture
def found() -> Directions:
    return principal_directions([torch.randn(20, *shape) for shape in SHAPES], about="20 draws")


def test_directions_of_a_known_spread_are_found() -> None:
    torch.manual_seed(1)
    axes = torch.linalg.qr(torch.randn(64, 3))[0].T
    spread = torch.tensor([9.0, 5.0, 3.0])
    x = 7 + 0.1 * torch.randn(500, 64) + (torch.randn(500, 3) * spread) @ axes
    found = principal_directions([x.view(500, 4, 4, 4)], count=3).at(0, 1)
    assert (found.vectors @ axes.T).diagonal().abs().min() > 0.97
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.variance.sqrt(), spread, rtol=0.15, atol=0)
    assert found.total == pytest.approx(float(x.var(0).sum()), rel=1e-3)
    assert 0.98 < sum(found.explained) < 1


def test_one_odd_example_is_no_direction() -> None:
    """It would be the first of plain principal components."""
    torch.manual_seed(1)
    shared = torch.zeros(64)
    shared[5] = 1
    x = torch.randn(200, 64) + 3 * torch.randn(200, 1) * shared
    x[0, 9] = 300
    found = principal_directions([x.view(200, 64, 1, 1)]).at(0, 1)
    assert found.vectors.abs()[:, 5].max() > 0.9
    plain = torch.linalg.svd(x - x.mean(0), full_matrices=False)[2][0]
    assert plain.abs()[9] > 0.99
    assert found.vectors[found.vectors.abs()[:, 5].argmax(), 5] > 0  # the sign is settled, too


def test_the_same_noise_gives_the_same_directions_and_draws_nothing() -> None:
    levels = [torch.randn(10, *shape) for shape in SHAPES]
    state = torch.random.get_rng_state()
    one, other = principal_directions(levels), principal_directions(levels)
    assert torch.equal(state, torch.random.get_rng_state())
    assert one.levels.keys() == other.levels.keys() == {"0", "1", "all"}
    assert all(torch.equal(one.levels[k].vectors, other.levels[k].vectors) for k in one.levels)


def test_there_are_no_more_directions_than_examples_numbers_or_room(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = [torch.randn(4, *SHAPES[0]), torch.randn(4, 2, 1, 1)]
    counts = {k: len(p.vectors) for k, p in principal_directions(levels).levels.items()}
    assert counts == {"0": 3, "1": 2, "all": 3}
    monkeypatch.setattr(module, "MAX_BYTES", 3 * 2 * 384)
    assert [len(p.vectors) for p in principal_directions(levels).levels.values()] == [1, 2]


def test_what_is_certain_has_no_directions() -> None:
    found = principal_directions([1e-3 * torch.randn(9, 6, 8, 8), torch.randn(9, 1, 1, 1)])
    assert list(found.levels) == ["1", "all"]
    with pytest.raises(ConfigError, match=r"^no directions for level 0; there are some for 1, all$"):
        found.at(0, 2)


def test_levels_count_from_either_end(found: Directions) -> None:
    assert found.at(-1, 2) is found.at(1, 2) is found.levels["1"]
    assert found.at(None, 2) is found.levels["all"]
    with pytest.raises(ConfigError, match=r"^level must be between -2 and 1, got 2$"):
        found.at(2, 2)


def test_round_trip(folder: Path, found: Directions, one_model: VideoModel) -> None:
    before = checkpoint_hash(folder)
    assert load_directions(folder, one_model) is None
    path = save_directions(folder, found)
    assert path == folder / DIRECTIONS
    assert path.stat().st_size < 1 << 20
    assert checkpoint_hash(folder) == before
    back = load_directions(folder, load(folder))
    assert back is not None and back.about == "20 draws" and list(back.levels) == ["0", "1", "all"]
    for key, principal in found.levels.items():
        torch.testing.assert_close(back.levels[key].vectors, principal.vectors, rtol=0, atol=1e-3)
        torch.testing.assert_close(back.levels[key].vectors.norm(dim=1), torch.ones(8))
        assert torch.equal(back.levels[key].variance, principal.variance)
        assert back.levels[key].total == pytest.approx(principal.total)


def test_new_weights_leave_old_directions_behind(
    folder: Path, found: Directions, one_model: VideoModel
) -> None:
    path = save_directions(folder, found)
    old = path.read_bytes()
    with torch.no_grad():
        changed = load(folder)
        next(changed.parameters()).add_(1)
    save_checkpoint(folder, changed, config=one_model.config)
    assert not path.exists()
    path.write_bytes(old)
    with pytest.raises(CheckpointError, match="made with other weights; delete it, or run"):
        load_directions(folder, changed)


def edited(path: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(path)
    change(tensors)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    save_file(tensors, path, metadata)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("0.variance"), r"tensor '0\.variance' is missing"),
        (lambda t: t.update(more=torch.zeros(1)), r"tensor 'more' is unknown"),
        (lambda t: t.update({"2.vectors": torch.zeros(1, 3)}), r"tensor '2\.vectors' is unknown"),
        (lambda t: t.update({"1.vectors": t["1.vectors"].float()}), r"tensor '1\.vectors' is .'float32'"),
        (lambda t: t.update({"1.vectors": t["1.vectors"][:, 1:].contiguous()}), r"'1\.vectors' is .*383"),
        (lambda t: t.update({"all.variance": torch.ones(7)}), r"tensor 'all\.variance' is .*7"),
        (lambda t: t.update({"0.vectors": torch.zeros(9, 384).half()}), r"'0\.vectors' is .*9, 384"),
        (lambda t: t["0.vectors"].fill_(torch.nan), "NaN"),
    ],
)
def test_files_that_do_not_belong_are_refused(
    folder: Path, found: Directions, one_model: VideoModel, change: Any, message: str
) -> None:
    path = save_directions(folder, found)
    edited(path, change)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_directions(folder, one_model)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [b"", b"junk", struct.pack("<Q", 1 << 60), struct.pack("<Q", 2) + b"{}", json.dumps({}).encode()],
)
def test_damaged_files_are_refused(folder: Path, one_model: VideoModel, raw: bytes) -> None:
    (folder / DIRECTIONS).write_bytes(raw)
    with pytest.raises(CheckpointError, match=rf"^{folder / DIRECTIONS}: "):
        load_directions(folder, one_model)


def test_the_script_stores_directions_of_a_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    glow = {"height": 64, "width": 64, "depth": [1, 1], "hidden": [4, 4]}
    model = make_model(glow=glow)
    save_checkpoint(tmp_path / "tiny", model, config=model.config)
    path = Path(__file__).resolve().parents[3] / "scripts" / "directions.py"
    spec = spec_from_file_location("directions_script", path)
    assert spec is not None and spec.loader is not None
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    flags = ["--checkpoint", str(tmp_path / "tiny"), "--config", "shapes-guided", "--count", "18"]
    monkeypatch.setattr(sys, "argv", ["directions.py", *flags])
    assert script.main() == 0
    assert "18 of 18 examples" in capsys.readouterr().out
    found = load_directions(tmp_path / "tiny", model)
    assert found is not None and found.about == "18 training examples of shapes"
    assert (tmp_path / "tiny" / DIRECTIONS).stat().st_size < 1 << 20
    assert {key: len(p.vectors) for key, p in found.levels.items()} == {"0": 8, "1": 8, "all": 8}
    monkeypatch.setattr(sys, "argv", ["directions.py", *flags, "--data", str(tmp_path / "clips")])
    assert script.main() == ConfigError.exit_code
    assert capsys.readouterr().err.startswith(f"error: --data {tmp_path / 'clips'}: no such folder; give")
    for number in range(3):
        clip = np.random.default_rng(number).integers(0, 256, (4, 64, 64, 3), np.uint8)
        (tmp_path / "clips" / str(number)).mkdir(parents=True)
        for t, frame in enumerate(clip):
            write_png(tmp_path / "clips" / str(number) / f"{t}.png", frame)
    assert script.main() == 0
    found = load_directions(tmp_path / "tiny", model)
    assert found is not None and found.about == "4 training examples of video-folder", "not the 18 asked for"
