"""Enlarged photos: exact means, no seams, noise by name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vflow
from tests.pipelines.colorizers import make_colorizer, picture
from tests.pipelines.super_resolution_models import make_super_resolution
from vflow import cli
from vflow.checkpoint import save_checkpoint
from vflow.data import media
from vflow.data.datasets.photos import average_blocks
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.models import SuperResolution
from vflow.pipelines import upscale as pipeline
from vflow.pipelines.upscale import (
    Doubling,
    block_means,
    largest_change,
    noise_window,
    round_to_means,
    turn,
)
from vflow.tasks.enlarge.settings import EnlargeSettings

PHOTO = Path(__file__).resolve().parents[2] / "apps/examples/photo-camera.png"


@pytest.fixture(scope="module")
def model() -> SuperResolution:
    return make_super_resolution()


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """Odd sides, and parts that are black and white: there samples leave 0..255."""
    image = picture(21, 34)
    image[:5], image[-4:, :9] = 255, 0
    return image


@pytest.mark.parametrize("scale", [2, 4])
def test_block_means_are_the_photo(model: SuperResolution, photo: np.ndarray, scale: int) -> None:
    images = vflow.upscale(model, photo, scale=scale, num_samples=2, temperature=2.0)
    assert images.shape == (2, 21 * scale, 34 * scale, 3) and images.dtype == np.uint8
    assert largest_change(photo, list(images), scale) == 0
    sums = images.reshape(2, 21, scale, 34, scale, 3).astype(int).sum((2, 4))
    assert np.array_equal(sums, np.broadcast_to(scale**2 * photo.astype(int), sums.shape))
    assert (images[0] != images[1]).any()


@pytest.mark.parametrize("scale", [2, 4])
def test_means_are_estimated_from_a_photo_that_was_reduced_bicubically(
    model: SuperResolution, scale: int
) -> None:
    large = media.read_image(PHOTO).frames[0]
    height, width = (side // scale for side in large.shape[:2])
    large = large[: height * scale, : width * scale]
    small = np.asarray(Image.fromarray(large).resize((width, height), Image.Resampling.BICUBIC))
    truth, estimate = (x.astype(int) for x in (average_blocks(large, scale), block_means(small, scale)))
    assert np.square(estimate - truth).mean() < 0.9 * np.square(small - truth).mean()
    images = vflow.upscale(model, small, scale=scale, num_samples=1, reduction="bicubic")
    assert largest_change(block_means(small, scale), list(images), scale) == 0
    assert block_means(small[:1, :1], scale) == pytest.approx(small[:1, :1], abs=1)


def test_a_seam_cannot_be_seen(
    model: SuperResolution, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiles of 8 pixels and one tile give the same picture, but for rounding."""
    doubling = Doubling(model, EnlargeSettings())
    whole = doubling.draw(photo, (0, "photo", 0, 2), {}).image.astype(int)
    monkeypatch.setattr(pipeline, "TILE", 8)
    tiled = doubling.draw(photo, (0, "photo", 0, 2), {}).image.astype(int)
    difference = np.abs(whole - tiled)
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("sample", range(8))
def test_a_sample_is_drawn_from_the_photo_in_its_own_orientation(
    model: SuperResolution, photo: np.ndarray, sample: int
) -> None:
    turned = turn(photo, sample)
    assert np.array_equal(turn(turned, sample, back=True), photo)
    images = vflow.upscale(model, photo, num_samples=8, temperature=0)
    alone = vflow.upscale(model, turned, num_samples=1, temperature=0)
    assert np.array_equal(images[sample], turn(alone[0], sample, back=True))
    others = [image for k, image in enumerate(images) if k != sample]
    assert all((other != images[sample]).any() for other in others)


def test_noise_belongs_to_positions() -> None:
    wide = noise_window(2, slice(0, 130), slice(0, 70), (0, "a"))
    assert torch.equal(noise_window(2, slice(60, 100), slice(63, 66), (0, "a")), wide[:, 60:100, 63:66])
    assert abs(wide.std() - 1) < 0.05
    assert not torch.equal(wide, noise_window(2, slice(0, 130), slice(0, 70), (0, "b")))


def test_more_samples_and_a_larger_scale_leave_the_others_as_they_are(
    model: SuperResolution, photo: np.ndarray
) -> None:
    few = vflow.upscale(model, photo, scale=2, num_samples=1, seed=3)
    many = vflow.upscale(model, photo, scale=2, num_samples=2, seed=3)
    assert np.array_equal(few[0], many[0])
    twice = vflow.upscale(model, photo, scale=4, num_samples=1, seed=3)
    assert np.array_equal(average_blocks(twice[0], 2), few[0])


def test_features_are_computed_once_for_all_variants_in_an_orientation(
    photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_super_resolution()
    features, calls = model.features, []
    monkeypatch.setattr(model, "features", lambda y: calls.append(y) or features(y))
    ten = vflow.upscale(model, photo, scale=2, num_samples=10)
    assert len(calls) == 8
    monkeypatch.setattr(pipeline, "KEPT_TILES", 0)
    assert np.array_equal(vflow.upscale(model, photo, scale=2, num_samples=10), ten)
    assert len(calls) == 18


def test_rounding_keeps_means_whatever_the_values() -> None:
    means = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    means[0, 0, 0, :2] = torch.tensor([0, 255])
    details = 300 * torch.randn(2, 3, 5, 7, 4)
    details -= details.mean(-1, keepdim=True)
    x = (means[..., None] + details).unflatten(-1, (2, 2)).permute(0, 1, 2, 4, 3, 5).reshape(2, 3, 10, 14)
    whole = round_to_means(x, means)
    sums = whole.reshape(2, 3, 5, 2, 7, 2).to(torch.int32).sum((3, 5))
    assert torch.equal(sums, 4 * means.to(torch.int32))
    inside = (x > 0) & (x < 255)
    blocks = inside.reshape(2, 3, 5, 2, 7, 2).all(5).all(3)
    assert not blocks.all()
    close = (whole - x).abs().reshape(2, 3, 5, 2, 7, 2).amax((3, 5))
    assert (close[blocks] < 1).all()


def test_bad_settings_and_models_are_refused(model: SuperResolution, photo: np.ndarray) -> None:
    with pytest.raises(ConfigError, match=r"^scale: "):
        vflow.upscale(model, photo, scale=3)
    with pytest.raises(CheckpointError, match="does not enlarge photos"):
        vflow.upscale(make_colorizer(), photo)
    for size, scale, message in (
        (
            (4000, 2000),
            4,
            "128 megapixels once enlarged 4 times; the limit is 64; choose scale 2 ",
        ),
        ((5000, 4000), 2, "80 megapixels once enlarged 2 times; the limit is 64; "),
        ((20_000, 2), 4, "80,000 pixels a side once enlarged 4 times; the limit is 65,535; choose scale 2 "),
    ):
        with pytest.raises(InputError, match=rf"^photo: {re.escape(message)}[^;]*reduce the photo$"):
            vflow.upscale(model, np.zeros((*size, 3), np.uint8), scale=scale)


def test_the_command_names_photos_that_are_too_large(
    model: SuperResolution, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "tiny", model, config=model.config)
    Image.new("RGB", (3840, 2160)).save(tmp_path / "wide.png")
    places = {"checkpoint": "tiny", "output": "out", "input": "wide.png"}
    arguments = [text for flag, name in places.items() for text in (f"--{flag}", str(tmp_path / name))]
    assert cli.main(["upscale", *arguments, "--scale", "4"]) == 1
    error = (
        "error: wide.png: 133 megapixels once enlarged 4 times; the limit is 64; choose scale 2 (--scale 2) "
    )
    assert f"{error}or reduce the photo" in capsys.readouterr().err


def test_values_that_stay_infinite_are_an_error(photo: np.ndarray) -> None:
    broken = make_super_resolution()
    with torch.no_grad():
        broken.mean.bias.fill_(torch.inf)
    with pytest.raises(InputError, match="not finite after 8 redraws"):
        vflow.upscale(broken, photo[:4, :4], scale=2, num_samples=1)


def test_the_command_writes_a_folder_per_photo(
    model: SuperResolution, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "tiny", model, config=model.config)
    for name, channels in (("a", 3), ("b", 4)):
        Image.fromarray(picture(6, 8, channels=channels)).save(tmp_path / f"{name}.png")
    arguments = ["upscale", "--checkpoint", tmp_path / "tiny", "--output", tmp_path / "out", "--scale", 2]
    arguments += ["--input", tmp_path / "a.png", tmp_path / "b.png", "--num-samples", 2]
    assert cli.main([*map(str, arguments)]) == 0  # at the temperature that the checkpoint suggests
    files = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.png"))
    assert files == ["a/s000.png", "a/s001.png", "b/s000.png", "b/s001.png"]
    with Image.open(tmp_path / "out/a/s001.png") as image:
        drawn = vflow.upscale(model, picture(6, 8), scale=2, num_samples=2, temperature=0.5)
        assert np.array_equal(np.asarray(image), drawn[1])
        assert np.array_equal(drawn, vflow.upscale(model, picture(6, 8), scale=2, num_samples=2))
    with Image.open(tmp_path / "out/b/s000.png") as image:
        assert image.size == (16, 12) and image.mode == "RGBA"
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert record["scale"] == 2 and record["temperature"] == 0.5
