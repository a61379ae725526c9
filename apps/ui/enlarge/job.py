"""Enlarged photos on the page: what a result shows beside the variants themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vflow.data import media
from vflow.errors import InputError, VflowError
from vflow.metrics.super_resolution import bicubic, deviation, luminance
from vflow.pipelines.video.export import heat
from vflow.registry import families
from vflow.tasks.enlarge.settings import SCALES

from ..shared import examples
from ..shared.context import AppContext
from ..shared.faces import PREVIEW, SETTINGS, Face, Job
from ..shared.html import reduced
from . import html

FAMILY = "super_resolution"
MAX_PIXELS = 16_000_000  # of an enlarged photo
CARD = 160  # pixels a side of the part of each variant that its card shows
OPENED = 320  # pixels a side of the part that the comparison opens on


@dataclass(frozen=True)
class Result:
    """Enlarged variants of one photo on disk. Small and copyable: pixels stay there.

    Attributes:
        name: of the photo, without suffix.
        size: (width, height) of the enlarged photo.
        count: variants drawn.
        top: grey levels at the brightest end of the map of differences.
        interval: the map shows half widths of 90% intervals; else standard deviations over variants.
        corner: (row, column) of the square where variants differ most.
        start: (row, column) of the middle of the part where they differ most from bicubic interpolation.
    """

    folder: Path
    name: str
    scale: int
    size: tuple[int, int]
    count: int
    top: float
    interval: bool
    corner: tuple[int, int]
    start: tuple[int, int]

    def variant(self, index: int) -> Path:
        return self.folder / f"s{index:03d}.png"

    @property
    def before(self) -> Path:
        return self.folder / "bicubic.png"

    @property
    def differences(self) -> Path:
        return self.folder / "differences.png"

    def cards(self) -> list[np.ndarray]:
        """The square where variants differ most, of each variant and of the map: uint8 (h, w, 3).

        Raises:
            InputError: the files were removed.
        """
        paths = [*map(self.variant, range(self.count)), *([self.differences] if self.count > 1 else [])]
        if not all(path.is_file() for path in paths):
            raise InputError("these images have been cleared from the server; enlarge again")
        row, column = self.corner
        pictures = (media.read_image(path).frames[0] for path in paths)
        return [picture[row : row + CARD, column : column + CARD] for picture in pictures]


class EnlargeFace(Face):
    """Variants beside bicubic interpolation, and the map of their differences."""

    tab, sample, verb = "enlarge", "variant", "Enlarge"
    downloads = ("All variants (zip)", "Differences (png)", "Settings (json)")
    outputs = ("enlarged.zip", SETTINGS)
    fits = picks = True
    limited_by = "scale"
    pictures = examples.SMALL_PHOTOS

    def check(self, job: Job) -> None:
        photo, scale = job.given.pixels, job.settings.scale
        pixels, most = photo.shape[0] * photo.shape[1], self.most_pixels(scale)
        if pixels > most:
            size = f"{photo.shape[1]}×{photo.shape[0]} pixels, {scale}× enlarged"
            fits = [f"choose {other}×" for other in SCALES if pixels <= self.most_pixels(other)]
            remedy = " or ".join([*fits, f"reduce it to {most:,} pixels"])
            raise InputError(f"{job.given.source}: {size} is too large; {remedy}")

    def most_pixels(self, setting: Any) -> int:
        return MAX_PIXELS // int(setting) ** 2

    def work(self, job: Job) -> int:
        return expected_work(job.given.pixels.shape, job.settings.scale, 1)

    def drawn(self, job: Job) -> str:
        height, width = job.results[0].image.shape[:2]
        return f"{super().drawn(job)} of {width}×{height}"

    def finish(self, job: Job, folder: Path) -> Result:
        """The result, with bicubic interpolation and the map of differences."""
        height, width = job.results[0].image.shape[:2]
        scale = job.settings.scale
        drawn = np.stack([luminance(variant.image) for variant in job.results])
        before = np.rint(bicubic(job.given.pixels, scale)).astype(np.uint8)
        config = job.model.config
        usual = job.settings.temperature == config.temperature  # for which intervals were fitted
        calibrated = config.interval is not None and usual and job.done > 1
        spread = config.interval * deviation(drawn) if calibrated else drawn.std(0)
        top = max(1.0, float(np.quantile(spread, 0.99)))
        row, column = _busiest(np.abs(drawn - luminance(before)).mean(0), OPENED)
        start = row + min(OPENED, height) // 2, column + min(OPENED, width) // 2
        corner = _busiest(spread, CARD)
        result = Result(folder, job.name, scale, (width, height), job.done, top, calibrated, corner, start)
        media.write_png(result.before, before)
        media.write_png(result.differences, heat(spread, top))
        return result

    def archived(self, result: Result) -> Sequence[Path]:
        return [result.variant(index) for index in range(result.count)]

    def files(self, result: Result) -> Sequence[Path]:
        return [result.folder / self.outputs[0], result.differences, result.folder / SETTINGS]

    def empty(self, text: str = "Add a photo, or press one of the examples.") -> str:
        return html.empty(text)

    def uploaded(self, path: str) -> str:
        photo = media.read_photo(path)[0].frames[:1]
        return html.uploaded(reduced(photo, PREVIEW)[0], Path(path).name, photo.shape[1:3])

    def shown(self, job: Job, result: Result) -> str:
        return html.results(result, 0)

    def picked(self, result: Result, index: int) -> str:
        return html.results(result, index)


FACE = EnlargeFace(families()[FAMILY])


def expected_work(shape: Sequence[int], scale: int, num_samples: int) -> int:
    """Cost of variants of a photo (H, W, …), in units of 64×64 pixels that they have."""
    return num_samples * math.ceil(shape[0] * shape[1] * scale**2 / 64**2)


def expected_seconds(
    app: AppContext, name: str | None, paths: Sequence[str] | None, scale: Any, num_samples: Any, **_: Any
) -> float | None:
    """Time that enlarging will take; None where nothing is known, or there is no photo."""
    size = photo_size(paths[0]) if paths and name and num_samples else None
    if size is None or math.prod(size) * int(scale) ** 2 > MAX_PIXELS:
        return None
    return app.jobs.expected(str(name), expected_work(size, int(scale), int(num_samples)))


@lru_cache(maxsize=16)
def photo_size(path: str) -> tuple[int, int] | None:
    """Height and width of a photo; None where it cannot be read."""
    try:
        height, width = media.read_photo(path)[0].frames.shape[1:3]
    except VflowError:
        return None
    return height, width


def _busiest(deviation: np.ndarray, side: int) -> tuple[int, int]:
    """Top-left corner of the square of float (H, W) with the largest mean."""
    height, width = deviation.shape
    means = cv2.blur(deviation, (min(side, width), min(side, height)), anchor=(0, 0))
    inner = means[: max(1, height - side + 1), : max(1, width - side + 1)]
    row, column = np.unravel_index(int(inner.argmax()), inner.shape)
    return int(row), int(column)
