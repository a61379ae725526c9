"""``vflow generate`` of lossless files and of scores: what the commands give, with a manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vflow import cli
from vflow.checkpoint import load, save_checkpoint
from vflow.data import media
from vflow.pipelines import compress
from vflow.pipelines.video.surprisal import surprisal

from ..compression.support import clip_codec, photo_codec, smooth
from ..pipelines.conftest import FRAMES, make_model

pytest.importorskip("constriction")


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a photo codec and a clip codec, which are those that ship."""
    names = {"picture": "photo", "clip": "clip"}
    for name, model in (("photo", photo_codec()), ("clip", clip_codec())):
        save_checkpoint(tmp_path / "shipped" / name, model, config=model.config)
    folders = {kind: str(tmp_path / "shipped" / name) for kind, name in names.items()}
    monkeypatch.setattr(compress, "DEFAULTS", folders)
    monkeypatch.setattr(compress.Codecs, "_shipped", lambda self: list(folders.values()))
    return tmp_path / "shipped"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two photos, a clip, and a file that is none."""
    media.write_png(tmp_path / "in" / "hill.png", smooth(20, 30))
    media.write_png(tmp_path / "in" / "below" / "lake.png", smooth(9, 8, 1))
    frames = np.stack([smooth(16, 16, seed) for seed in range(3)])
    media.write_npz(tmp_path / "in" / "film.npz", frames=frames)
    (tmp_path / "in" / "torn.png").write_bytes(b"no png")
    return tmp_path / "in"


def vflow(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def entries(folder: Path) -> dict[str, dict[str, Any]]:
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    return {entry["item"]: entry for entry in map(json.loads, lines)}


def test_files_are_coded_by_what_they_hold_and_come_back(
    shipped: Path, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small, back = tmp_path / "small", tmp_path / "back"
    assert vflow("generate", "compress", "--input", files, "--output", small) == 1
    found = entries(small)
    assert {name for name, entry in found.items() if entry["status"] == "failed"} == {"torn"}
    assert "torn.png: " in found["torn"]["error"]
    hill = found["hill"]
    assert list(hill["outputs"]) == ["hill/hill.vflow"]
    assert hill["bytes"] == (small / "hill" / "hill.vflow").stat().st_size
    assert hill["bits_per_dim"] == pytest.approx(8 * hill["bytes"] / (20 * 30 * 3))
    assert hill["checkpoint"] == str(shipped / "photo")
    assert found["film"]["checkpoint"] == str(shipped / "clip")
    assert vflow("generate", "decompress", "--input", small, "--output", back) == 0
    assert np.array_equal(media.read_image(back / "hill" / "hill.png").frames[0], smooth(20, 30))
    assert np.array_equal(media.read_image(back / "lake" / "lake.png").frames[0], smooth(9, 8, 1))
    assert np.load(back / "film" / "film.npz")["frames"].shape == (3, 16, 16, 3)
    times = {path: path.stat().st_mtime_ns for path in small.rglob("*.vflow")}
    capsys.readouterr()
    assert vflow("generate", "compress", "--input", files, "--output", small) == 1
    assert times == {path: path.stat().st_mtime_ns for path in small.rglob("*.vflow")}


def test_a_damaged_file_and_one_of_another_codec_fail_alone(
    shipped: Path, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small, back, photo = tmp_path / "small", tmp_path / "back", shipped / "photo"
    vflow("generate", "compress", "--input", files, "--output", small)
    torn = small / "lake" / "lake.vflow"
    torn.write_bytes(torn.read_bytes()[:-9])
    words = ["generate", "decompress", "--checkpoint", photo, "--input", small, "--output", back]
    assert vflow(*words, "--device", "cpu") == 1
    assert "note: --device does nothing for vflow generate decompress" in capsys.readouterr().err
    found = entries(back)
    assert [found[name]["status"] for name in ("film", "hill", "lake")] == ["failed", "done", "failed"]
    assert found["film"]["error"].startswith("film.vflow: coded with checkpoint ")
    assert found["lake"]["error"].startswith("lake.vflow: cut short")


def test_a_model_that_does_not_code_ends_the_run(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_model(**FRAMES)
    save_checkpoint(tmp_path / "video", model, config=model.config)
    words = ["--checkpoint", tmp_path / "video", "--input", files, "--output", tmp_path / "out"]
    assert vflow("generate", "compress", *words) == 3
    assert "does not compress" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_clips_are_scored_as_in_python(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_model(**FRAMES)
    save_checkpoint(tmp_path / "video", model, config=model.config)
    frames = np.random.default_rng(0).integers(0, 256, (2, 5, 16, 16, 3), np.uint8)
    for name, each in zip("ab", frames, strict=True):
        media.write_npz(tmp_path / "in" / f"{name}.npz", frames=each)
    words = ["--checkpoint", tmp_path / "video", "--input", tmp_path / "in", "--output", tmp_path / "out"]
    assert vflow("generate", "score", *words, "--num-frames", 4, "--shard", "2/2") == 0
    assert "b: no figures of validation clips beside the checkpoint" in capsys.readouterr().err
    written = json.loads((tmp_path / "out" / "b" / "score.json").read_text())
    expected = surprisal(load(tmp_path / "video"), frames[1], num_frames=4)
    assert written == json.loads(json.dumps(expected.to_json()))
    arrays = np.load(tmp_path / "out" / "b" / "score.npz")
    assert np.array_equal(arrays["maps"], expected.maps, equal_nan=True)
    (entry,) = map(json.loads, (tmp_path / "out" / "manifest-2-of-2.jsonl").read_text().splitlines())
    assert entry["bits_per_dim"] == written["bits_per_dim"]
    assert {name.rpartition(".")[2] for name in entry["outputs"]} == {"json", "npz", "png", "mp4"}
