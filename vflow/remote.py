"""Stores on other machines, by fsspec: addresses such as ``s3://bucket/photos``, and private copies.

Credentials are what fsspec and its libraries find by themselves (environment, profile, role of the machine).
"""

from __future__ import annotations

import posixpath
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from vflow.errors import ConfigError, InputError, require

LIBRARIES = {"gs": "gcsfs", "memory": "fsspec", "s3": "s3fs"}
"""Schemes of addresses, and what each needs; ``gs`` was never tried."""

_ADDRESS = re.compile(r"([a-z][a-z0-9+]+):/+(.*)", re.DOTALL)


def as_url(place: Path | str) -> str | None:
    """Address that is meant, None for a local path; a ``Path`` has one slash where an address has two.

    Raises:
        ConfigError: an address of another kind, or one with credentials in it.
    """
    found = _ADDRESS.fullmatch(place if isinstance(place, str) else place.as_posix())
    if not found or Path(place).exists():
        return None
    scheme, key = found.groups()
    bucket = key.split("/")[0]
    if scheme not in LIBRARIES:
        raise ConfigError(f"{scheme}://{bucket}: no known store; give one of {', '.join(LIBRARIES)}")
    if "@" in bucket or not bucket:
        raise ConfigError(f"{scheme}://…: give BUCKET/KEY, and credentials by the environment alone")
    return f"{scheme}://{key.rstrip('/')}"


class Remote:
    """Files below an address; all methods take names relative to it.

    Raises:
        ConfigError: a library is missing. InputError: by every method, where the store refuses.
    """

    def __init__(self, url: str) -> None:
        self.url, (self.scheme, self.root) = url, url.split("://", 1)

    @cached_property
    def fs(self) -> Any:
        """fsspec's file system, which remembers no listings: there may be other writers."""
        library = LIBRARIES[self.scheme]
        require(library, self.url, "cluster")
        import fsspec

        return fsspec.filesystem(self.scheme, use_listings_cache=False)

    def path(self, name: str = "") -> str:
        return f"{self.root}/{name}" if name else self.root

    @contextmanager
    def telling(self, name: str = "") -> Iterator[None]:
        """Context that turns what the store's library raises into one line."""
        file_system, expected = self.fs, _errors(self.scheme)
        try:
            yield
        except expected as error:
            place = f"{self.url}/{name}" if name else self.url
            if isinstance(error, FileNotFoundError):
                raise InputError(f"{place}: no such file or bucket; check the address") from error
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{place}: {why}; check the address and the credentials") from error
        finally:
            file_system.invalidate_cache()

    def find(self, below: str = "") -> list[str]:
        """Names of all files below a folder, itself if it is a file; empty if there are none."""
        with self.telling(below):
            try:
                paths = self.fs.find(self.path(below))
            except FileNotFoundError:
                return []
        inside = [path.lstrip("/").removeprefix(self.root).lstrip("/") for path in paths]
        return [name for name in inside if not name.endswith("/")]

    def names(self, start: str) -> list[str]:
        """Names directly here that begin with ``start``, of files and folders."""
        with self.telling():
            try:
                paths = self.fs.ls(self.root, detail=False)
            except FileNotFoundError:
                return []
        found = {PurePosixPath(path).name for path in paths}
        return sorted(name for name in found if name.startswith(start))

    def has(self, name: str) -> bool:
        with self.telling(name):
            return bool(self.fs.isfile(self.path(name)))

    def read(self, name: str) -> bytes | None:
        """Bytes of a file, None if there is none."""
        with self.telling(name):
            try:
                return bytes(self.fs.cat_file(self.path(name)))
            except FileNotFoundError:
                return None

    def write(self, name: str, data: bytes, *, replace: bool = True) -> bool:
        """Put a file, in one piece; False if there is one that may not be replaced.

        The store itself decides which of several writers was first, where it can (S3, ``If-None-Match``).
        """
        with self.telling(name):
            try:
                self.fs.pipe_file(self.path(name), data, mode="overwrite" if replace else "create")
            except FileExistsError:
                return False
        return True

    def upload(self, file: Path, name: str) -> None:
        with self.telling(name):
            self.fs.put_file(str(file), self.path(name))

    def download(self, name: str, file: Path) -> None:
        with self.telling(name):
            self.fs.get_file(self.path(name), str(file))

    def remove(self, names: Iterable[str]) -> None:
        """Delete files; those that another writer deleted first are no error."""
        for name in names:
            with self.telling(name):
                try:
                    self.fs.rm_file(self.path(name))
                except FileNotFoundError:
                    continue


def _errors(scheme: str) -> tuple[type[Exception], ...]:
    """Exceptions of a store's library where the store refuses."""
    if scheme == "s3":
        from botocore.exceptions import BotoCoreError, ClientError

        return OSError, BotoCoreError, ClientError
    if scheme == "gs":
        from gcsfs.retry import HttpError
        from google.auth.exceptions import GoogleAuthError

        return OSError, GoogleAuthError, HttpError
    return (OSError,)


class Staging:
    """Private copy of remote inputs: files of their names, empty but while ``fetched``.

    What lists and names local inputs so does the same for remote ones, and one item at a time takes disk. The
    folder goes with the object, at the latest when Python ends.
    """

    def __init__(self) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @property
    def folder(self) -> Path:
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="vflow-inputs-", ignore_cleanup_errors=True)
        return Path(self._temporary.name).resolve()

    def local(self, place: Path) -> Path:
        """Path here of what a remote address names, which need not exist; local paths as they are."""
        url = as_url(place)
        if url is None:
            return place
        scheme, key = url.split("://", 1)
        key = posixpath.normpath(key)
        if key.split("/")[0] in (".", ".."):
            raise InputError(f"{url}: leads out of its bucket; check the address")
        return self.folder / scheme / key

    def url(self, path: Path) -> str | None:
        """Address of a path of this copy, None for others."""
        if self._temporary is None or not path.is_relative_to(self.folder):
            return None
        scheme, key = path.relative_to(self.folder).as_posix().split("/", 1)
        return f"{scheme}://{key}"

    def place(self, place: Path, *, is_file: bool = False) -> Path:
        """Path here of a file, folder or pattern, with empty files for all that are at a remote one.

        Args:
            is_file: known to be a file: the store is not asked, and if there is none, ``fetched`` says so.

        Raises:
            InputError: the store cannot be read, or holds names that no folder can.
        """
        url, path = as_url(place), self.local(place)
        if url is None:
            return path
        if is_file:
            self._touch(path)
            return path
        parts = url.split("/")
        fixed = next((number for number, part in enumerate(parts) if set(part) & set("*?[")), len(parts))
        remote = Remote("/".join(parts[:fixed]))
        base = self.local(Path(remote.url))
        for name in remote.find():
            if name and not {"", ".", ".."}.isdisjoint(name.split("/")):
                raise InputError(f"{remote.url}/{name}: no name of a file on disk; rename it")
            self._touch(base / name if name else base)
        return path

    def _touch(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            raise InputError(f"{self.url(path)}: no name of a file on disk ({error.strerror})") from error

    @contextmanager
    def fetched(self, paths: Iterable[Path]) -> Iterator[None]:
        """Context in which files, and those directly in folders, have their bytes.

        Raises:
            InputError: one cannot be read.
        """
        files = [file for path in paths for file in (path.iterdir() if path.is_dir() else [path])]
        own = [(file, url) for file in files if file.parent.is_dir() and (url := self.url(file))]
        try:
            for file, url in own:
                if not file.is_dir():
                    folder, name = url.rsplit("/", 1)
                    Remote(folder).download(name, file)
            yield
        finally:
            for file, _ in own:
                if file.is_file():
                    file.write_bytes(b"")


@contextmanager
def private_folder() -> Iterator[Path]:
    """An empty folder that no other user can read, deleted at the end."""
    folder = Path(tempfile.mkdtemp(prefix="vflow-outputs-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
