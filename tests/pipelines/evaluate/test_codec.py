"""Figures of codecs: bytes on disk beside other lossless formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.compression.support import clip_codec, photo_codec, smooth
from vflow.compression.codec import compress_frames
from vflow.data import media
from vflow.data.stills import still_bytes
from vflow.errors import ConfigError
from vflow.pipelines.evaluate import codec
from vflow.pipelines.evaluate.report import Settings

for package in ("constriction", "imagecodecs", "oxipng"):
    pytest.importorskip(package)


def stage(name: str) -> Any:
    return lambda done, total: None


def test_photos(tmp_path: Path) -> None:
    photos = [smooth(20, 30), smooth(9, 8, 1)]
    for number, photo in enumerate(photos):
        media.write_png(tmp_path / f"{number}.png", photo)
    model = photo_codec()
    figures = codec.evaluate_codec(model, Settings(data=str(tmp_path)), stage).figures
    assert figures["files"] == figures["decoded_exactly"] == 2
    assert figures["bytes"] == sum(len(compress_frames(model, photo).data) for photo in photos)
    assert figures["raw_bytes"] == sum(photo.size for photo in photos)
    assert figures["bits_per_dim"] == pytest.approx(8 * figures["bytes"] / figures["raw_bytes"])
    assert figures["size_over_information"] > 1 and figures["size_over_information_large"] is None
    for name in ("png", "webp", "jxl"):
        size = sum(still_bytes(photo, name) for photo in photos)
        assert figures[f"bytes_over_{name}"] == pytest.approx(figures["bytes"] / size)


def test_files_that_do_not_decode_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media.write_png(tmp_path / "a.png", smooth(8, 8))
    wrong = codec.decompress_frames(photo_codec(), compress_frames(photo_codec(), smooth(8, 8, 1)).data)
    monkeypatch.setattr(codec, "decompress_frames", lambda model, data: wrong)
    assert (
        codec.evaluate_codec(photo_codec(), Settings(data=str(tmp_path)), stage).figures["decoded_exactly"]
        == 0
    )


def test_clips(tmp_path: Path) -> None:
    clip = np.stack([smooth(16, 18, seed) for seed in range(6)])
    media.write_npz(tmp_path / "a.npz", frames=clip)
    model = clip_codec()
    found = codec.evaluate_codec(model, Settings(data=str(tmp_path)), stage)
    whole, first = (len(compress_frames(model, frames).data) for frames in (clip, clip[:3]))
    assert found.figures["bits_per_dim_after"] == pytest.approx(8 * (whole - first) / clip[3:].size)
    assert found.figures["after_over_x264"] > 0 and found.protocol["windows"] == 1


def test_sizes_of_stills_are_those_of_files(tmp_path: Path) -> None:
    photo = smooth(40, 30)
    Image.fromarray(photo).save(tmp_path / "a.webp", lossless=True, quality=80, method=6)
    assert still_bytes(photo, "webp") == (tmp_path / "a.webp").stat().st_size
    flat = np.zeros((64, 64, 3), np.uint8)
    assert all(still_bytes(flat, name) < 200 for name in ("png", "webp", "jxl"))
    with pytest.raises(ValueError, match="no such format"):
        still_bytes(flat, "bmp")


def test_validation_needs_the_training_data(tmp_path: Path) -> None:
    media.write_png(tmp_path / "a.png", smooth(8, 8))
    with pytest.raises(ConfigError, match="--train"):
        codec.evaluate_codec(photo_codec(), Settings(data=str(tmp_path), split="validation"), stage)
