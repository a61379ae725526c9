"""The benchmark of recognition: its judge, and the share of the way from grey to real."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from scripts.benchmarks import recognition as benchmark
from scripts.benchmarks.recognition import Labelled, read, recognition, train_judge, varied
from tests.pipelines.colorizers import make_colorizer
from vflow.data import media
from vflow.metrics.digits import predict_labels

COLORS = {"apple": (200, 40, 40), "leaf": (40, 160, 40)}


def pictures(count: int, random: np.random.Generator) -> Labelled:
    """Red and green squares of noise."""
    labels = np.arange(count) % 2
    colors = np.array(list(COLORS.values()))[labels][:, None, None]
    noise = random.normal(0, 20, (count, 32, 32, 1))
    return Labelled(np.clip(colors + noise, 0, 255).astype(np.uint8), labels)


def test_pictures_are_read_by_class(tmp_path: Path) -> None:
    made = pictures(40, np.random.default_rng(0))
    for split in ("train", "test"):
        for number, (image, label) in enumerate(zip(*made, strict=True)):
            folder = tmp_path / split / list(COLORS)[label]
            folder.mkdir(parents=True, exist_ok=True)
            media.write_png(folder / f"{number:03}.png", image)
    data = read(tmp_path, "test", 10)
    assert data.images.shape == (10, 32, 32, 3) and sorted(data.labels.tolist()) == [0] * 5 + [1] * 5
    assert (data.images[data.labels == 0][..., 0].mean((1, 2)) > 120).all()  # apples are red
    assert len(read(tmp_path, "train").labels) + len(read(tmp_path, "validation").labels) == 40


def test_a_judge_learns_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    short = {"batch_size": 16, "max_steps": 60, "warmup_steps": 5}
    monkeypatch.setattr(benchmark, "TRAINING", benchmark.TRAINING.model_copy(update=short))
    random = np.random.default_rng(1)
    judge = train_judge(pictures(256, random), seconds=1000.0)
    held = pictures(64, random)
    assert (predict_labels(judge, held.images) == held.labels).mean() > 0.9


def test_varied_pictures_keep_their_size_and_range() -> None:
    images = pictures(6, np.random.default_rng(2)).images
    changed = varied(images, np.random.default_rng(0))
    assert changed.shape == images.shape and changed.dtype == np.uint8 and (changed != images).any()


class Reddish(nn.Module):
    """Names a picture by whether it is red: logits (B, 2)."""

    def forward(self, images: Tensor) -> Tensor:
        red = (images[..., 0].float() - images[..., 1].float()).mean((1, 2))
        return torch.stack([red, 10 - red], 1)


def test_recovered_is_a_share_of_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pictures(8, np.random.default_rng(3))
    monkeypatch.setattr(benchmark.vflow, "load", lambda _: make_colorizer())

    def half(_: nn.Module, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        grey = np.stack([np.repeat(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)[..., None], 3, -1) for x in images])
        return np.where((np.arange(len(images)) < 4)[:, None, None, None], images, grey), grey

    monkeypatch.setattr(benchmark, "coloured", half)
    found = recognition(Reddish(), "colorizer", data)
    assert (found["accuracy_grey"], found["accuracy_first"], found["accuracy_real"]) == (0.5, 0.75, 1.0)
    assert found["recovered"] == 0.5


def test_a_picture_is_coloured_at_its_size() -> None:
    image = pictures(2, np.random.default_rng(4)).images
    first, grey = benchmark.coloured(make_colorizer(), image)
    assert first.shape == grey.shape == image.shape
    assert np.ptp(grey.astype(int), axis=-1).max() <= 2 < np.ptp(first.astype(int), axis=-1).max()


def test_the_standard_error_of_a_share_is_its_spread_over_sets_of_pictures() -> None:
    random = np.random.default_rng(3)
    grey, first, real = (random.random((4000, 500)) < p for p in (0.4, 0.6, 0.7))
    found = [
        benchmark.share(f.astype(float) - g, r.astype(float) - g)
        for f, g, r in zip(first, grey, real, strict=True)
    ]
    spread = np.std([one["recovered"] for one in found])
    assert np.median([one["standard_error"] for one in found]) == pytest.approx(spread, rel=0.1)
    assert np.isnan(list(benchmark.share(np.ones(3), np.zeros(3)).values())).all()
