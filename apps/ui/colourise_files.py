"""Coloured photos on disk: sampled a and b, from which pictures of any strength and size are joined."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from vflow.data import media
from vflow.errors import InputError
from vflow.pipelines.color.colorize import ColorSettings, join
from vflow.pipelines.color.noise import Variant
from vflow.pipelines.color.photo import Photo, on_white

PREVIEW, CARD = 768, 240  # pixels of the longer side
GONE = "these colours have been cleared from the server; colourise again"


@dataclass(frozen=True)
class Coloured:
    """Variants of one photo. Small and copyable: pixels and planes stay on disk.

    Attributes:
        folder: holds ``ab.npy``, float32 (N, 2, h, w), reduced copies of the photo, and the upload itself.
        source: the upload's name.
        checkpoint: name of the model.
        settings: what was drawn; the strength is chosen later.
        count: variants drawn, fewer than in ``settings`` after Stop.
        near: the variant these are near to, as ``variants_near`` names it; empty for samples.
        parent: those from which "more like this" came here.
    """

    folder: Path
    source: str
    checkpoint: str
    settings: ColorSettings
    count: int
    near: Variant = ()
    parent: Coloured | None = None

    @property
    def upload(self) -> Path:
        return self.folder / "upload" / self.source

    def before(self) -> np.ndarray:
        """The photo, reduced: uint8 (h, w, 3)."""
        return self._photo(PREVIEW).pixels

    def after(self, index: int, strength: float) -> np.ndarray:
        """One variant, as large as ``before``: uint8 (h, w, 3)."""
        return join(self._photo(PREVIEW), self._planes([index]), strength)[0]

    def cards(self, strength: float) -> np.ndarray:
        """All variants, small: uint8 (N, h, w, 3)."""
        return join(self._photo(CARD), self._planes(range(self.count)), strength)

    def full(self, index: int, strength: float) -> np.ndarray:
        """One variant at the photo's own size: uint8 (H, W, 3), or 4 channels with its opacity."""
        photo = _upload(self.upload)
        image = join(photo, self._planes([index]), strength)[0]
        return image if photo.alpha is None else np.concatenate([image, photo.alpha[..., None]], -1)

    def _planes(self, indices: Sequence[int]) -> torch.Tensor:
        with still_there():
            planes = np.load(self.folder / "ab.npy")
        if not all(0 <= index < len(planes) for index in indices):
            raise InputError(f"there are {len(planes)} variants to choose from")
        return torch.from_numpy(planes[list(indices)])

    def _photo(self, longest: int) -> Photo:
        return _reduced(self.folder / f"{longest}.npy")


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


def keep(folder: Path, path: str, photo: Photo, planes: torch.Tensor) -> None:
    """Make ``folder``, and write what a ``Coloured`` finds there.

    Raises:
        InputError: the folder that it is to lie in was cleared.
    """
    with still_there():
        folder.mkdir()
        (folder / "upload").mkdir()
        shutil.copyfile(path, folder / "upload" / Path(path).name)
        np.save(folder / "ab.npy", planes.numpy())
        for longest in (PREVIEW, CARD):
            np.save(folder / f"{longest}.npy", reduced(on_white(photo.pixels, photo.alpha), longest))


def reduced(pixels: np.ndarray, longest: int) -> np.ndarray:
    """A picture, uint8 (H, W, C), with its longer side at most ``longest``."""
    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return media.resize(pixels[None], *size, pixels.shape[2])[0]


def archive(path: Path, made: Sequence[Coloured], strength: float) -> Iterator[int]:
    """Zip of all variants at full size: a folder for each photo, as ``vflow colorize`` writes them.

    Yields the number of pictures written, after each; the file is whole when nothing more comes.

    Raises:
        InputError: one of their folders was cleared.
    """
    names: set[str] = set()
    done = 0
    with still_there(), zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for coloured in made:
            name = _free(Path(coloured.source).stem, names)
            for index in range(coloured.count):
                picture = media.encode_png(coloured.full(index, strength))
                file.writestr(f"{name}/s{index:03d}.png", picture)
                yield (done := done + 1)


def _free(name: str, taken: set[str]) -> str:
    """``name``, with a number where it is taken already."""
    free = next(n for i in range(1, 10_000) if (n := name if i == 1 else f"{name}-{i}") not in taken)
    taken.add(free)
    return free


@lru_cache(maxsize=16)
def _reduced(path: Path) -> Photo:
    """A reduced copy: its lightness and enlarger are kept with it, so that the strength answers at once."""
    with still_there():
        pixels = np.load(path)
    return Photo(pixels, pixels)


@lru_cache(maxsize=1)
def _upload(path: Path) -> Photo:
    if not path.is_file():
        raise InputError(GONE)
    clip, alpha = media.read_photo(path)
    return Photo(clip.frames[0], clip.frames[0], alpha)
