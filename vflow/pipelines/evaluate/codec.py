"""Evaluation of codecs: bytes on disk beside those of the usual lossless formats."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vflow.compression.codec import Compressed, check_codec, compress_frames, decompress_frames
from vflow.config import PhotoCodecConfig
from vflow.data.datasets.crops import WINDOW, ClipCrops, PhotoCrops
from vflow.data.lossless import CODECS, bits_after, coded_bits
from vflow.data.stills import STILL_FORMATS, still_bytes
from vflow.errors import InputError
from vflow.pipelines.common import evenly_spaced
from vflow.pipelines.evaluate.data import Places, locate, readable_photos
from vflow.pipelines.evaluate.report import Evaluation, Settings, Stage, mean_rows

USUAL_PHOTOS, USUAL_WINDOWS = 128, 64
GIVEN = 3
"""First frames of a window that figures of later frames leave out."""
LARGE = 100_000
"""Bytes from which a file counts as large."""


def evaluate_codec(model: Any, settings: Settings, stage: Stage) -> Evaluation:
    """Sizes of photos or of windows of clips, each decoded again and compared.

    Raises:
        ConfigError, InputError: no such data, or a package is missing.
    """
    check_codec(model)
    places = locate(settings, model.config.kind)
    path = places.folder(settings.split)
    if isinstance(model.config, PhotoCodecConfig):
        return _photos(model, PhotoCrops(path, crop=1, split=settings.split), settings, stage)
    return _clips(model, ClipCrops(path, crop=1, split=settings.split), settings, stage, places)


class Coded(NamedTuple):
    """A file, and seconds of processor time that it took."""

    file: Compressed
    encoding: float
    decoding: float
    exact: bool


def code(model: Any, pixels: np.ndarray) -> Coded:
    """``pixels`` coded, decoded and compared."""
    began = time.process_time()
    file = compress_frames(model, pixels)
    coded = time.process_time()
    found = decompress_frames(model, file.data).frames
    done = time.process_time()
    same = np.array_equal(found, pixels if pixels.ndim == 4 else pixels[None])
    return Coded(file, coded - began, done - coded, same)


def totals(coded: Sequence[Coded]) -> dict[str, Any]:
    """Figures of all files together; bits are those on disk, headers included."""
    files = [one.file for one in coded]
    values = sum(file.values for file in files)
    size, information = sum(len(file.data) for file in files), sum(file.information for file in files)
    large = [8 * len(file.data) / file.information for file in files if len(file.data) >= LARGE]
    return {
        "files": len(files),
        "decoded_exactly": sum(one.exact for one in coded),
        "bytes": size,
        "raw_bytes": values,
        "bits_per_dim": 8 * size / values,
        "model_bits_per_dim": information / values,
        "size_over_information": 8 * size / information,
        "size_over_information_large": max(large, default=None),
        "encoded_pixels_per_s": values / 3 / sum(one.encoding for one in coded),
        "decoded_pixels_per_s": values / 3 / sum(one.decoding for one in coded),
    }


def _photos(model: Any, photos: PhotoCrops, settings: Settings, stage: Stage) -> Evaluation:
    coded, sizes = list[Coded](), dict.fromkeys(STILL_FORMATS, 0)
    chosen = evenly_spaced(len(photos), settings.count(len(photos), USUAL_PHOTOS))
    progress = stage("photos")
    for done, photo in enumerate(readable_photos(photos, chosen), 1):
        coded.append(code(model, photo))
        for name in sizes:
            sizes[name] += still_bytes(photo, name)
        progress(done, len(chosen))
    if not coded:
        raise InputError(f"{photos.path}: none of its photos can be read")
    figures = totals(coded)
    for name, size in sizes.items():
        figures[f"bits_per_dim_{name}"] = 8 * size / figures["raw_bytes"]
        figures[f"bytes_over_{name}"] = figures["bytes"] / size
    protocol = _protocol(settings, len(photos)) | {
        "photos": len(coded), "large": f"{LARGE:,} bytes and more: the largest ratio", **STILL_FORMATS
    }  # fmt: skip
    return Evaluation(figures, protocol)


def _clips(model: Any, clips: ClipCrops, settings: Settings, stage: Stage, places: Places) -> Evaluation:
    coded, rows = list[Coded](), list[dict[str, float]]()
    chosen = evenly_spaced(len(clips.windows), settings.count(len(clips.windows), USUAL_WINDOWS))
    progress = stage("clips")
    for done, index in enumerate(chosen, 1):
        if (frames := clips.window(index)) is not None:
            coded.append(code(model, frames))
            rows.append(_later_frames(frames, coded[-1].file))
        progress(done, len(chosen))
    if not rows:
        raise InputError(f"{clips.path}: none of its clips can be read")
    figures = totals(coded)
    figures |= {name: float(value) for name, value in mean_rows(rows).items()}
    figures["after_over_x264"] = figures["bits_per_dim_after"] / figures["bits_per_dim_after_x264"]
    protocol = _protocol(settings, len(clips.windows)) | {
        "windows": len(rows), "frames": WINDOW, "after": f"the first {GIVEN} frames: all less those alone",
        "x264": "RGB, qp 0, veryslow", "ffv1": "level 3", "source": places.name,
        "large": f"{LARGE:,} bytes and more: the largest ratio",
    }  # fmt: skip
    return Evaluation(figures, protocol)


def _later_frames(frames: np.ndarray, whole: Compressed) -> dict[str, float]:
    """bits/dim after the first three frames, and of whole windows in other codecs."""
    row = {"bits_per_dim_after": whole.after(GIVEN).bits / frames[GIVEN:].size}
    for codec in CODECS:
        row[f"bits_per_dim_after_{codec}"] = bits_after(frames, GIVEN, codec)
        row[f"bits_per_dim_{codec}"] = coded_bits(frames, codec) / frames.size
    return row


def _protocol(settings: Settings, available: int) -> dict[str, Any]:
    return {
        "data": settings.data,
        "split": settings.split,
        "available": available,
        "bits_per_dim": "of files on disk, headers included, over all values",
        "pixels_per_s": "of processor time",
    }
