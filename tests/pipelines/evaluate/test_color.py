"""Rows of a colouriser's evaluation."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vflow
from vflow.data import media
from vflow.data.datasets.photos import Photos
from vflow.errors import InputError
from vflow.metrics.color import Tints, judge, reduced, rmse
from vflow.models import Colorizer, ImageBatch
from vflow.pipelines.common import image_nats
from vflow.pipelines.evaluate.color import evaluate_color, tune_color
from vflow.pipelines.evaluate.report import Evaluation, Settings
from vflow.randomness import content_hash, normal

from .support import make_colorizer, quiet, write_photos


@pytest.fixture(scope="module")
def model() -> Colorizer:
    return make_colorizer()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def evaluation(model: Colorizer, root: Path) -> Evaluation:
    return evaluate_color(model, Settings(str(root), num_samples=3, num_importance_samples=2), quiet)


def _held(root: Path) -> list[np.ndarray]:
    return [media.read_image(path).frames[0] for path in media.list_media(root / "val")]


def test_errors_beside_yardsticks(model: Colorizer, root: Path, evaluation: Evaluation) -> None:
    figures: dict[str, Any] = dict(evaluation.figures)
    train = Photos(root / "train", size=8, split="train")
    tints = Tints.fit([reduced(train.original(index)) for index in range(len(train))], 8)
    verdicts = [judge(vflow.colorize(model, photo, num_samples=3), photo, tints) for photo in _held(root)]
    for name in ("best", "grey", "mean_tint", "tints"):
        expected = np.mean([getattr(verdict, name) for verdict in verdicts])
        assert figures[f"rmse_{name}"] == pytest.approx(expected, rel=1e-6)
    first = np.mean([verdict.first for verdict in verdicts])
    assert figures["rmse_first"] == pytest.approx(first, rel=1e-6)
    assert figures["first_grey"] == pytest.approx(first / figures["rmse_grey"] - 1, rel=1e-6)
    assert figures["best_tints"] == pytest.approx(figures["rmse_best"] / figures["rmse_tints"] - 1)
    assert figures["best_independent_grey"] != figures["best_grey"]
    assert 0 < figures["variance_beside_mean_color"] < 1
    assert len(figures["variance_by_level"]) == 4
    assert figures["variance_by_level"].min() > 0
    assert figures["variance_by_level"].sum() == pytest.approx(1)
    assert figures["colorfulness_ratio"] > 0
    assert figures["rmse_best_per_pixel"] <= figures["rmse_best"]
    assert 0 < figures["rmse_noise_per_pixel"] < figures["rmse_grey"]
    assert figures["spread_over_variants"] > 0
    assert figures["largest_lightness_change"] < 1
    ratio = figures["spread_within"] / figures["spread_within_real"]
    assert figures["spread_within_ratio"] == pytest.approx(ratio)
    assert figures["sampled_values"] == 3 * 3 * 2 * 8 * 8


def test_one_colouring_of_grey_photos_is_relative_to_nothing(model: Colorizer, tmp_path: Path) -> None:
    grey = np.arange(48, dtype=np.uint8)[:, None, None].repeat(40, 1).repeat(3, 2)
    media.write_png(tmp_path / "grey" / "one.png", 4 * grey)
    figures = evaluate_color(model, Settings(str(tmp_path / "grey"), num_samples=1), quiet).figures
    ratios = ("spread_within_ratio", "variance_beside_mean_color", "colorfulness_ratio")
    assert all(math.isnan(figures[name]) for name in ratios) and "best_grey" not in figures


def test_bits(model: Colorizer, root: Path, evaluation: Evaluation) -> None:
    examples = [Photos(root / "val", size=8, split="test").example(i, (0, 0)) for i in range(3)]
    images = torch.from_numpy(np.stack([e.image.transpose(2, 0, 1) for e in examples]).copy())
    given = torch.from_numpy(np.stack([e.condition for e in examples]))
    eps = torch.stack([normal((2, 8, 8), "score", 0, content_hash(x), 0, 0) for x in images.numpy()])
    with torch.no_grad():
        expected = model.bits_per_dim(model(ImageBatch(images, given, eps))).mean()
    assert evaluation.figures["bits_per_dim"] == pytest.approx(float(expected), rel=1e-6)
    assert evaluation.figures["bits_per_dim_k2"] == pytest.approx(float(expected), rel=1e-3)
    assert evaluation.figures["bits_per_dim_k2"] != evaluation.figures["bits_per_dim"]
    other = -image_nats(model, images, given, 1, 1).mean() / (math.log(2) * images[0].numel())
    assert other != pytest.approx(float(expected), rel=1e-9)


def test_photos_that_cannot_be_read_do_not_count(model: Colorizer, root: Path, tmp_path: Path) -> None:
    settings = Settings(str(tmp_path / "all"), num_samples=2, num_importance_samples=1)
    (tmp_path / "all").mkdir()
    for name in ("00.png", "02.png"):
        (tmp_path / "all" / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match="none of 2 photos can be used"):
        evaluate_color(model, settings, quiet)
    (tmp_path / "one").mkdir()
    for folder in ("all", "one"):
        (tmp_path / folder / "01.png").write_bytes((root / "val" / "24.png").read_bytes())
    told: list[tuple[int, int]] = []
    found = evaluate_color(model, settings, lambda stage: lambda *done: told.append(done))
    assert found.protocol["photos"] == 1 and found.protocol["photos_available"] == 3
    assert told[-1] == (1, 1)
    alone = evaluate_color(model, replace(settings, data=str(tmp_path / "one")), quiet).figures
    assert found.figures["bits_per_dim"] == alone["bits_per_dim"]
    assert found.figures["rmse_best"] == alone["rmse_best"]


def test_sheets(root: Path, evaluation: Evaluation) -> None:
    assert set(evaluation.sheets) == {"best", "worst", "random"}
    assert evaluation.sheets["best"].shape == (3 * 130 - 2, 2 * 130 - 2, 3)
    assert evaluation.protocol["photos"] == 3


def test_without_training_photos_some_yardsticks_are_missing(model: Colorizer, root: Path) -> None:
    settings = Settings(str(root / "train"), limit=1, num_samples=2, num_importance_samples=1)
    figures = evaluate_color(model, settings, quiet).figures
    assert figures["rmse_grey"] > 0
    assert figures["rmse_tints"] is figures["rmse_mean_tint"] is None
    assert "best_tints" not in figures


def test_temperature_by_the_best_of_validation_photos(model: Colorizer, root: Path) -> None:
    found = tune_color(model, Settings(str(root), num_samples=2), quiet)
    held = Photos(root / "train", size=8, split="validation")
    assert len(held) == 2
    best = []
    for photo in map(held.original, range(2)):
        images = vflow.colorize(model, photo, num_samples=2, temperature=0.4)
        best.append(rmse(np.stack([reduced(image) for image in images]), reduced(photo)).min())
    assert found[0.4] == pytest.approx(-np.mean(best))
