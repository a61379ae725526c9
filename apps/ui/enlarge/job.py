"""From a photo to enlarged ones and their files: the path of the tab and of the endpoint."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vflow.data import media
from vflow.errors import InputError, counted
from vflow.metrics.super_resolution import bicubic, luminance
from vflow.pipelines.batch.records import UpscaleRecord
from vflow.pipelines.upscale import SCALES, UpscaleSettings, Variant, draw_variants, enlarge_alpha
from vflow.pipelines.video.export import heat

from ..shared import checks
from ..shared.context import AppContext, settings_text
from ..shared.storage import free_name
from ..shared.turns import work_time

FAMILY = "super_resolution"
MAX_VARIANTS, MAX_PHOTOS = 8, 20
MAX_PIXELS = 16_000_000  # of an enlarged photo
CARD = 160  # pixels a side of the part of each variant that its card shows


@dataclass(frozen=True)
class Request:
    """A checked request for variants of one photo."""

    checkpoint: str | None
    path: str
    settings: UpscaleSettings

    @classmethod
    def checked(
        cls,
        checkpoint: str | None,
        paths: Sequence[str],
        *,
        scale: Any,
        num_samples: float,
        temperature: float,
        seed: float,
    ) -> list[Request]:
        """Check values as they come from a form or an endpoint; a request for each photo.

        Raises:
            InputError: a value is missing or out of range; the message names it and the range.
        """
        if not paths:
            raise InputError("no photo given; add a photo, or choose an example")
        if len(paths) > MAX_PHOTOS:
            raise InputError(f"{len(paths)} photos; give at most {MAX_PHOTOS} at once")
        factor = checks.whole_number("scale", scale, min(SCALES), max(SCALES))
        if factor not in SCALES:
            raise InputError("scale: give 2 or 4")
        settings = UpscaleSettings(
            scale=factor,
            num_samples=checks.whole_number("variants", num_samples, 1, MAX_VARIANTS),
            temperature=checks.single_temperature(temperature),
            seed=checks.seed_number(seed),
        )
        return [cls(checkpoint, path, settings) for path in paths]


def expected_work(shape: Sequence[int], scale: int, num_samples: int) -> int:
    """Cost of variants of a photo (H, W, …), in units of 64×64 pixels that they have."""
    return num_samples * math.ceil(shape[0] * shape[1] * scale**2 / 64**2)


@dataclass
class Job:
    """A request under way: the photo, uint8 (H, W, 3), its opacity if it has any, and variants so far.

    ``seconds``: of drawing them.
    """

    request: Request
    model: Any
    photo: np.ndarray
    alpha: np.ndarray | None
    notes: tuple[str, ...]
    variants: list[Variant] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def begin(cls, app: AppContext, request: Request) -> Job:
        """Load the model and read the photo.

        Raises:
            CheckpointError, InputError: with the message to show.
        """
        model = app.models.load(request.checkpoint, FAMILY)
        clip, alpha = media.read_photo(request.path)
        photo, scale = clip.frames[0], request.settings.scale
        pixels = photo.shape[0] * photo.shape[1]
        if pixels * scale**2 > MAX_PIXELS:
            size = f"{photo.shape[1]}×{photo.shape[0]} pixels, {scale}× enlarged"
            fits = [f"choose {other}×" for other in SCALES if pixels * other**2 <= MAX_PIXELS]
            remedy = " or ".join([*fits, f"reduce it to {MAX_PIXELS // scale**2:,} pixels"])
            raise InputError(f"{Path(request.path).name}: {size} is too large; {remedy}")
        return cls(request, model, photo, alpha, clip.notes)

    @property
    def work(self) -> int:
        """Cost of a variant, in units of 64×64 pixels that it has."""
        return expected_work(self.photo.shape, self.request.settings.scale, 1)

    @property
    def done(self) -> int:
        return len(self.variants)

    @property
    def total(self) -> int:
        return self.request.settings.num_samples

    def advance(self, should_stop: Callable[[], bool]) -> Iterator[None]:
        """Draw variant by variant; ``variants`` grows before each step is yielded."""
        began = work_time()
        for variant in draw_variants(self.model, self.photo, self.request.settings, should_stop=should_stop):
            self.variants.append(variant)
            self.seconds = work_time() - began
            yield

    def save(self, app: AppContext, folder: Path) -> Result:
        """Write variants, bicubic interpolation, the map of differences and the settings into ``folder``."""
        request, settings = self.request, self.request.settings
        height, width = self.variants[0].image.shape[:2]
        luma = np.stack([luminance(variant.image) for variant in self.variants])
        deviation = luma.std(0)
        top = max(1.0, float(np.quantile(deviation, 0.99)))
        result = Result(
            folder,
            Path(request.path).stem.lstrip(".") or "photo",
            settings.scale,
            (width, height),
            self.done,
            top,
            _busiest(deviation, CARD),
        )
        for index, variant in enumerate(self.variants):
            media.write_png(result.variant(index), self._with_alpha(variant.image))
        media.write_png(result.before, np.rint(bicubic(self.photo, settings.scale)).astype(np.uint8))
        media.write_png(result.differences, heat(deviation, top))
        record = UpscaleRecord(
            **app.models.record(str(request.checkpoint)),
            scale=settings.scale,
            num_samples=self.done,
            temperature=settings.temperature,
            seed=settings.seed,
        )
        result.settings.write_text(record.to_json(), encoding="utf-8")
        return result

    def _with_alpha(self, image: np.ndarray) -> np.ndarray:
        if self.alpha is None:
            return image
        alpha = enlarge_alpha(self.alpha, self.request.settings.scale)
        return np.concatenate([image, alpha[..., None]], -1)

    def summary(self) -> str:
        """One line on the variants drawn."""
        drawn = counted(self.done, "variant")
        if self.done < self.total:
            drawn = f"Stopped after {self.done} of {counted(self.total, 'variant')}"
        height, width = self.variants[0].image.shape[:2]
        settings = self.request.settings
        made = settings_text(self.request.checkpoint, temperature=settings.temperature, seed=settings.seed)
        return f"{drawn} of {width}×{height} in {self.seconds:.1f} s · {made}"

    def remarks(self) -> list[str]:
        """Further remarks for people."""
        redrawn = sum(variant.counts.redrawn for variant in self.variants)
        again = [f"{counted(redrawn, 'image')} redrawn because of non-finite values."]
        return [*self.notes, *(again if redrawn else [])]


@dataclass(frozen=True)
class Result:
    """Enlarged variants of one photo on disk. Small and copyable: pixels stay there.

    Attributes:
        name: of the photo, without suffix.
        size: (width, height) of the enlarged photo.
        count: variants drawn.
        top: grey levels at the brightest end of the map of differences.
        corner: (row, column) of the square where variants differ most.
    """

    folder: Path
    name: str
    scale: int
    size: tuple[int, int]
    count: int
    top: float
    corner: tuple[int, int]

    def variant(self, index: int) -> Path:
        return self.folder / f"s{index:03d}.png"

    @property
    def before(self) -> Path:
        return self.folder / "bicubic.png"

    @property
    def differences(self) -> Path:
        return self.folder / "differences.png"

    @property
    def settings(self) -> Path:
        return self.folder / "settings.json"

    @property
    def archive(self) -> Path:
        return self.folder / "enlarged.zip"

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


def write_archive(path: Path, results: Sequence[Result]) -> None:
    """Zip of all variants: a folder for each photo, as ``vflow upscale`` writes them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        names: set[str] = set()
        for result in results:
            name = free_name(result.name, names)
            for index in range(result.count):
                file.write(result.variant(index), f"{name}/s{index:03d}.png")


def _busiest(deviation: np.ndarray, side: int) -> tuple[int, int]:
    """Top-left corner of the square of float (H, W) with the largest mean."""
    height, width = deviation.shape
    means = cv2.blur(deviation, (min(side, width), min(side, height)), anchor=(0, 0))
    inner = means[: max(1, height - side + 1), : max(1, width - side + 1)]
    row, column = np.unravel_index(int(inner.argmax()), inner.shape)
    return int(row), int(column)
