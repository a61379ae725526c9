"""Kodak's 24 photographs, compressed without loss."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from vflow.benchmarks.base import Benchmark, Row, checked
from vflow.checkpoint import load
from vflow.data.media import read_image
from vflow.data.stills import STILL_FORMATS, still_bytes
from vflow.errors import InputError
from vflow.pipelines.evaluate.codec import code

OURS = "`codec-photo`"


def run(folder: Path, _seeds: range) -> Iterator[Row]:
    """A row for each format; every file of vflow's is decoded and compared."""
    model = load("codec-photo")
    photos = [read_image(path).frames[0] for path in checked(folder, "kodak")]
    coded = []
    for photo in photos:
        coded.append(code(model, photo))
        if not coded[-1].exact:
            raise InputError(f"{folder}: a photo was not decoded exactly; please report it")
    sizes = {OURS: [len(one.file.data) for one in coded]}
    seconds = {OURS: [sum(one.encoding for one in coded), sum(one.decoding for one in coded)]}
    for name in STILL_FORMATS:
        began = time.process_time()
        sizes[name] = [still_bytes(photo, name) for photo in photos]
        seconds[name] = [time.process_time() - began]
    values = sum(photo.size for photo in photos)
    megapixels = values / 3e6
    for name, found in sizes.items():
        bits = [8 * size / photo.size for size, photo in zip(found, photos, strict=True)]
        per_megapixel = [f"{part / megapixels:.2f}" for part in seconds[name]]
        yield {
            "format": name,
            "bits": f"{8 * sum(found) / values:.3f}",
            "least": f"{min(bits):.3f}",
            "most": f"{max(bits):.3f}",
            "smaller": None
            if name == OURS
            else sum(own < other for own, other in zip(sizes[OURS], found, strict=True)),
            "encoding": per_megapixel[0],
            "decoding": per_megapixel[1] if name == OURS else None,
        }


BENCHMARK = Benchmark(
    "Kodak's 24 photographs, lossless",
    "kodak",
    run,
    {
        "format": "format",
        "bits": "bits per value",
        "least": "least",
        "most": "most",
        "smaller": "photos that `codec-photo` makes smaller",
        "encoding": "encoding, s a megapixel",
        "decoding": "decoding",
    },
    "Of whole files, headers included, over all 8-bit values, and of the smallest and the largest photo; "
    "processor seconds on one core. " + "; ".join(f"{name}: {how}" for name, how in STILL_FORMATS.items()),
)
