"""What the engine works on: inputs grouped into items, and the name each item's output gets."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vflow.data import io
from vflow.errors import ConfigError, InputError
from vflow.pipelines.manifest import file_sha256


@dataclass(frozen=True)
class Item:
    """One thing to work on: its output's name, and its files or folder in the given order.

    What is drawn from nothing but its name, such as a class of digits, has no files.
    """

    name: str
    paths: tuple[Path, ...]

    def sha256(self) -> str:
        """Hash over the bytes of all files, in order; their names and places do not count."""
        digest = hashlib.sha256()
        for path in self.paths:
            for file in io.list_media(path) if path.is_dir() else [path]:
                digest.update(bytes.fromhex(file_sha256(file)))
        return digest.hexdigest()


def clips(paths: Sequence[Path]) -> list[Item]:
    """Items of ``vflow predict``: a video, an array, a folder of stills, or all single stills together.

    A folder that holds videos or arrays, and no stills, stands for all of them.

    Raises:
        ConfigError: no paths. InputError: stills and clips are mixed, or a path is given twice.
    """
    if not paths:
        raise ConfigError("--input: give a video, a folder of frames, an npz, or pictures in order")
    if len(paths) == 1 and not paths[0].is_dir():
        return [Item(_stem(paths[0]), (paths[0],))]
    stills = [path for path in paths if _is_still(path)]
    if stills and len(stills) < len(paths):
        other = next(path for path in paths if path not in stills)
        raise InputError(
            f"{other}: given together with single pictures; give clips, or the pictures of one clip"
        )
    if stills:
        return [Item(_stem(stills[0]), tuple(stills))]
    found = [clip for path in paths for clip in _inside(path)]
    return [Item(name, (path,)) for name, path in zip(name_items(found), found, strict=True)]


def pictures(paths: Sequence[Path]) -> list[Item]:
    """Items of ``vflow colorize``: every picture or film is one; a folder stands for those directly in it.

    Raises:
        ConfigError: no paths. InputError: a folder without any, or a path is given twice.
    """
    if not paths:
        raise ConfigError("--input: give photos, videos, or folders of them")
    found = [file for path in paths for file in (_pictures_in(path) if path.is_dir() else [path])]
    return [Item(name, (path,)) for name, path in zip(name_items(found), found, strict=True)]


def _pictures_in(folder: Path) -> list[Path]:
    files = [file for file in io.list_media(folder) if file.suffix.lower() not in io.ARRAY_SUFFIXES]
    if not files:
        raise InputError(f"{folder}: holds no pictures or videos; put some directly in it")
    return files


def name_items(paths: Sequence[Path]) -> list[str]:
    """A distinct name per path: stem; full name where stems meet; path from the common folder otherwise.

    Raises:
        InputError: a path is given twice.
    """
    top = os.path.commonpath([path.resolve().parent for path in paths]) if paths else ""
    names = [_stem(path) for path in paths]
    fuller: tuple[Callable[[Path], str], ...] = (
        lambda path: path.resolve().name,
        lambda path: path.resolve().relative_to(top).as_posix(),
    )
    for fuller_name in fuller:
        counts = Counter(name.casefold() for name in names)
        names = [
            fuller_name(path) if counts[name.casefold()] > 1 else name
            for name, path in zip(names, paths, strict=True)
        ]
    counts = Counter(name.casefold() for name in names)
    for name, path in zip(names, paths, strict=True):
        if counts[name.casefold()] > 1:
            raise InputError(f"{path}: given twice, or another input has the same name; give each input once")
    return names


def _stem(path: Path) -> str:
    full = path.resolve()
    return (full.name if full.is_dir() else full.stem) or "item"


def _is_still(path: Path) -> bool:
    suffix = path.suffix.lower()
    return not path.is_dir() and suffix in io.IMAGE_SUFFIXES and suffix != ".gif"


def _inside(path: Path) -> list[Path]:
    """A folder of videos or arrays → those; anything else → itself."""
    if not path.is_dir():
        return [path]
    media = io.list_media(path)
    films = [file for file in media if not _is_still(file)]
    if films and len(films) < len(media):
        raise InputError(f"{path}: holds clips ({films[0].name}, …) and single pictures; give one kind")
    return films or [path]
