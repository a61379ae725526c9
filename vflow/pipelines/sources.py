"""The inputs of a batch: files, folders, globs and JSONL manifests, each input an item with its own name."""

from __future__ import annotations

import glob
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from vflow.config import Config, parse
from vflow.data import io
from vflow.errors import ConfigError, InputError
from vflow.pipelines.items import Item, name_items

Unit = Literal["clip", "picture"]
"""What an item is: a folder of pictures inside a given folder is one clip, or so many pictures."""
_STILLS = tuple(suffix for suffix in io.IMAGE_SUFFIXES if suffix != ".gif")


class Line(Config):
    """A line of a manifest: ``{"input": "clip.mp4"}``, or the pictures of one clip in their order.

    Paths are relative to the manifest; ``name`` is what the outputs are called.
    """

    input: str | tuple[str, ...]
    name: str | None = None


class _Found(NamedTuple):
    paths: tuple[Path, ...]
    name: str | None = None


def sources(given: Sequence[Path], unit: Unit, output: Path | None = None) -> list[Item]:
    """Items of ``vflow generate``, in the order given, and in natural order within a folder or glob.

    A folder stands for all media in it and in the folders in it; hidden ones, links and ``output`` are left
    out, the last of globs as well. For clips, each folder of pictures further inside is one item. A file
    that does not exist stays an item: it fails alone, with its reason in the manifest.

    Raises:
        ConfigError: nothing given, or a manifest that cannot be read. InputError: a folder or glob without
            media, or an input given twice.
    """
    if not given:
        raise ConfigError("--input: give files, folders, a glob in quotes, or a JSONL manifest")
    skip = output.resolve() if output else None
    found = [one for path in given for one in _expand(path, unit, skip)]
    unnamed = [one.paths[0] for one in found if one.name is None]
    names = iter(name_items(unnamed))
    items = [Item(next(names) if one.name is None else one.name, one.paths) for one in found]
    _require_distinct(items)
    return items


def _expand(path: Path, unit: Unit, skip: Path | None) -> list[_Found]:
    if path.suffix.lower() == ".jsonl":
        return _read_manifest(path, unit)
    if path.is_dir():
        inside = _inside(path, unit, skip)
        if not inside:
            raise InputError(f"{path}: holds no media; give a folder of videos or pictures")
        return [_Found((one,)) for one in inside]
    if path.exists() or not glob.has_magic(str(path)):
        return [_Found((path,))]
    matches = sorted(map(Path, glob.glob(str(path), recursive=True)), key=io.natural_key)
    found = [_Found((one,)) for match in matches for one in _match(match, unit, skip)]
    if not found:
        raise InputError(f"{path}: matches nothing; check the pattern")
    return found


def _match(path: Path, unit: Unit, skip: Path | None) -> list[Path]:
    if skip in (path.resolve(), *path.resolve().parents):
        return []
    if not path.is_dir():
        return [path]
    return [path] if unit == "clip" and _stills(path) else _inside(path, unit, skip)


def _inside(folder: Path, unit: Unit, skip: Path | None) -> list[Path]:
    """Files in ``folder``, then what is in its folders."""
    others = () if unit == "clip" else io.ARRAY_SUFFIXES
    found = [path for path in io.list_media(folder) if path.suffix.lower() not in others]
    folders = (one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())
    for one in sorted(folders, key=lambda one: io.natural_key(one.name)):
        if one.name.startswith(".") or one.resolve() == skip:
            continue
        inside = _inside(one, unit, skip)
        if unit == "clip" and (stills := _stills(one)):
            inside = [one, *(path for path in inside if path not in stills)]
        found += inside
    return found


def _stills(folder: Path) -> set[Path]:
    return {path for path in io.list_media(folder) if path.suffix.lower() in _STILLS}


def _read_manifest(path: Path, unit: Unit) -> list[_Found]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); give a JSONL manifest") from error
    numbered = ((f"{path}, line {number}", line) for number, line in enumerate(lines, 1) if line.strip())
    found = [_read_line(source, path.parent, line) for source, line in numbered]
    if unit == "picture" and (several := next((one for one in found if len(one.paths) > 1), None)):
        raise ConfigError(f"{path}: {several.paths[0].name} with others; give one picture or film a line")
    if not found:
        raise ConfigError(f'{path}: no lines; each is an object such as {{"input": "clip.mp4"}}')
    return found


def _read_line(source: str, folder: Path, text: str) -> _Found:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{source}: not valid JSON; write one object a line") from error
    try:
        line = parse(Line, data, source)
    except ConfigError as error:
        known = str(error).replace("see 'vflow config NAME' for the known ones", "known: input, name")
        raise ConfigError(known) from error
    inputs = (line.input,) if isinstance(line.input, str) else line.input
    if not inputs:
        raise ConfigError(f"{source}: no input; name a file, a folder, or the pictures of one clip")
    if line.name is not None and not _is_name(line.name):
        raise ConfigError(f"{source}: name {line.name!r} must be a relative path, no part with a leading dot")
    return _Found(tuple(folder / one for one in inputs), line.name)


def _is_name(name: str) -> bool:
    path = Path(name)
    return bool(path.parts) and not path.is_absolute() and not any(p.startswith(".") for p in path.parts)


def _require_distinct(items: Sequence[Item]) -> None:
    seen: set[str] = set()
    for item in items:
        if item.name.casefold() in seen:
            raise InputError(f"{item.paths[0]}: two inputs are called {item.name!r}; name them in a manifest")
        seen.add(item.name.casefold())
