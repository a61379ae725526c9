"""Photos as training examples: colours given lightness and hints, crops given their half-size versions."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import weakref
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Generic, TypeVar, final

import cv2
import numpy as np
import torch

from vflow.data import media
from vflow.data.color import rgb_to_lab
from vflow.data.datasets.cache import CACHE_BYTES, ClipCache
from vflow.data.datasets.splits import Split, choose_split, hash_fraction
from vflow.data.datasets.types import ImageExample
from vflow.errors import InputError, printable
from vflow.randomness import generator

MIN_MEAN_CHROMA = 4.0  # mean chroma √(a² + b²) below which a photo teaches no colour
KEPT_SCALE = 3  # photos kept in memory have at most this times ``size`` as their shorter side
CROP_KEPT_SIDE = 512  # pixels: the same where crops are cut from them that are smaller than this
HALF_SIZE_SHARE = 0.5  # of the crops of super-resolution
EXAMINED = 200  # photos of a set that are decoded ahead to be counted: half a minute, where they are large
MIN_CROP_AREA = 0.5  # crops take this share to all of the largest square
MAX_ASPECT = 1.1  # most that a crop is wider than high, or the reverse
UNHINTED_SHARE = 0.5  # share of training examples without hints
MAX_HINTS, HINT_STOP_PROBABILITY = 8, 0.3  # the number of hints is geometric with this chance to stop
MAX_HINT_SIDE = 9 / 64  # side of the largest hint, of the picture's
_TEST_FOLDERS = ("test", "val", "valid", "validation")
_UNREADABLE = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError)
_log = logging.getLogger(__name__)
E = TypeVar("E")


class PhotoSet(ABC, Generic[E]):
    """Photos under a folder or in a zip, as training examples.

    Pictures are decoded when first used, and kept small in memory. One that cannot be read is reported once
    (logging); it and those that a subclass has no use for are replaced by the next. ``skipped`` names both,
    and once a training set has been seen whole, a line says how many there are of each kind.

    Attributes:
        stream: name of the random numbers that vary photos.
        usable: photos that are not left out, once ``examine`` has counted them; before, all.

    Args:
        path: folder, searched with all folders in it, or zip. If it holds a folder "train", training and
            validation divide that one, and "test" reads "test" (or "val") beside it.
        kept_side: largest shorter side of the photos in memory, in pixels; larger ones are reduced to it.
        split: "train" and "validation" divide the files 95 : 5 by hash of their names; "test" is all.
        cache_bytes: bound of the memory that decoded photos may take in this process.

    Raises:
        InputError: no picture found, or none that can be used; the message says what to change.
    """

    stream: ClassVar[str] = "photo"

    def __init__(
        self, path: str | Path, *, kept_side: int, split: Split, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self.path, self.training = Path(path), split == "train"
        self.skipped: dict[str, str] = {}
        self._kept_side = kept_side
        self._cache = ClipCache(cache_bytes)
        self._source: _Folder | _Zip = _Folder(self.path) if self.path.is_dir() else _Zip(self.path)
        names = _split_names(self._source.names(), split)
        self.names = choose_split(names, split, str(path), noun="photo")
        if split == "validation":
            self.names.sort(key=hash_fraction)  # so that the first ones are of all folders
        if not self.names:
            kinds = "JPEG, PNG, WebP, TIFF or BMP"
            raise InputError(f"{path}: no photos found; give a folder or zip with photos ({kinds})")
        self.usable = len(self.names)
        self._seen = LeftOut(self.path, len(self.names))

    def __len__(self) -> int:
        return len(self.names)

    def example(self, index: int, key: tuple[int, ...]) -> E:
        """Photo ``index`` varied as ``key`` says, with its condition.

        Raises:
            InputError: no photo can be used.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        for offset in range(len(self.names)):
            photo = self._photo(self.names[(index + offset) % len(self.names)])
            if photo is not None:
                return self._vary(photo, generator(self.stream, *key, index))
        raise InputError(self._nothing_left())

    def examine(self) -> None:
        """Count the photos that can be used; sets beyond 200 are left to be counted as they are read.

        Raises:
            InputError: no photo can be used.
        """
        if len(self) > EXAMINED:
            return
        for name in self.names:
            self._photo(name)
        self.usable = len(self) - len(self.skipped)
        if not self.usable:
            raise InputError(self._nothing_left())

    def usable_of(self, chosen: Iterable[int]) -> list[int]:
        """Indices of ``chosen`` photos without those that are left out.

        Raises:
            InputError: none of them can be used.
        """
        found = [index for index in chosen if self._photo(self.names[index]) is not None]
        if not found:
            raise InputError(self._nothing_left())
        return found

    def _nothing_left(self) -> str:
        first = next(iter(self.skipped.values()))
        return f"{self.path}: none of {len(self.skipped)} photos can be used; the first: {first}"

    def original(self, index: int) -> np.ndarray:
        """Photo ``index`` as it lies there, uint8 (H, W, 3).

        Raises:
            InputError: it cannot be read.
        """
        return self._source.read(self.names[index])

    def readable(self, index: int) -> np.ndarray | None:
        """Photo ``index`` as ``original`` has it; None, with one warning, if it cannot be read."""
        try:
            return self.original(index)
        except InputError as error:
            self._skip(self.names[index], error)
            return None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of names and versions of the files: names what is computed from them."""
        text = "\n".join(f"{name} {self._source.version(name)}" for name in self.names)
        return hashlib.sha256(os.fsencode(f"{self._kept_side} {text}")).hexdigest()

    @abstractmethod
    def _vary(self, photo: np.ndarray, random: np.random.Generator) -> E:
        """Example of a photo, uint8 (H, W, 3), cut and conditioned by ``random``."""

    @abstractmethod
    def _unfit(self, photo: np.ndarray) -> str:
        """Reason why a photo teaches nothing, its measure in brackets; empty where it teaches something."""

    def _photo(self, name: str) -> np.ndarray | None:
        """The whole photo at a moderate size, uint8 (H, W, 3); None if it cannot be used."""
        if name in self.skipped:
            return None
        photo = self._cache.get(name)
        if photo is not None:
            return photo
        try:
            photo = _downscale(self._source.read(name), self._kept_side)
        except InputError as error:
            self._skip(name, error)
            self._note(name, "unreadable")
            return None
        reason = self._unfit(photo)
        self._note(name, reason.partition(" (")[0])
        if reason:
            self.skipped[name] = f"{Path(name).name}: {reason}"
            return None
        self._cache.put(name, photo)
        return photo

    def _skip(self, name: str, error: InputError) -> None:
        if name not in self.skipped:
            self.skipped[name] = str(error)
            warn_skipped(self.path / name, error)

    def _note(self, name: str, reason: str) -> None:
        if self.training:
            self._seen.note(name, reason)


def warn_skipped(path: Path, error: InputError) -> None:
    """Warning (logging) of the unreadable file ``path``, whose name is said once."""
    why = str(error).removeprefix(printable(f"{path.name}: "))
    _log.warning("skipped %s: %s", printable(str(path)), why)


class LeftOut:
    """Count of the photos of a set that are left out, by reason; said once all have been seen (logging)."""

    def __init__(self, path: Path, total: int) -> None:
        self.path, self.total = path, total
        self._reasons: dict[str, str] = {}

    def note(self, name: str, reason: str) -> None:
        """A photo has been seen; it is left out if there is a ``reason``."""
        if name in self._reasons:
            return
        self._reasons[name] = reason
        if len(self._reasons) < self.total or not (counts := Counter(filter(None, self._reasons.values()))):
            return
        kinds = ", ".join(f"{number} {kind}" for kind, number in counts.most_common())
        why = kinds if len(counts) > 1 else next(iter(counts))
        left_out = f"{counts.total()} of {self.total} training photos left out: {why}"
        _log.warning("%s: %s", printable(str(self.path)), left_out)


@final
class Photos(PhotoSet[ImageExample]):
    """Photos as training examples of the colouriser.

    In training each is cut at random (half to all of the largest square, turned left to right half the
    time) and comes with hints of its colours half the time; else its central square is taken, without
    hints. Training leaves out photos that are near-grey: scanned black-and-white prints and fog would teach
    the colouriser to leave photos grey.

    ``example`` gives the colours a and b of Lab, rounded, plus 128 (uint8, size × size × 2), and at twice
    that size their condition, float32 (4, 2·size, 2·size): L (0 … 100), the mask of hints (0 or 1), and a
    and b of the hints (0 elsewhere).

    Args:
        size: of the colour planes; L has twice as many rows and columns.
        crop: in training, cut at random; else each photo is its central square, and only its hints vary.
    """

    def __init__(self, path: str | Path, *, size: int, split: Split, crop: bool = True) -> None:
        super().__init__(path, kept_side=KEPT_SCALE * size, split=split)
        self.size, self.crop = size, crop

    def _vary(self, photo: np.ndarray, random: np.random.Generator) -> ImageExample:
        side = 2 * self.size
        if not (self.training and self.crop):
            lab = _lab(media.resize(photo[None], side, side, 3)[0])
            hints = sample_hints(lab[1:], random) if self.training else np.zeros((3, side, side), np.float32)
            return _picture(lab, hints)
        cut = random_square(photo, side, random)
        lab = _lab(cut[:, ::-1] if random.random() < 0.5 else cut)
        return _picture(lab, sample_hints(lab[1:], random))

    def _unfit(self, photo: np.ndarray) -> str:
        if self.training and (chroma := mean_chroma(photo)) < MIN_MEAN_CHROMA:
            return f"near-grey (mean chroma {chroma:.1f})"
        return ""


@final
class PhotoPairs(PhotoSet[ImageExample]):
    """Pairs of a crop and its half-size version, for super-resolution.

    Half of the training crops are cut from the photo as it is, the others from the photo at half its size
    where that is large enough: halving removes traces of JPEG, and pictures of that size are what the
    first of two doublings makes. Half are turned left to right.
    Validation crops lie at a fixed place of the photo as it is. Photos smaller than a crop are left out;
    large ones are first reduced to a shorter side of 512 pixels, or of a crop where that is more.

    ``example`` gives the crop, uint8 (size, size, 3), and the means of its 2×2 blocks, rounded, uint8
    (3, size/2, size/2).

    Args:
        size: of the crops, even.
    """

    def __init__(self, path: str | Path, *, size: int, split: Split) -> None:
        super().__init__(path, kept_side=max(CROP_KEPT_SIDE, size), split=split)
        self.size = size

    def _vary(self, photo: np.ndarray, random: np.random.Generator) -> ImageExample:
        cut = (
            random_crop(photo, self.size, HALF_SIZE_SHARE, random)
            if self.training
            else _random_part(photo, self.size, random)
        )
        return ImageExample(cut, np.ascontiguousarray(halve(cut).transpose(2, 0, 1)))

    def _unfit(self, photo: np.ndarray) -> str:
        height, width = photo.shape[:2]
        if min(height, width) >= self.size:
            return ""
        return f"smaller than {self.size} pixels ({width}×{height})"


def halve(photo: np.ndarray) -> np.ndarray:
    """Means of the 2×2 blocks of ``photo``, uint8 (H, W, 3), rounded: (H // 2, W // 2, 3)."""
    return average_blocks(photo, 2)


def average_blocks(image: np.ndarray, scale: int) -> np.ndarray:
    """Means of scale × scale blocks of uint8 (H, W, C), rounded: (H // scale, W // scale, C); scale ≤ 16."""
    height, width = (side // scale for side in image.shape[:2])
    blocks = image[: scale * height, : scale * width].reshape(height, scale, width, scale, -1)
    area = scale * scale
    return np.asarray((blocks.sum((1, 3), dtype=np.uint16) + area // 2) // area).astype(np.uint8)


def random_crop(photo: np.ndarray, side: int, half_size: float, random: np.random.Generator) -> np.ndarray:
    """A random part of ``photo``, turned left to right half the time: uint8 (side, side, 3), not scaled.

    With probability ``half_size`` it is cut from the photo at half its size, if that is large enough.
    """
    if random.random() < half_size and min(photo.shape[:2]) >= 2 * side:
        photo = halve(photo)
    cut = _random_part(photo, side, random)
    return cut[:, ::-1] if random.random() < 0.5 else cut


def _random_part(photo: np.ndarray, side: int, random: np.random.Generator) -> np.ndarray:
    top, left = (int(random.integers(length - side + 1)) for length in photo.shape[:2])
    return photo[top : top + side, left : left + side]


def random_square(photo: np.ndarray, side: int, random: np.random.Generator) -> np.ndarray:
    """A random part of ``photo`` of about equal sides, scaled: uint8 (side, side, 3)."""
    height, width = photo.shape[:2]
    base = min(height, width) * np.sqrt(random.uniform(MIN_CROP_AREA, 1))
    stretch = MAX_ASPECT ** (random.uniform(-1, 1) / 2)
    high, wide = min(height, round(base / stretch)), min(width, round(base * stretch))
    top, left = random.integers(height - high + 1), random.integers(width - wide + 1)
    part = np.ascontiguousarray(photo[top : top + high, left : left + wide])
    method = cv2.INTER_AREA if high * wide > side * side else cv2.INTER_LINEAR
    return cv2.resize(part, (side, side), interpolation=method)


def sample_hints(ab: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Hints of the colours ``ab`` (2, H, W): float32 (3, H, W), mask (0 or 1), then a and b where it is 1.

    None half the time, else 1 to 8 small squares anywhere, each with the mean colour under it.
    """
    side = ab.shape[1]
    hints = np.zeros((3, side, side), np.float32)
    if random.random() < UNHINTED_SHARE:
        return hints
    for _ in range(min(MAX_HINTS, int(random.geometric(HINT_STOP_PROBABILITY)))):
        width = int(random.integers(1, max(1, round(MAX_HINT_SIDE * side)) + 1))
        top, left = random.integers(side - width + 1, size=2)
        box = np.s_[:, top : top + width, left : left + width]
        hints[0][box[1:]] = 1
        hints[1:][box] = ab[box].mean((1, 2), keepdims=True)
    return hints


def mean_chroma(photo: np.ndarray) -> float:
    """Mean of √(a² + b²) over uint8 (H, W, 3)."""
    return float(np.hypot(*_lab(photo)[1:]).mean())


def _lab(rgb: np.ndarray) -> np.ndarray:
    """Lab, float32 (3, H, W), of uint8 (H, W, 3)."""
    planes = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))).float() / 255
    return rgb_to_lab(planes[None])[0].numpy()


def _picture(lab: np.ndarray, hints: np.ndarray) -> ImageExample:
    """Area means of a and b at half the size, and what they are given."""
    half = lab[1:].reshape(2, lab.shape[1] // 2, 2, lab.shape[2] // 2, 2).mean((2, 4))
    planes = np.clip(np.rint(half) + 128, 0, 255).astype(np.uint8)
    return ImageExample(planes.transpose(1, 2, 0), np.concatenate([lab[:1], hints]))


def _downscale(picture: np.ndarray, side: int) -> np.ndarray:
    """``picture`` with a shorter side of at most ``side``."""
    height, width = picture.shape[:2]
    scale = side / min(height, width)
    if scale >= 1:
        return picture
    return cv2.resize(
        picture,
        (max(side, round(width * scale)), max(side, round(height * scale))),
        interpolation=cv2.INTER_AREA,
    )


def _split_names(names: list[str], split: Split) -> list[str]:
    """Names from which ``split`` is chosen, where the source has splits of its own."""
    own = {name.partition("/")[0] for name in names if "/" in name}
    if "train" not in own:
        return names
    folder = "train" if split != "test" else next((n for n in _TEST_FOLDERS if n in own), "train")
    return [name for name in names if name.startswith(f"{folder}/")]


def _is_picture(name: str) -> bool:
    parts = name.split("/")
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return not hidden and parts[-1].lower().endswith(media.IMAGE_SUFFIXES)


class _Folder:
    """Pictures of a folder and the folders in it: ``names`` are relative POSIX paths, in natural order."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        found = (path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())
        return sorted(filter(_is_picture, found), key=media.natural_key)

    def version(self, name: str) -> str:
        """Size, and time of the last change in nanoseconds."""
        stat = (self.root / name).stat()
        return f"{stat.st_size} {stat.st_mtime_ns}"

    def read(self, name: str) -> np.ndarray:
        return media.read_image(self.root / name).frames[0]


class _Zip:
    """Pictures of a zip, as of a folder."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; check the path")
        try:
            if not path.is_file():  # opening a pipe would wait for ever
                raise zipfile.BadZipFile
            self.archive = zipfile.ZipFile(path)
        except _UNREADABLE as error:
            raise InputError(f"{path}: not a folder or zip of photos; give one of these") from error
        self._folder = Path(tempfile.mkdtemp(prefix="vflow-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def names(self) -> list[str]:
        return sorted(filter(_is_picture, self.archive.namelist()), key=media.natural_key)

    def version(self, name: str) -> str:
        """Size, and checksum of the content."""
        member = self.archive.getinfo(name)
        return f"{member.file_size} {member.CRC:08x}"

    def read(self, name: str) -> np.ndarray:
        """A picture, read through a file of its name, so that it is admitted and named like any other."""
        path = self._folder / Path(name).name
        try:
            with self.archive.open(name) as member:
                path.write_bytes(member.read(media.DEFAULT_LIMITS.file_bytes + 1))
        except _UNREADABLE as error:
            raise InputError(f"{path.name}: damaged in the zip; pack it again") from error
        try:
            return media.read_image(path).frames[0]
        finally:
            path.unlink()
