"""What is typical of validation clips: put together, stored beside the weights, read back, refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import vflow
from vflow.catalog import STATISTICS
from vflow.checkpoint import checkpoint_hash, find_checkpoints, load, save_checkpoint
from vflow.data.media import write_npz
from vflow.errors import CheckpointError
from vflow.models import VideoModel
from vflow.pipelines.video import surprisal
from vflow.pipelines.video.stats import ClipStatistics, load_clip_statistics, save_clip_statistics

from ..conftest import make_model


@pytest.fixture
def folder(tmp_path: Path, one_model: VideoModel) -> Path:
    save_checkpoint(tmp_path / "tiny", one_model, config=one_model.config)
    return tmp_path / "tiny"


@pytest.fixture
def statistics() -> ClipStatistics:
    maps = np.random.default_rng(0).random((16, 16), np.float32)
    return ClipStatistics(maps, np.linspace(1, 2, 11, dtype=np.float32), np.float32([-1, 0, 3]), "3 clips")


def test_gathered_over_frames_and_clips(one_model: VideoModel, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 2, 2)
    maps[:, 0] = np.nan
    per_dim = maps.mean((2, 3), dtype=np.float64)
    clips = [
        SimpleNamespace(maps=maps[i], per_frame=per_dim[i], frame_swap=SimpleNamespace(saved=saved))
        for i, saved in ((1, 5.0), (0, -2.0))
    ]
    monkeypatch.setattr(surprisal, "surprisal", lambda model, clip: clip)
    found = surprisal.measure_clips(one_model, clips, "two clips")  # type: ignore[arg-type]
    assert np.array_equal(found.mean_map, maps[:, 1:].mean((0, 1)))
    assert found.frames.tolist() == [5.5, 9.5, 17.5, 21.5]
    assert found.frame_swaps.tolist() == [-2, 5]
    assert found.mean == 13.5 and found.about == "two clips"
    assert found.frame_quantile(0.5) == 13.5 and found.frame_swap_quantile(1.0) == 5


def test_round_trip(folder: Path, statistics: ClipStatistics, one_model: VideoModel) -> None:
    before = checkpoint_hash(folder)
    assert load_clip_statistics(folder, one_model) is None
    path = save_clip_statistics(folder, statistics)
    assert path == folder / STATISTICS and checkpoint_hash(folder) == before
    back = vflow.load_clip_statistics(folder, load(folder))
    assert back is not None and back.about == "3 clips"
    for name in ("mean_map", "frames", "frame_swaps"):
        assert np.array_equal(getattr(back, name), getattr(statistics, name))


def test_other_weights_are_refused(folder: Path, statistics: ClipStatistics, one_model: VideoModel) -> None:
    old = save_clip_statistics(folder, statistics).read_bytes()
    changed = load(folder)
    next(changed.parameters()).add_(1)
    save_checkpoint(folder, changed, config=one_model.config)
    (folder / STATISTICS).write_bytes(old)
    with pytest.raises(CheckpointError, match=r"made with other weights; delete it, or run: python scripts/"):
        load_clip_statistics(folder, changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("frames"), "holds other tensors than it should"),
        (lambda t: t.update(more=torch.zeros(1)), "holds other tensors than it should"),
        (lambda t: t.update(mean_map=torch.zeros(16, 8)), r"'mean_map' is float32 \(16, 8\)"),
        (lambda t: t.update(frames=torch.zeros(0)), r"'frames' is float32 \(0,\)"),
        (lambda t: t.update(frame_swaps=t["frame_swaps"].double()), "'frame_swaps' is float64"),
        (lambda t: t["frames"].fill_(torch.nan), "NaN"),
        (lambda t: t["frames"].add_(1), "do not match their SHA-256"),
    ],
)
def test_files_that_do_not_belong_are_refused(
    folder: Path, statistics: ClipStatistics, one_model: VideoModel, change: Callable, message: str
) -> None:
    path = save_clip_statistics(folder, statistics)
    tensors = load_file(path)
    change(tensors)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    save_file(tensors, path, metadata)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_clip_statistics(folder, one_model)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def script(monkeypatch: pytest.MonkeyPatch, *flags: str) -> int:
    path = Path(__file__).resolve().parents[3] / "scripts" / "clip_statistics.py"
    spec = spec_from_file_location("clip_statistics_script", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["clip_statistics.py", *flags])
    return int(module.main())


def test_the_script_stores_figures_of_validation_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_model(glow={"height": 64, "width": 64, "depth": [1, 1], "hidden": [4, 4]})
    save_checkpoint(tmp_path / "tiny", model, config=model.config)
    flags = ("--checkpoint", str(tmp_path / "tiny"), "--count", "3", "--data")
    assert script(monkeypatch, *flags, "shapes") == 0
    assert "3 validation clips of shapes, 5 frames each" in capsys.readouterr().out
    found = load_clip_statistics(tmp_path / "tiny", model)
    assert found is not None and len(found.frames) == 3 * 4 and len(found.frame_swaps) == 3
    assert found.mean_map.sum() / (64 * 64 * 3) == pytest.approx(found.mean, rel=1e-4)
    assert script(monkeypatch, *flags, "nowhere") == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: --data nowhere: ")


def test_the_script_takes_a_folder_that_was_trained_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        frames = np.random.default_rng(number).integers(0, 256, (5, 16, 16, 3), np.uint8)
        write_npz(tmp_path / "clips" / f"{number}.npz", frames=frames)
    assert script(monkeypatch, "--checkpoint", str(folder), "--data", str(tmp_path / "clips")) == 0
    assert "1 validation clips of clips, 5 frames each" in capsys.readouterr().out


def test_shipped_video_models_have_figures() -> None:
    for name in {"push", "shapes", "shapes-guided"} & set(find_checkpoints()):
        found = load_clip_statistics(name, load(name, allow_hub=False))
        assert found is not None and "validation clips" in found.about
