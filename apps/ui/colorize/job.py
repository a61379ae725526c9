"""From photos to coloured ones and their files: the path of the tab and of the endpoint.

Sampled planes a and b lie on disk; pictures of any strength and size are joined from them on demand.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vflow.config import ColorizerConfig
from vflow.data import media
from vflow.errors import InputError
from vflow.pipelines.batch.inputs import Item
from vflow.pipelines.batch.records import record_class
from vflow.pipelines.color.colorize import join, join_rows
from vflow.pipelines.color.photo import Photo, color_config, lab_planes, on_white, to_bytes
from vflow.pipelines.color.task import Still
from vflow.registry import families
from vflow.tasks.colorize.settings import ColorSettings

from ..shared.faces import SETTINGS, Face, Job
from ..shared.html import reduced
from ..shared.storage import free_name, still_there

FAMILY = "colorizer"
PREVIEW, CARD = 768, 240  # pixels of the longer side
GREY_TOLERANCE = 12  # largest difference of a grey pixel's channels: scans and JPEG are not quite neutral
GONE = "these colours have been cleared from the server; colourise again"


def check_is_photo(path: str | Path) -> None:
    """Refuse a video, which the command line takes.

    Raises:
        InputError: with the message to show.
    """
    if media.is_video(path):
        name = Path(path).name
        raise InputError(f"{name}: a video, and only photos are coloured here; use vflow colorize for videos")


@dataclass(frozen=True)
class ColorizedPhoto:
    """Variants of one photo. Small and copyable: pixels and planes stay on disk.

    Attributes:
        folder: holds ``ab.npy``, float32 (N, 2, h, w), reduced copies of the photo, and the upload itself.
        source: the upload's name.
        checkpoint: name of the model.
        settings: of the draw; the strength is chosen later.
        count: variants drawn, fewer than in ``settings`` after Stop.
        parent: those from which "more like this" came here.
    """

    folder: Path
    source: str
    checkpoint: str
    settings: ColorSettings
    count: int
    parent: ColorizedPhoto | None = None

    def original(self) -> np.ndarray:
        """The photo as it was uploaded, reduced: uint8 (h, w, 3)."""
        return self._photo(PREVIEW).pixels

    def before(self) -> np.ndarray:
        """The photo as the model sees it, in grey, reduced: uint8 (h, w, 3)."""
        return in_grey(self.original())

    def after(self, index: int, strength: float) -> np.ndarray:
        """One variant, as large as ``before``: uint8 (h, w, 3)."""
        return join(self._photo(PREVIEW), self._planes([index]), strength)[0]

    def cards(self, strength: float) -> np.ndarray:
        """All variants, small: uint8 (N, h, w, 3)."""
        return join(self._photo(CARD), self._planes(range(self.count)), strength)

    def full_size(self) -> np.ndarray:
        """The upload, for ``color_rows`` to colour: uint8 (H, W, 3), or 4 channels with its opacity."""
        photo = _upload(self.folder / "upload" / self.source)
        return np.dstack([photo.pixels] if photo.alpha is None else [photo.pixels, photo.alpha])

    def color_rows(self, image: np.ndarray, index: int, strength: float) -> Iterator[float]:
        """Give ``image``, from ``full_size``, the colours of one variant; yields the share of rows done."""
        photo = _upload(self.folder / "upload" / self.source)
        yield from join_rows(photo, self._planes([index]), strength, image[None, ..., :3])

    def save_settings(self, strength: float) -> Path:
        """Settings file that makes the same pictures again.

        Raises:
            InputError: the folder was cleared.
        """
        path = self.folder / SETTINGS
        with still_there(GONE):
            record = record_class(ColorSettings).model_validate_json(path.read_text(encoding="utf-8"))
            record = record.model_copy(update={"strength": strength})
            record = record.with_command(FACE.command.name, [self.source])
            path.write_text(record.to_json(), encoding="utf-8")
        return path

    def _planes(self, indices: Sequence[int]) -> torch.Tensor:
        with still_there(GONE):
            planes = np.load(self.folder / "ab.npy")
        if not all(0 <= index < len(planes) for index in indices):
            raise InputError(f"there are {len(planes)} variants to choose from")
        return torch.from_numpy(planes[list(indices)])

    def _photo(self, longest: int) -> Photo:
        return _reduced_copy(self.folder / f"{longest}.npy")


def has_color(pixels: np.ndarray) -> bool:
    """True for a picture, uint8 (H, W, 3), in colour."""
    return int((pixels.max(axis=-1) - pixels.min(axis=-1)).max(initial=0)) > GREY_TOLERANCE


def in_grey(pixels: np.ndarray) -> np.ndarray:
    """A picture, uint8 (H, W, 3), at its own lightness L and without colour; one in grey as it is."""
    if not has_color(pixels):
        return pixels
    lightness = lab_planes(pixels)[0, 0]
    return to_bytes(lightness, lightness.new_zeros(1, 2, *lightness.shape))[0]


def archive(path: Path, photos: Sequence[ColorizedPhoto], strength: float) -> Iterator[float]:
    """Zip of all variants at full size: a folder for each photo, as ``vflow colorize`` writes them.

    Yields the number of pictures written, counting a joined one as half; the file is whole when nothing more
    comes.

    Raises:
        InputError: one of their folders was cleared.
    """
    names: set[str] = set()
    done = 0
    with still_there(GONE), zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for photo in photos:
            stem = Path(photo.source).stem.lstrip(".")  # of "...png" it is "..", which leads elsewhere
            name = free_name(stem or "item", names)
            for index in range(photo.count):
                image = photo.full_size()
                for share in photo.color_rows(image, index, strength):
                    yield done + share / 2
                file.writestr(f"{name}/s{index:03d}.png", media.encode_png(image))
                yield (done := done + 1)


@lru_cache(maxsize=16)
def _reduced_copy(path: Path) -> Photo:
    """A reduced copy: its lightness and enlarger are kept with it, so that the strength answers at once."""
    with still_there(GONE):
        pixels = np.load(path)
    return Photo(pixels, pixels)


@lru_cache(maxsize=1)
def _photo(config: ColorizerConfig, path: Path) -> Still:
    """The photo of the last job with what was prepared of it, so that further colour hints answer sooner."""
    check_is_photo(path)
    return Still.read(config, path)


@lru_cache(maxsize=1)
def _upload(path: Path) -> Photo:
    if not path.is_file():
        raise InputError(GONE)
    clip, alpha = media.read_photo(path)
    return Photo(clip.frames[0], clip.frames[0], alpha)


class ColorizeFace(Face):
    """Variants whose planes and photo are kept; pictures are joined from them on demand."""

    sample, verb = "variant", "Colourise"
    outputs = ("colourised.zip", SETTINGS)
    fits = names_files = True
    most, added, gone = 50, "photos", GONE

    def read(self, model: Any, item: Item, settings: Any) -> Still:
        return _photo(color_config(model), item.paths[0])

    def write(self, job: Job, folder: Path) -> None:
        photo = job.given.photo
        (folder / "upload").mkdir()
        shutil.copyfile(job.given.path, folder / "upload" / job.given.path.name)
        np.save(folder / "ab.npy", torch.cat([drawn.ab for drawn in job.results]).numpy())
        for longest in (PREVIEW, CARD):
            small = reduced(on_white(photo.pixels, photo.alpha)[None], longest)[0]
            np.save(folder / f"{longest}.npy", small)

    def finish(self, job: Job, folder: Path) -> ColorizedPhoto:
        return ColorizedPhoto(folder, job.given.path.name, str(job.checkpoint), job.settings, job.done)

    def archive(self, folder: Path, results: Sequence[ColorizedPhoto]) -> Iterator[float]:
        return archive(folder / self.outputs[0], results, results[0].settings.strength)


FACE = ColorizeFace(families()[FAMILY])
