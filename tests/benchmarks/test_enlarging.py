"""The benchmarks ``set5`` and ``set14`` on made pictures."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

import vflow
from tests.pipelines.super_resolution_models import make_super_resolution
from vflow import cli
from vflow.benchmarks import base, enlarging
from vflow.errors import CheckpointError, InputError
from vflow.pipelines.upscale import pixel_interval


@pytest.fixture
def model() -> nn.Module:
    made = make_super_resolution()
    made.config = made.config.model_copy(update={"interval": 2.0})
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pictures, one of them grey, and their reductions, with their digests."""
    random, digests = np.random.default_rng(0), {}
    for index, mode in enumerate(("RGB", "L")):
        small = random.integers(256, size=(12, 14, 3)[: 3 if mode == "RGB" else 2], dtype=np.uint8)
        large = Image.fromarray(small).resize((14 * 8, 12 * 8), Image.Resampling.BICUBIC)
        reduced = large.resize((28, 24), Image.Resampling.BICUBIC)
        for part, picture in (("HR", large), ("LR", reduced)):
            path = tmp_path / f"img_{index}_SRF_4_{part}.png"
            picture.save(path)
            digests[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(base, "digests", lambda name: digests)
    return tmp_path


def test_rows_of_variants_bicubic_and_published(
    folder: Path, model: nn.Module, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(enlarging, "load", lambda name: model if name == "enlarge" else vflow.load(name))
    assert cli.main(["benchmark", "set5", "--data", str(folder), "--splits", "2", "--json"]) == 0
    mean, one, bicubic, *published = json.loads(capsys.readouterr().out)["rows"]
    assert "±" in mean["psnr"] and float(mean["psnr"].split()[0]) > float(one["psnr"].split()[0])
    assert float(bicubic["psnr"].split()[0]) > 25 and bicubic["inside"] is None
    assert 0 <= float(mean["inside"].split()[0]) <= 1 and mean["width"]
    assert [row["psnr"] for row in published] == ["28.42", "30.08", "30.33"]


def test_luma_is_matlabs() -> None:
    white = np.full((1, 20, 20, 3), 255, np.uint8)
    assert enlarging.luma(white) == pytest.approx(235 * np.ones((1, 12, 12, 1)), abs=1e-3)
    assert enlarging.luma(0 * white) == pytest.approx(16 * np.ones((1, 12, 12, 1)))


def test_intervals_need_a_fitted_model_and_two_variants(model: nn.Module) -> None:
    with pytest.raises(CheckpointError):
        pixel_interval(make_super_resolution(), np.zeros((8, 8, 8, 3), np.uint8))
    with pytest.raises(InputError):
        pixel_interval(model, np.zeros((1, 8, 8, 3), np.uint8))
