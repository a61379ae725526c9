"""Stores of outputs: a local folder, or a folder of a remote store such as ``s3://bucket/results``."""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import ClassVar

from vflow.data import media
from vflow.disk import file_sha256, parse_json, real_path
from vflow.errors import InputError
from vflow.locks import FolderLock
from vflow.pipelines.batch.inputs import Item
from vflow.remote import Remote, as_url, private_folder


class Store(ABC):
    """Files below one place, by their names relative to it. ``str`` of it is what people call it.

    Attributes:
        locks: True if ``lock`` keeps out whoever else would write.
    """

    locks: ClassVar[bool]

    def full(self, name: str) -> str:
        """Path or address of a file."""
        return f"{self}/{name}"

    @abstractmethod
    def lock(self, name: str) -> AbstractContextManager[object]:
        """Context in which no other process of this machine has the lock ``name``."""

    @abstractmethod
    def scratch(self, name: str) -> AbstractContextManager[Path]:
        """Context with an empty local folder to make an item's files in, deleted at the end."""

    @abstractmethod
    def contains(self, name: str) -> bool:
        """True if a name stays inside, whatever it spells and wherever links lead."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """True if there is such a file."""

    @abstractmethod
    def sha256(self, name: str) -> str:
        """SHA-256 of a file's bytes, in hexadecimal."""

    @abstractmethod
    def check_keeps(self, item: Item, folder: str, names: Iterable[str] = ()) -> None:
        """Refuse outputs that would go into the folder that the item is, or replace a file of its.

        Raises:
            InputError: naming the input.
        """

    @abstractmethod
    def publish(self, files: Mapping[Path, str]) -> None:
        """Give complete local files their names here, each at once."""

    @abstractmethod
    def remove(self, names: Iterable[str]) -> None:
        """Delete files, and folders that have none left."""

    @abstractmethod
    def claim(self, name: str, text: str) -> str:
        """Write a small file if there is none; returns what is in it now."""

    @abstractmethod
    def write(self, name: str, text: str) -> None:
        """Write a small file, at once."""

    @abstractmethod
    def lists(self, start: str) -> list[str]:
        """Names of the lists here that begin with ``start``."""

    @abstractmethod
    def lines(self, name: str) -> list[str]:
        """Lines of a list, in order; none if there is no such."""

    @abstractmethod
    def append(self, name: str, key: str, line: str) -> None:
        """Add a line to a list, that of ``key``, so that it survives what happens to this process."""

    @abstractmethod
    def rewrite(self, name: str, lines: Mapping[str, str]) -> None:
        """Replace a list by these lines, by their keys."""

    @abstractmethod
    def drop(self, name: str) -> None:
        """Delete a list."""


class Folder(Store):
    """Store in a local folder: files get their names by being renamed, and a lock keeps writers apart."""

    locks = True

    def __init__(self, root: Path) -> None:
        self.root, self._real = root, real_path(root)

    def __str__(self) -> str:
        return str(self.root)

    def lock(self, name: str) -> AbstractContextManager[object]:
        return FolderLock(self.root, "writing", name)

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        folder = self.root / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def contains(self, name: str) -> bool:
        return self._real in real_path(self.root / name).parents

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def sha256(self, name: str) -> str:
        return file_sha256(self.root / name)

    def check_keeps(self, item: Item, folder: str, names: Iterable[str] = ()) -> None:
        home = real_path(self.root / folder)
        if into := next((path for path in item.paths if path.is_dir() and real_path(path) == home), None):
            raise InputError(f"{into}: outputs would go into the input's own folder; choose another --output")
        media.check_keeps(item.paths, [self.root / name for name in names])

    def publish(self, files: Mapping[Path, str]) -> None:
        for path, name in files.items():
            final = self.root / name
            final.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, final)

    def remove(self, names: Iterable[str]) -> None:
        paths = [self.root / name for name in names]
        for path in paths:
            path.unlink(missing_ok=True)
        for parent in {path.parent for path in paths} - {self.root}:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()

    def claim(self, name: str, text: str) -> str:
        path = self.root / name
        if not path.exists():
            self.write(name, text)
        return path.read_text(encoding="utf-8", errors="replace")

    def write(self, name: str, text: str) -> None:
        with media.atomic_write(self.root / name) as draft:
            draft.write_text(text, encoding="utf-8")

    def lists(self, start: str) -> list[str]:
        return sorted(path.name for path in self.root.glob(f"{start}*.jsonl"))

    def lines(self, name: str) -> list[str]:
        path = self.root / name
        return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []

    def append(self, name: str, key: str, line: str) -> None:
        with open(self.root / name, "a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def rewrite(self, name: str, lines: Mapping[str, str]) -> None:
        self.write(name, "".join(lines.values()))

    def drop(self, name: str) -> None:
        self.remove([name])


class Bucket(Store):
    """Store of fsspec's, which renames and locks nothing.

    Two writers are kept apart by what they write. A file appears complete or not at all, and only settings
    that equal those of ``run.json``, which the first writer puts there (``claim``), may write: so both would
    put the same bytes under the same name. A line of a list is a file of its own, put when the files that it
    speaks of are there; the first that is put stays, where the store can tell. At the end of a run
    these lines become one file.
    """

    locks = False

    def __init__(self, url: str) -> None:
        self.remote = Remote(url)

    def __str__(self) -> str:
        return self.remote.url

    def lock(self, name: str) -> AbstractContextManager[object]:
        return nullcontext()

    def scratch(self, name: str) -> AbstractContextManager[Path]:
        return private_folder()

    def contains(self, name: str) -> bool:
        plain = posixpath.normpath(name)
        return plain == name and not plain.startswith(("/", "../")) and plain not in (".", "..")

    def has(self, name: str) -> bool:
        return self.remote.has(name)

    def sha256(self, name: str) -> str:
        with private_folder() as folder:
            self.remote.download(name, folder / "file")
            return file_sha256(folder / "file")

    def check_keeps(self, item: Item, folder: str, names: Iterable[str] = ()) -> None:
        outputs, home = {self.full(name) for name in names}, self.full(folder) if folder else str(self)
        for given in item.given:
            if given in {home, *outputs} or any(each.startswith(f"{given}/") for each in outputs):
                raise InputError(f"{given}: outputs would replace the input; choose another --output")

    def publish(self, files: Mapping[Path, str]) -> None:
        for path, name in files.items():
            self.remote.upload(path, name)

    def remove(self, names: Iterable[str]) -> None:
        self.remote.remove(names)

    def claim(self, name: str, text: str) -> str:
        if self.remote.write(name, text.encode(), replace=False):
            return text
        return (self.remote.read(name) or b"").decode("utf-8", errors="replace")

    def write(self, name: str, text: str) -> None:
        self.remote.write(name, text.encode())

    def lists(self, start: str) -> list[str]:
        names = [name.removesuffix(_LINES) for name in self.remote.names(start)]
        return sorted({name for name in names if name.endswith(".jsonl")})

    def lines(self, name: str) -> list[str]:
        # Lines first: those that another writer has just gathered into the file are then found there.
        single = [self.remote.read(one) for one in self.remote.find(f"{name}{_LINES}")]
        texts = [self.remote.read(name), *single]
        return [line for text in texts if text for line in text.decode("utf-8", "replace").splitlines()]

    def append(self, name: str, key: str, line: str) -> None:
        own = _line_name(name, key)
        if not self.remote.write(own, line.encode(), replace=False):
            there = self.remote.read(own)
            if there is None or _outcome(there) != _outcome(line):
                self.remote.write(own, line.encode())

    def rewrite(self, name: str, lines: Mapping[str, str]) -> None:
        self.write(name, "".join(lines.values()))
        self.remote.remove(_line_name(name, key) for key in lines)

    def drop(self, name: str) -> None:
        self.remote.remove([*self.remote.find(f"{name}{_LINES}"), name])


_LINES = ".lines"


def _outcome(line: str | bytes) -> object:
    """Outputs that a line speaks of, and whether they are there; nothing of how they came about."""
    try:
        entry = parse_json(line)
        return entry["status"], entry["outputs"]
    except (ValueError, KeyError, TypeError):
        return None


def _line_name(name: str, key: str) -> str:
    return f"{name}{_LINES}/{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:40]}.json"


def open_store(place: Path) -> Store:
    """Store at a path or address.

    Raises:
        ConfigError: an address that is not understood, or whose library is missing.
    """
    url = as_url(place)
    return Bucket(url) if url else Folder(place)
