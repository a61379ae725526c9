"""From photos to coloured ones and their files: the path of the tab and of the endpoint.

Sampled planes a and b lie on disk; pictures of any strength and size are joined from them on demand.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from vflow.config import ColorizerConfig
from vflow.data import media
from vflow.errors import InputError, counted
from vflow.pipelines.batch.records import ColorRecord
from vflow.pipelines.color.colorize import ColorSettings, PhotoColorizer, join, join_rows
from vflow.pipelines.color.hints import Hint
from vflow.pipelines.color.noise import Variant
from vflow.pipelines.color.photo import Photo, color_config, lab_planes, on_white, read_photo, to_bytes

from ..shared import checks
from ..shared.context import AppContext
from ..shared.html import reduced
from ..shared.storage import free_name

FAMILY = "colorizer"
MAX_VARIANTS = 16
MAX_PHOTOS = 50
PREVIEW, CARD = 768, 240  # pixels of the longer side
GREY_TOLERANCE = 12  # largest difference of a grey pixel's channels: scans and JPEG are not quite neutral
GONE = "these colours have been cleared from the server; colourise again"


def check_settings(
    num_samples: float,
    temperature: float,
    level_temperatures: str,
    seed: float,
    hints: Sequence[Hint] = (),
    strength: float = 1.0,
) -> ColorSettings:
    """Check values as they come from a form or an endpoint.

    Raises:
        InputError: a value is missing or out of range; the message names it and the range.
    """
    return ColorSettings(
        num_samples=checks.whole_number("variants", num_samples, 1, MAX_VARIANTS),
        temperature=checks.temperature(temperature, level_temperatures),
        strength=checks.number_within("strength", strength, 0, 1),
        hints=tuple(hints),
        seed=checks.seed_number(seed),
    )


def check_photos(count: int) -> None:
    """Refuse no photo at all, and too many.

    Raises:
        InputError: with the message to show.
    """
    if count == 0:
        raise InputError("no photo given; add photos, or choose an example")
    if count > MAX_PHOTOS:
        raise InputError(f"{count} photos; give at most {MAX_PHOTOS} at once")


def check_is_photo(path: str) -> None:
    """Refuse a video, which the command line takes.

    Raises:
        InputError: with the message to show.
    """
    if media.is_video(path):
        name = Path(path).name
        raise InputError(f"{name}: a video, and only photos are coloured here; use vflow colorize for videos")


@dataclass(frozen=True)
class Request:
    """A checked request for variants of one photo; ``near`` a variant of ``parent``, if there is one."""

    checkpoint: str | None
    path: str
    settings: ColorSettings
    parent: ColorizedPhoto | None = None
    near: Variant = ()


@dataclass
class Job:
    """A request under way: planes a and b so far, float32 (n, 2, h, w)."""

    request: Request
    colorizer: PhotoColorizer
    notes: tuple[str, ...]
    planes: list[torch.Tensor] = field(default_factory=list)
    redrawn: int = 0

    @classmethod
    def begin(cls, app: AppContext, request: Request) -> Job:
        """Load the model and read the photo.

        Raises:
            CheckpointError, InputError: with the message to show.
        """
        model = app.models.load(request.checkpoint, FAMILY)
        checks.check_levels(request.settings.temperature, model, request.checkpoint)
        photo, notes = _photo(color_config(model), request.path)
        return cls(request, PhotoColorizer(model, photo, request.settings), notes)

    @property
    def done(self) -> int:
        """Variants drawn so far."""
        return sum(map(len, self.planes))

    def prepare(self, should_stop: Callable[[], bool]) -> Iterator[float]:
        """Make colour hints ready for a large photo; yields the share of its rows done, 0..1."""
        for share in self.colorizer.prepare():
            if should_stop():
                return
            yield share

    def advance(self, should_stop: Callable[[], bool]) -> Iterator[None]:
        """Draw eight variants at a time; ``planes`` grows before each step is yielded."""
        for samples in self.colorizer.draw(self.request.near, should_stop):
            self.planes.append(samples.ab)
            self.redrawn += samples.counts.redrawn
            yield

    def save(self, folder: Path) -> ColorizedPhoto:
        """Put planes, upload and reduced copies of the photo on disk, in ``folder``, which is made.

        Raises:
            InputError: the folder that it is to lie in was cleared.
        """
        request, photo = self.request, self.colorizer.photo
        name = Path(request.path).name
        with still_there():
            folder.mkdir()
            (folder / "upload").mkdir()
            shutil.copyfile(request.path, folder / "upload" / name)
            np.save(folder / "ab.npy", torch.cat(self.planes).numpy())
            for longest in (PREVIEW, CARD):
                small = reduced(on_white(photo.pixels, photo.alpha)[None], longest)[0]
                np.save(folder / f"{longest}.npy", small)
        return ColorizedPhoto(
            folder, name, str(request.checkpoint), request.settings, self.done, request.near, request.parent
        )

    def remarks(self) -> list[str]:
        """Further remarks for people."""
        notes = list(self.notes)
        if self.redrawn:
            notes.append(f"{counted(self.redrawn, 'variant')} redrawn because of non-finite values")
        return [f"{Path(self.request.path).name}: {note}" for note in notes]


@dataclass(frozen=True)
class ColorizedPhoto:
    """Variants of one photo. Small and copyable: pixels and planes stay on disk.

    Attributes:
        folder: holds ``ab.npy``, float32 (N, 2, h, w), reduced copies of the photo, and the upload itself.
        source: the upload's name.
        checkpoint: name of the model.
        settings: of the draw; the strength is chosen later.
        count: variants drawn, fewer than in ``settings`` after Stop.
        near: the variant these are near to, as ``colorize`` names it; empty for samples.
        parent: those from which "more like this" came here.
    """

    folder: Path
    source: str
    checkpoint: str
    settings: ColorSettings
    count: int
    near: Variant = ()
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

    def save_settings(self, app: AppContext, strength: float) -> Path:
        """Write a settings file that makes the same pictures again.

        Raises:
            InputError: the folder was cleared.
        """
        path, settings = self.folder / "settings.json", self.settings
        record = ColorRecord(
            **app.models.record(self.checkpoint),
            num_samples=self.count,
            temperature=settings.temperature,
            seed=settings.seed,
            strength=strength,
            hints=tuple(map(str, settings.hints)),
            near=self.near,
        )
        with still_there():
            path.write_text(record.to_json(), encoding="utf-8")
        return path

    def _planes(self, indices: Sequence[int]) -> torch.Tensor:
        with still_there():
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


@contextmanager
def still_there() -> Iterator[None]:
    """For reading and writing in a folder of results, which may be cleared at any time.

    Raises:
        InputError: it was.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(GONE) from error


def archive(path: Path, photos: Sequence[ColorizedPhoto], strength: float) -> Iterator[float]:
    """Zip of all variants at full size: a folder for each photo, as ``vflow colorize`` writes them.

    Yields the number of pictures written, counting a joined one as half; the file is whole when nothing more
    comes.

    Raises:
        InputError: one of their folders was cleared.
    """
    names: set[str] = set()
    done = 0
    with still_there(), zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
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
    with still_there():
        pixels = np.load(path)
    return Photo(pixels, pixels)


@lru_cache(maxsize=1)
def _photo(config: ColorizerConfig, path: str) -> tuple[Photo, tuple[str, ...]]:
    """The photo of the last job with what was prepared of it, so that further colour hints answer sooner."""
    check_is_photo(path)
    return read_photo(config, path)


@lru_cache(maxsize=1)
def _upload(path: Path) -> Photo:
    if not path.is_file():
        raise InputError(GONE)
    clip, alpha = media.read_photo(path)
    return Photo(clip.frames[0], clip.frames[0], alpha)
