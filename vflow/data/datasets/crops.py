"""Photos and clips at their own size, and squares cut from them, for lossless coding."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from vflow.data import media
from vflow.data.datasets.cache import CACHE_BYTES, ClipCache
from vflow.data.datasets.photos import LeftOut, Photos, random_crop, warn_skipped
from vflow.data.datasets.splits import Split, choose_split, hash_fraction
from vflow.data.media.limits import TRAINING_LIMITS
from vflow.errors import InputError, printable
from vflow.randomness import generator

HALF_SIZE_SHARE = 0.25  # of photos: shrunk, they have no traces of JPEG
WINDOW, SHORTEST = 20, 4  # frames of a window of a clip; least of a clip that has one
_log = logging.getLogger(__name__)
T = TypeVar("T")


class _Files:
    """Decoded files, kept in bounded memory; one that cannot be read is reported once (logging).

    Args:
        root: names of files are relative to it.
    """

    def __init__(self, root: Path, cache_bytes: int) -> None:
        self.root, self._cache = root, ClipCache(cache_bytes)
        self._refused: set[str] = set()

    def read(self, name: str, decode: Callable[[], np.ndarray]) -> np.ndarray | None:
        """Result of ``decode``, which reads the file; None if it cannot be read."""
        found = self._cache.get(name)
        if found is None and (found := self.attempt(name, decode)) is not None:
            self._cache.put(name, found)
        return found

    def attempt(self, name: str, read: Callable[[], T]) -> T | None:
        """Result of ``read``, which is not kept; None if the file cannot be read, now or before."""
        if name in self._refused:
            return None
        try:
            return read()
        except InputError as error:
            self._refused.add(name)
            warn_skipped(self.root / name, error)
            return None


class PhotoCrops:
    """Squares of the photos in a folder or zip.

    Args:
        path: see ``Photos``.
        crop: side of the squares; smaller photos are passed over, and counted in a line (logging) once all
            have been seen.
        split: "train" and "validation" divide the files 95 : 5 by hash of their names; "test" is all.
        cache_bytes: bound of the memory that decoded photos may take.

    Raises:
        InputError: no picture found.
    """

    def __init__(self, path: str | Path, *, crop: int, split: Split, cache_bytes: int = CACHE_BYTES) -> None:
        self.path, self.crop = Path(path), crop
        self._photos, self._files = Photos(path, size=1, split=split), _Files(self.path, cache_bytes)
        self.names = self._photos.names
        self._seen, self._counts = LeftOut(self.path, len(self.names)), split == "train"

    def __len__(self) -> int:
        return len(self.names)

    def example(self, index: int, key: tuple[int, ...]) -> np.ndarray:
        """A square of photo ``index``, or of the next that can be used: uint8 (crop, crop, 3).

        Which part, turned or not, and at which size, is a function of (key, index); one in four is halved.

        Raises:
            InputError: no photo is as large as a crop.
        """
        random = generator("crop", *key, index)
        for offset in range(len(self.names)):
            place = (index + offset) % len(self.names)
            photo = self._read(place)
            fits = photo is not None and min(photo.shape[:2]) >= self.crop
            reason = "unreadable" if photo is None else f"smaller than {self.crop} pixels"
            if self._counts:
                self._seen.note(self.names[place], "" if fits else reason)
            if photo is not None and fits:
                return random_crop(photo, self.crop, HALF_SIZE_SHARE, random)
        raise InputError(
            f"{self.path}: no photo is as large as {self.crop} pixels; add --set model.crop with fewer"
        )

    def original(self, index: int) -> np.ndarray:
        """Photo ``index`` at its own size, uint8 (H, W, 3).

        Raises:
            InputError: it cannot be read.
        """
        return self._photos.original(index)

    def readable(self, index: int) -> np.ndarray | None:
        """Photo ``index`` at its own size, uint8 (H, W, 3); None, with one warning, if it cannot be read."""
        return self._files.attempt(self.names[index], lambda: self.original(index))

    def _read(self, index: int) -> np.ndarray | None:
        return self._files.read(self.names[index], lambda: self.original(index))


class ClipCrops:
    """Squares of three frames in a row, of the clips in a folder or in the folders in it.

    Where there are several folders, each gives as many examples.

    Args:
        path: a folder of clips, or of folders of clips.
        crop: side of the squares.
        split: "train" and "validation" divide the files of each folder 95 : 5 by hash of their names.
        cache_bytes: bound of the memory that decoded clips may take.

    Raises:
        InputError: no clips found.
    """

    def __init__(self, path: str | Path, *, crop: int, split: Split, cache_bytes: int = CACHE_BYTES) -> None:
        self.path, self.crop = Path(path), crop
        self._files = _Files(self.path, cache_bytes)
        self.folders = [_clips(folder, split) for folder in _clip_folders(self.path)]
        self._ends: dict[Path, int] = {}  # first frame of the first window that could not be read

    def __len__(self) -> int:
        return len(self.folders) * max(map(len, self.folders))

    def example(self, index: int, key: tuple[int, ...]) -> np.ndarray:
        """Three frames in a row, uint8 (3, crop, crop, 3); which, is a function of (key, index).

        Raises:
            InputError: no clip has three frames as large as a crop.
        """
        random = generator("crop", *key, index)
        place, folder = divmod(index, len(self.folders))
        files = self.folders[folder]
        for offset in range(len(files)):
            clip = self._read(files[(place + offset) % len(files)])
            if clip is not None and len(clip) >= 3 and min(clip.shape[1:3]) >= self.crop:
                return self._cut(clip, random)
        raise InputError(
            f"{files[0].parent}: no clip has 3 frames of {self.crop} pixels or more; "
            "add --set model.crop with fewer"
        )

    @cached_property
    def windows(self) -> list[tuple[Path, int]]:
        """File and first frame of each window: 20 frames, or all of a shorter clip that has 4 or more.

        Windows follow one another without overlap; the folders take turns.
        """
        rows = [[window for path in files for window in self._windows(path)] for files in self.folders]
        return [window for turn in itertools.zip_longest(*rows) for window in turn if window]

    def window(self, index: int) -> np.ndarray | None:
        """Window ``index``: uint8 (T, H, W, 3), T at least 4.

        None, with one warning for each clip, where that cannot be read, or ends before, although its
        container counts more frames.
        """
        path, start = self.windows[index]
        if start >= self._ends.get(path, start + 1):
            return None
        try:
            frames = media.read_clip(path, TRAINING_LIMITS, start + WINDOW).frames[start:]
            if len(frames) >= SHORTEST:
                return frames
            why = f"its container counts more frames than the {start + len(frames)} that are there"
        except InputError as error:
            why = str(error).removeprefix(printable(f"{path.name}: "))
        self._ends[path] = start
        _log.warning("skipped %s from frame %d on: %s", printable(str(path)), start + 1, why)
        return None

    def _windows(self, path: Path) -> list[tuple[Path, int]]:
        found = self._files.attempt(self._name(path), lambda: media.probe(path, TRAINING_LIMITS))
        frames = found[0] if found else 0
        starts = range(0, frames - WINDOW + 1, WINDOW) if frames >= WINDOW else range(frames >= SHORTEST)
        return [(path, start) for start in starts]

    def _read(self, path: Path) -> np.ndarray | None:
        return self._files.read(self._name(path), lambda: media.read_clip(path, TRAINING_LIMITS).frames)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def _cut(self, clip: np.ndarray, random: np.random.Generator) -> np.ndarray:
        start = int(random.integers(len(clip) - 2))
        top, left = (int(random.integers(side - self.crop + 1)) for side in clip.shape[1:3])
        cut = clip[start : start + 3, top : top + self.crop, left : left + self.crop]
        return cut[:, :, ::-1] if random.random() < 0.5 else cut


def _clip_folders(root: Path) -> list[Path]:
    if media.list_media(root):
        return [root]
    inside = sorted((f for f in root.iterdir() if f.is_dir()), key=lambda f: media.natural_key(f.name))
    found = [folder for folder in inside if not folder.name.startswith(".") and media.list_media(folder)]
    if not found:
        raise InputError(f"{root}: no clips found; give a folder of videos, or of folders of them")
    return found


def _clips(folder: Path, split: Split) -> list[Path]:
    by_name = {path.name: path for path in media.list_media(folder)}
    names = choose_split(list(by_name), split, str(folder), noun="clip")
    if split == "validation":
        names.sort(key=hash_fraction)
    return [by_name[name] for name in names]
