"""Lossless files of the shipped codecs, models of integers, and photos enlarged by the shipped model."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

import vflow
from scripts.acceptance.models import GIVEN, data, evaluated, grasp_windows, loaded, push_clips, size
from scripts.acceptance.registry import Result, measure
from scripts.acceptance.report import stored
from vflow.data.lossless import bits_after
from vflow.data.media import list_media, read_image
from vflow.data.stills import STILL_FORMATS
from vflow.devices import one_thread
from vflow.errors import VflowError
from vflow.pipelines.evaluate.codec import LARGE, Coded, code
from vflow.pipelines.evaluate.report import Settings

PHOTOS, CLIPS, HOSTILE = 200, 200, 50
SIDES, TIMED = (256, 512, 1024), 3
FLOW_CLIPS = 12  # windows of grasp coded by a video flow: 20 seconds each


def _photos() -> Iterator[np.ndarray]:
    """All photos of photos/val, and enough of photos/train to make 200."""
    files = list_media(data("photos", "val"))
    for path in [*files, *list_media(data("photos", "train"))[: PHOTOS - len(files)]]:
        yield read_image(path).frames[0]


def _clips() -> Iterator[np.ndarray]:
    """Windows of grasp/test, and enough clips of push/test to make 200."""
    windows = grasp_windows()
    yield from windows
    yield from push_clips("test")[: CLIPS - len(windows)]


def damaged(file: bytes, count: int) -> Iterator[bytes]:
    """Versions of a file, each with a byte changed, the end cut off, or bytes appended."""
    random = np.random.default_rng(0)
    for number in range(count):
        at = int(random.integers(len(file)))
        if number % 3 == 0:
            yield file[:at] + bytes([file[at] ^ int(random.integers(1, 256))]) + file[at + 1 :]
        elif number % 3 == 1:
            yield file[:at]
        else:
            yield file + bytes(random.integers(256, size=1 + number, dtype=np.uint8))


def _refused(model: Any, file: bytes) -> bool:
    try:
        vflow.decompress(model, file)
    except VflowError as error:
        return "\n" not in str(error)
    return False


@measure("M")
@one_thread()
def files() -> Result:
    """codec-photo on the photos of photos/val at their own size and 92 of photos/train; codec-clip on windows
    of 20 frames of grasp/test and clips of push/test. Every file is decoded and compared. The decoder is also
    given files with a byte changed, truncated files and files with bytes appended."""
    models = {name: loaded(name) for name in ("codec-photo", "codec-clip")}
    coded: dict[str, list[Coded]] = {
        "photos": [code(models["codec-photo"], photo) for photo in _photos()],
        "clips": [code(models["codec-clip"], clip) for clip in _clips()],
    }
    every = [*coded["photos"], *coded["clips"]]
    ratios = [8 * len(one.file.data) / one.file.information for one in every if len(one.file.data) >= LARGE]
    values = sum(one.file.values for one in coded["photos"]) / 3
    refusals = [
        _refused(models[name], file)
        for name, kind in (("codec-photo", "photos"), ("codec-clip", "clips"))
        for file in damaged(coded[kind][0].file.data, HOSTILE // 2)
    ]
    return Result(
        {
            **{kind: sum(one.exact for one in some) for kind, some in coded.items()},
            "refused": sum(refusals),
            "overhead": max(ratios, default=float("nan")),
            "encoding": values / sum(one.encoding for one in coded["photos"]),
            "decoding": values / sum(one.decoding for one in coded["photos"]),
        },
        note=f"{len(ratios)} files of {LARGE:,} bytes and more; seconds of processor time",
    )


@measure("M")
def photo_sizes() -> Result:
    """All photos of photos/val at their own size; the other formats in the same run, with these
    settings."""
    settings = Settings(data=str(data("photos", "val")), limit=0)
    return Result(evaluated(loaded("codec-photo"), settings), note="; ".join(STILL_FORMATS.values()))


@measure("M")
@one_thread()
def codec_speed() -> Result:
    """codec-photo on a photo of photos/val, extended to each size by mirroring at its edges. Processor time
    of one thread, medians of three."""
    model = loaded("codec-photo")
    photo, found = next(_photos()), dict[int, tuple[float, float]]()
    for side in SIDES:
        grown = np.pad(photo, ((0, side), (0, side), (0, 0)), "symmetric")[:side, :side]
        runs = [code(model, grown) for _ in range(TIMED)]
        found[side] = (
            statistics.median(run.encoding for run in runs),
            statistics.median(run.decoding for run in runs),
        )
    small, large = found[SIDES[0]], found[SIDES[-1]]
    scale = (SIDES[-1] / SIDES[0]) ** 2
    note = "; ".join(f"{side}×{side}: {times[0]:.2f} and {times[1]:.2f} s" for side, times in found.items())
    growth = max(big / (scale * little) for big, little in zip(large, small, strict=True))
    return Result({"encoding": large[0], "decoding": large[1], "growth": growth}, note=note)


@measure("M")
@one_thread()
def flow_files() -> Result:
    """Evenly spaced windows of 20 frames, coded and decoded by the shipped video flow of a real camera. Bits
    are those on disk for all 20 frames minus those for the first 3; the same for lossless x264 (RGB,
    veryslow)."""
    windows = grasp_windows()
    windows = windows[:: len(windows) // FLOW_CLIPS][:FLOW_CLIPS]
    model = loaded("grasp")
    coded = [code(model, clip) for clip in windows]
    later = [one.file.after(GIVEN) for one in coded]
    ours = [size.bits / clip[GIVEN:].size for size, clip in zip(later, windows, strict=True)]
    theirs = [bits_after(clip, GIVEN, "x264") for clip in windows]
    pixels = sum(one.file.values for one in coded) / 3
    return Result(
        {
            "grasp": float(np.sum(ours) / np.sum(theirs)),
            "exact": sum(one.exact for one in coded),
            "overhead": max(size.bits / size.information for size in later),
            "encoding": pixels / sum(one.encoding for one in coded),
            "decoding": pixels / sum(one.decoding for one in coded),
        },
        note="seconds of processor time",
    )


@measure("M")
def digits() -> Result:
    """Test digits given their class, from docs/results/digit-models.json. All but the shipped flow were
    trained briefly; docs/RESULTS.md lists the training lengths and samples per second with these figures."""
    table = stored("digit-models")
    values = {row["model"].partition(" ")[0]: row["bits_per_dim"] for row in table["rows"]}
    return Result(values, table["note"])


@measure("N")
def enlarged() -> Result:
    """All photos of photos/val, reduced by averaging blocks of 4×4; suggested temperature."""
    model = loaded("enlarge")
    settings = Settings(data=str(data("photos", "val")), limit=0, temperature=model.config.temperature)
    found = evaluated(model, settings) | {"size": size("enlarge")}
    return Result(found, note=f"bits/dim of details {found['bits_per_dim']:.3f}")


@measure("N")
@one_thread()
def enlarged_speed() -> Result:
    """Processor time of one thread with the photo loaded; median of three runs after a warm-up run."""
    model = loaded("enlarge")
    photo = cv2.resize(next(_photos()), (256, 256), interpolation=cv2.INTER_AREA)
    times = []
    for _ in range(4):
        began = time.process_time()
        vflow.upscale(model, photo, scale=4, num_samples=4, temperature=model.config.temperature)
        times.append(time.process_time() - began)
    return Result({"seconds": statistics.median(times[1:])})
