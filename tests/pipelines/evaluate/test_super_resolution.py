"""Rows of an evaluation of super-resolution."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import vflow
from tests.pipelines.super_resolution_models import make_super_resolution
from vflow.data import media
from vflow.data.datasets.photos import average_blocks
from vflow.errors import InputError
from vflow.metrics.super_resolution import bicubic, gradient_similarity, luminance
from vflow.metrics.video import psnr
from vflow.models import SuperResolution
from vflow.pipelines.evaluate.report import Evaluation, Settings
from vflow.pipelines.evaluate.super_resolution import evaluate_super_resolution, tune_super_resolution

from .support import quiet, write_photos


@pytest.fixture(scope="module")
def model() -> SuperResolution:
    return make_super_resolution()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def evaluation(model: SuperResolution, root: Path) -> Evaluation:
    return evaluate_super_resolution(model, Settings(str(root), num_samples=2, temperature=0.5), quiet)


def psnr_of(luma: np.ndarray, target: np.ndarray) -> float:
    return float(psnr(luma[..., None], target[..., None]))


def test_figures_are_those_of_the_drawn_photos(
    model: SuperResolution, root: Path, evaluation: Evaluation
) -> None:
    figures = evaluation.figures
    rows = []
    for path in media.list_media(root / "val"):
        photo = media.read_image(path).frames[0]
        photo = photo[: photo.shape[0] // 4 * 4, : photo.shape[1] // 4 * 4]
        small, target = average_blocks(photo, 4), luminance(photo)
        images = vflow.upscale(model, small, num_samples=2, temperature=0.5)
        best = max(gradient_similarity(luminance(image), target) for image in images)
        rows.append(
            (psnr_of(luminance(images.mean(0)), target), psnr_of(luminance(bicubic(small, 4)), target), best)
        )
    mean, simple, best = np.mean(rows, axis=0)
    assert figures["psnr_of_mean"] == pytest.approx(mean) and figures["psnr_bicubic"] == pytest.approx(simple)
    assert figures["psnr_gain"] == pytest.approx(mean - simple) and figures["gms_best"] == pytest.approx(best)
    assert figures["largest_change"] == 0 and figures["round_trip_data"] < 0.1
    bits = sorted([figures["bits_per_dim_x2"], figures["bits_per_dim_x4"]])
    assert bits[0] < figures["bits_per_dim"] < bits[1]
    assert evaluation.protocol["photos"] == len(rows) and evaluation.sheets["enlarged"].ndim == 3


def test_photos_that_say_nothing(model: SuperResolution, root: Path, tmp_path: Path) -> None:
    """Flat ones count as 60 dB; of bicubic interpolation that loses nothing no multiple is told."""
    settings = Settings(str(tmp_path), num_samples=1)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    media.write_png(tmp_path / "narrow.png", np.zeros((3, 60, 3), np.uint8))
    for run in (evaluate_super_resolution, tune_super_resolution):
        with pytest.raises(InputError, match="no photo there can be read and is at least 4×4 pixels"):
            run(model, replace(settings, train=str(tmp_path)), quiet)
    media.write_png(tmp_path / "flat.png", np.full((8, 9, 3), 100, np.uint8))
    found = evaluate_super_resolution(model, settings, quiet)
    assert found.protocol["photos"] == 1 and found.figures["psnr_bicubic"] == 60
    assert found.to_json()["gms_loss_ratio"] is None
    (tmp_path / "photo.png").write_bytes((root / "val" / "24.png").read_bytes())
    found = evaluate_super_resolution(model, settings, quiet)
    assert found.protocol["photos"] == 2
    assert all(np.isfinite(found.figures[name]) for name in ("psnr_gain", "psnr_bicubic", "gms_loss_ratio"))


def test_temperatures_are_scored_on_validation_photos(model: SuperResolution, root: Path) -> None:
    found = tune_super_resolution(model, Settings(str(root), num_samples=1), quiet)
    assert len(found) > 3 and all(0 < score < 1 for score in found.values())


def test_blur_and_misplaced_noise_lose_gradient_similarity() -> None:
    random = np.random.default_rng(0)
    photo = cv2.GaussianBlur(random.uniform(0, 255, (64, 64)).astype(np.float32), (0, 0), 1.0)
    photo = 128 + 3 * (photo - photo.mean())
    blurred = cv2.GaussianBlur(photo, (0, 0), 2.0)
    sharper = 0.5 * (photo + blurred)
    scores = [gradient_similarity(x, photo) for x in (photo, sharper, blurred)]
    assert scores[0] == pytest.approx(1) and scores[0] > scores[1] > scores[2] + 0.1
    assert gradient_similarity(photo.T.copy(), photo) < 0.8


def test_bicubic_keeps_what_is_even() -> None:
    photo = np.full((4, 6, 3), 100, np.uint8)
    assert np.allclose(bicubic(photo, 4), 100) and bicubic(photo, 4).shape == (16, 24, 3)
