"""Photos and clips at their own size, and squares cut from them, for lossless coding."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TypeVar, final

import numpy as np

from vflow.data import media
from vflow.data.datasets.cache import CACHE_BYTES, ClipCache
from vflow.data.datasets.photos import PhotoSet, random_crop, warn_skipped
from vflow.data.datasets.splits import Split, choose_split, hash_fraction
from vflow.data.media.limits import TRAINING_LIMITS
from vflow.errors import InputError, printable
from vflow.randomness import generator

HALF_SIZE_SHARE = 0.25  # of photos: shrunk, they have no traces of JPEG
WINDOW, SHORTEST = 20, 4  # frames of a window of a clip; least of a clip that has one
_log = logging.getLogger(__name__)
T = TypeVar("T")


@final
class PhotoCrops(PhotoSet[np.ndarray]):
    """Squares of photos at their own size, the same part of each for the same key; one in four is halved.

    ``example`` gives a square, uint8 (crop, crop, 3), turned left to right half the time.

    Args:
        path, split: see ``PhotoSet``.
        crop: side of the squares; smaller photos are passed over.
    """

    stream = "crop"

    def __init__(self, path: str | Path, *, crop: int, split: Split) -> None:
        super().__init__(path, kept_side=media.DEFAULT_LIMITS.side, split=split)  # as they are
        self.crop = crop

    def _vary(self, photo: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return random_crop(photo, self.crop, HALF_SIZE_SHARE, random)

    def _unfit(self, photo: np.ndarray) -> str:
        return "" if min(photo.shape[:2]) >= self.crop else f"smaller than {self.crop} pixels"

    def _nothing_left(self) -> str:
        return f"{self.path}: no photo is as large as {self.crop} pixels; add --set model.crop with fewer"


class ClipCrops:
    """Squares of three frames in a row, of the clips in a folder or in the folders in it.

    Where there are several folders, each gives as many examples.

    Args:
        path: a folder of clips, or of folders of clips.
        crop: side of the squares.
        split: "train" and "validation" divide the files of each folder 95 : 5 by hash of their names.

    Raises:
        InputError: no clips found.
    """

    def __init__(self, path: str | Path, *, crop: int, split: Split) -> None:
        self.path, self.crop = Path(path), crop
        self._cache, self._refused = ClipCache(CACHE_BYTES), set[Path]()
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
        found = self._attempt(path, lambda: media.probe(path, TRAINING_LIMITS))
        frames = found[0] if found else 0
        starts = range(0, frames - WINDOW + 1, WINDOW) if frames >= WINDOW else range(frames >= SHORTEST)
        return [(path, start) for start in starts]

    def _read(self, path: Path) -> np.ndarray | None:
        """The whole clip, which is kept in memory; None if it cannot be read."""
        found = self._cache.get(str(path))
        if found is None:
            found = self._attempt(path, lambda: media.read_clip(path, TRAINING_LIMITS).frames)
            if found is not None:
                self._cache.put(str(path), found)
        return found

    def _attempt(self, path: Path, read: Callable[[], T]) -> T | None:
        """Result of ``read``; None, with one warning, if the file cannot be read, now or before."""
        if path in self._refused:
            return None
        try:
            return read()
        except InputError as error:
            self._refused.add(path)
            warn_skipped(path, error)
            return None

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
