"""Items of the engine: inputs grouped, and the name of each group's outputs."""

from __future__ import annotations

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from vflow.config import Config, parse
from vflow.data import media
from vflow.disk import file_sha256, parse_json, read_regular, real_path
from vflow.errors import ConfigError, InputError
from vflow.remote import Staging, as_url


@dataclass(frozen=True)
class Item:
    """One unit of work: the name of its outputs, and its files or folder in the given order.

    An item that is drawn from its name alone, such as a class of digits, has no files. Those of a remote one
    are in a ``staging``, and have their bytes while ``fetched``.
    """

    name: str
    paths: tuple[Path, ...]
    staging: Staging | None = field(default=None, compare=False, repr=False)

    @property
    def given(self) -> list[str]:
        """Its paths, or addresses, as people gave them."""
        return [(self.staging and self.staging.url(path)) or str(path) for path in self.paths]

    def fetched(self) -> AbstractContextManager[None]:
        """Context in which its files can be read; raises InputError where they cannot be fetched."""
        return self.staging.fetched(self.paths) if self.staging else nullcontext()

    def telling(self, text: str) -> str:
        """An error about its files, with their addresses for the paths of copies."""
        for path, given in zip(self.paths, self.given, strict=True):
            text = text.replace(str(path), given)
        return text

    def sha256(self) -> str:
        """Hash over the bytes of all files, in order; their names and places do not count."""
        digest = hashlib.sha256()
        for path in self.paths:
            for file in media.list_media(path) if path.is_dir() else [path]:
                digest.update(bytes.fromhex(file_sha256(file)))
        return digest.hexdigest()


def clips(paths: Sequence[Path]) -> list[Item]:
    """Items of ``vflow predict``: a video, an array, a folder of stills, or all single stills together.

    A folder that holds videos or arrays, and no stills, stands for all of them; one without media of its own,
    for the folders of stills in it.

    Raises:
        ConfigError: no paths. InputError: stills and clips are mixed, or a path is given twice.
    """
    if not paths:
        raise ConfigError("--input: give a video, a folder of frames, an npz, or images in order")
    if len(paths) == 1 and not paths[0].is_dir():
        return [Item(_stem(paths[0]), (paths[0],))]
    stills = [path for path in paths if _is_still(path)]
    if stills and len(stills) < len(paths):
        other = next(path for path in paths if path not in stills)
        raise InputError(f"{other}: given together with single images; give clips, or the images of one clip")
    if stills:
        return [Item(_stem(stills[0]), tuple(stills))]
    found = [clip for path in paths for clip in _clips_inside(path)]
    return [Item(name, (path,)) for name, path in zip(name_items(found), found, strict=True)]


def pictures(paths: Sequence[Path]) -> list[Item]:
    """Items of ``vflow colorize``: every picture or film is one; a folder stands for those directly in it.

    Raises:
        ConfigError: no paths. InputError: a folder without any, or a path is given twice.
    """
    if not paths:
        raise ConfigError("--input: give photos, videos, or folders of them")
    found = [file for path in paths for file in (pictures_in(path) if path.is_dir() else [path])]
    return [Item(name, (path,)) for name, path in zip(name_items(found), found, strict=True)]


def existing(items: list[Item]) -> list[Item]:
    """``items``, refused if none of their files exists; one of several fails alone, later.

    Raises:
        InputError: naming the first.
    """
    media.require_exists(*(path for item in items for path in item.paths))
    return items


def pictures_in(folder: Path) -> list[Path]:
    """Pictures and films directly in a folder.

    Raises:
        InputError: there are none.
    """
    files = [file for file in media.list_media(folder) if file.suffix.lower() not in media.ARRAY_SUFFIXES]
    if not files:
        raise InputError(f"{folder}: holds no images or videos; put some directly in it")
    return files


def name_items(paths: Sequence[Path]) -> list[str]:
    """A distinct name per path: its stem, where stems meet with the suffix (v2-mp4) or the folder (a/v2).

    A link has its own name, not that of the file it leads to: stores of data name files by their hash.

    Raises:
        InputError: a path is given twice.
    """
    top = os.path.commonpath([_absolute(path).parent for path in paths]) if paths else ""
    names = [_stem(path) for path in paths]

    def inside(path: Path, name: str) -> str:
        return (_absolute(path).parent.relative_to(top) / name).as_posix()

    fuller: tuple[Callable[[Path], str], ...] = (
        _stem_and_suffix,
        lambda path: inside(path, _stem(path)),
        lambda path: inside(path, _stem_and_suffix(path)),
        lambda path: inside(path, _absolute(path).name),
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


def _absolute(path: Path) -> Path:
    """Absolute path without ``.`` and ``..``, which have no name.

    Links keep their names, but for one before ``..``, which leads to the parent of the link's target.
    """
    full = Path.cwd()
    for part in path.parts:
        if part != "..":
            full /= part
        else:
            full = real_path(full / part) if full.is_symlink() else full.parent
    return full


def _stem(path: Path) -> str:
    """Name without suffix or leading dots: the stem of ``...png`` is ``..``, which would lead elsewhere."""
    full = _absolute(path)
    return (full.name if full.is_dir() else full.stem).lstrip(".") or "item"


def _stem_and_suffix(path: Path) -> str:
    """Name with a hyphen for the suffix's dot: outputs go to folders, which should not look like files."""
    full = _absolute(path)
    return _stem(path) if full.is_dir() or not full.suffix else f"{_stem(path)}-{full.suffix[1:]}"


def _is_still(path: Path) -> bool:
    return not path.is_dir() and path.suffix.lower() in media.STILL_SUFFIXES


def _clips_inside(path: Path) -> list[Path]:
    """The videos, arrays or folders of stills in a folder of such; any other path itself."""
    if not path.is_dir():
        return [path]
    files = media.list_media(path)
    if not files:
        return [folder for folder in _folders_inside(path) if _stills(folder)] or [path]
    films = [file for file in files if not _is_still(file)]
    if films and len(films) < len(files):
        raise InputError(f"{path}: holds clips ({films[0].name}, …) and single images; give one kind")
    return films or [path]


Unit = Literal["clip", "picture", "file", "coded"]
"""Kind of an item: a folder of pictures inside a given folder is one clip, or so many pictures or files; a
coded one is a .vflow file."""


class Line(Config):
    """A line of a manifest: ``{"input": "clip.mp4"}``, or the pictures of one clip in their order.

    Paths are relative to the manifest; ``name`` is what the outputs are called.
    """

    input: str | tuple[str, ...]
    name: str | None = None


class _Source(NamedTuple):
    paths: tuple[Path, ...]
    name: str | None = None


def sources(given: Sequence[Path], unit: Unit, output: Path | None = None) -> list[Item]:
    """Items of ``vflow generate``, in the order given, and in natural order within a folder or glob.

    A folder stands for all media in it and in the folders in it; hidden ones, links to folders and ``output``
    are left out, the last of globs as well. For clips, each folder of pictures further inside is one item. A
    file that does not exist stays an item: it fails alone, with its reason in the manifest.

    Raises:
        ConfigError: nothing given, or a manifest that cannot be read. InputError: a folder or glob without
            media, a folder that is ``output``, or an input given twice.
    """
    if not given:
        raise ConfigError("--input: give files, folders, a glob in quotes, or a JSONL manifest")
    staging = Staging()
    skip = real_path(staging.local(output)) if output else None
    found = [one for path in given for one in _expand(path, unit, skip, staging)]
    unnamed = [one.paths[0] for one in found if one.name is None]
    names = iter(name_items(unnamed))
    items = [Item(next(names) if one.name is None else one.name, one.paths, staging) for one in found]
    _require_distinct(items)
    return items


def _expand(given: Path, unit: Unit, skip: Path | None, staging: Staging) -> list[_Source]:
    path = staging.place(given)
    if path.suffix.lower() == ".jsonl":
        with staging.fetched([path]):
            return _read_manifest(path, unit, staging)
    if path.is_dir():
        if real_path(path) == skip:
            text = "outputs would lie among the inputs, and be taken for some by the next run"
            raise InputError(f"{path}: {text}; choose another --output")
        inside = _media_inside(path, unit, skip)
        if not inside:
            remedy = f"{media.CODED_SUFFIX} files" if unit == "coded" else "videos or images"
            raise InputError(f"{path}: holds no media; give a folder of {remedy}")
        return [_Source((one,)) for one in inside]
    if path.exists() or not glob.has_magic(str(path)):
        return [_Source((path,))]
    matches = sorted(map(Path, glob.glob(str(path), recursive=True)), key=media.natural_key)
    outside = [match for match in matches if skip not in ((real := real_path(match)), *real.parents)]
    if matches and not outside:
        text = f"matches only what lies in {skip}, which outputs go to"
        raise InputError(f"{path}: {text}; choose another --output")
    found = [_Source((one,)) for match in outside for one in _match(match, unit, skip)]
    if not found:
        raise InputError(f"{path}: matches nothing; check the pattern")
    return found


def _match(path: Path, unit: Unit, skip: Path | None) -> list[Path]:
    if not path.is_dir():
        return [path]
    return [path] if unit == "clip" and _stills(path) else _media_inside(path, unit, skip)


def _media_inside(folder: Path, unit: Unit, skip: Path | None) -> list[Path]:
    """Media in ``folder``, then in its folders."""
    others = media.ARRAY_SUFFIXES if unit == "picture" else ()
    listed = media.list_media(folder, [media.CODED_SUFFIX]) if unit == "coded" else media.list_media(folder)
    found = [path for path in listed if path.suffix.lower() not in others]
    for one in _folders_inside(folder):
        if real_path(one) == skip:
            continue
        inside = _media_inside(one, unit, skip)
        if unit == "clip" and (stills := _stills(one)):
            inside = [one, *(path for path in inside if path not in stills)]
        found += inside
    return found


def _folders_inside(folder: Path) -> list[Path]:
    """Folders directly in ``folder``, in natural order, without hidden ones and links."""
    found = (one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())
    visible = (one for one in found if not one.name.startswith("."))
    return sorted(visible, key=lambda one: media.natural_key(one.name))


def _stills(folder: Path) -> set[Path]:
    return {path for path in media.list_media(folder) if path.suffix.lower() in media.STILL_SUFFIXES}


def _read_manifest(path: Path, unit: Unit, staging: Staging) -> list[_Source]:
    try:
        lines = read_regular(path).decode("utf-8-sig").split("\n")  # JSON may hold other line separators
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); give a JSONL manifest") from error
    found, taken = list[_Source](), dict[str, int]()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found.append(_read_line(f"{path}, line {number}", path.parent, line, staging))
        name = found[-1].name
        if name and (first := taken.setdefault(name.casefold(), number)) != number:
            raise ConfigError(f"{path}, line {number}: name {name!r} is that of line {first}; give another")
    if unit != "clip" and (several := next((one for one in found if len(one.paths) > 1), None)):
        raise ConfigError(f"{path}: {several.paths[0].name} with others; give one image or video a line")
    if not found:
        raise ConfigError(f'{path}: no lines; each is an object such as {{"input": "clip.mp4"}}')
    return found


def _read_line(source: str, folder: Path, text: str, staging: Staging) -> _Source:
    try:
        data = parse_json(text)
    except ValueError as error:
        raise ConfigError(f"{source}: not valid JSON; write one object a line") from error
    line = parse(Line, data, source, "known: input, name")
    inputs = (line.input,) if isinstance(line.input, str) else line.input
    if not inputs:
        raise ConfigError(f"{source}: no input; name a file, a folder, or the images of one clip")
    if line.name is not None and not _is_name(line.name):
        raise ConfigError(f"{source}: name {line.name!r} must be a relative path, no part with a leading dot")
    places = [Path(one if as_url(one) else staging.url(folder / one) or folder / one) for one in inputs]
    return _Source(tuple(staging.place(each, is_file=bool(each.suffix)) for each in places), line.name)


def _is_name(name: str) -> bool:
    path = Path(name)
    return bool(path.parts) and not path.is_absolute() and not any(p.startswith(".") for p in path.parts)


def _require_distinct(items: Sequence[Item]) -> None:
    seen: set[str] = set()
    for item in items:
        if item.name.casefold() in seen:
            raise InputError(f"{item.paths[0]}: two inputs are called {item.name!r}; name them in a manifest")
        seen.add(item.name.casefold())
