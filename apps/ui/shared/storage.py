"""Uploads and results on disk: private folders under unguessable names, removed within the hour."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from vflow.errors import InputError

MAX_RUNS = 40
MAX_AGE = 3000.0  # seconds; with a sweep every five minutes, results are gone within the hour
SWEEP_INTERVAL = 300.0  # seconds
UNFINISHED_AGE = 300.0  # seconds after which nobody is about to fill an empty folder
PREFIX = "vflow-app-"
RUNS = "runs"
_PRIVATE: list[Path] = []


@contextmanager
def still_there(message: str) -> Iterator[None]:
    """For reading and writing in a folder of results, which may be cleared at any time.

    Raises:
        InputError: it was; with the message.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(message) from error


def private_folder(parent: Path) -> Path:
    """New folder below ``parent`` that this user alone can read, removed when the process ends.

    Folders of apps that were killed are removed first. An app holds a lock on its folder while it lives; a
    folder gets its name after its lock, so that no other start ever finds it without.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for folder in parent.glob(f"{PREFIX}*"):
        if folder.is_dir() and not folder.is_symlink() and _lock(folder):
            shutil.rmtree(folder, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent)).resolve()
    _lock(draft)
    folder = draft.rename(draft.with_name(draft.name.removeprefix(".")))
    _PRIVATE.append(folder)
    return folder


@atexit.register
def remove_private_folders() -> None:
    """Remove all of this process, in some attempts while jobs still write into them."""
    for folder in _PRIVATE * 3:
        shutil.rmtree(folder, ignore_errors=True)


def _lock(folder: Path) -> bool:
    """Lock ``folder`` until this process ends; False where another process holds it, or on Windows."""
    if sys.platform == "win32":  # nor can it delete files in use
        return False
    import fcntl

    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # another user's
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    return True


class RunStore:
    """Folders of results below ``root``; old ones and those beyond a number are removed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._running: set[Path] = set()

    def holds(self, path: Path) -> bool:
        """True for a file of a run, which nobody uploaded."""
        return path.is_relative_to(self._root)

    def new_folder(self) -> Path:
        """A new private folder; makes room by removing old ones."""
        self.remove_old()
        folder = self._root / secrets.token_hex(16)
        folder.mkdir(mode=0o700)
        return folder

    @contextmanager
    def job_folder(self) -> Iterator[Path]:
        """A new folder for all results of one job: it counts as one run, and stays while the job runs."""
        folder = self.new_folder()
        self._running.add(folder)
        try:
            yield folder
        finally:
            with self._lock, suppress(FileNotFoundError):
                self._running.discard(folder)
                if any(folder.iterdir()):
                    os.utime(folder)  # its age counts from the end of the job
                else:
                    folder.rmdir()

    def remove_old(self) -> None:
        """Remove runs that are old or too many."""
        with self._lock:
            finished = [f for f in self._root.iterdir() if f.is_dir() and f not in self._running]
            runs = sorted(finished, key=lambda folder: folder.stat().st_mtime)
            expired = [folder for folder in runs if folder.stat().st_mtime < time.time() - MAX_AGE]
            for folder in {*runs[:-MAX_RUNS], *expired}:
                shutil.rmtree(folder, ignore_errors=True)


def start_sweeper(runs: RunStore, cache: Path) -> None:
    """Keep removing old runs and uploads from a thread of its own; the page's own files in ``cache`` stay."""
    own = {path for path in cache.rglob("*") if path.is_file()}

    def sweep() -> None:
        while cache.is_dir():
            runs.remove_old()
            remove_old_uploads(cache, own)
            time.sleep(SWEEP_INTERVAL)

    threading.Thread(target=sweep, daemon=True).start()


def remove_old_uploads(cache: Path, own: Set[Path] = frozenset()) -> None:
    """Remove what was uploaded to ``cache`` an hour ago, cut off or whole, and folders that are empty.

    Args:
        cache: the app's folder.
        own: files of the page, which stay.
    """
    for path, folders, names in _uploads(cache):
        for name in set(names):
            file = path / name
            with suppress(FileNotFoundError):
                if file not in own and _age(file) > MAX_AGE:
                    file.unlink()
        with suppress(OSError):  # there is something in it, or was something meanwhile
            if not folders and path != cache and _age(path) > UNFINISHED_AGE:
                path.rmdir()


def uploaded_bytes(cache: Path) -> int:
    """Size of all that was uploaded to ``cache``, without uploads that are under way."""
    total = 0
    for path, _, names in _uploads(cache):
        for name in names if path != cache else ():
            with suppress(FileNotFoundError):
                total += (path / name).stat().st_size
    return total


def _uploads(cache: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Folders of uploads with the names of their folders and files, inner ones first."""
    for path, folders, names in os.walk(cache, topdown=False):
        if not (folder := Path(path)).is_relative_to(cache / RUNS):
            yield folder, folders, names


def _age(path: Path) -> float:
    """Seconds since a file was written or moved."""
    status = path.lstat()
    return time.time() - max(status.st_mtime, status.st_ctime)


def free_name(name: str, taken: set[str]) -> str:
    """``name``, with a number where that is taken already; it is added to ``taken``."""
    free = next(n for i in count(1) if (n := name if i == 1 else f"{name}-{i}") not in taken)
    taken.add(free)
    return free
