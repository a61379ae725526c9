"""Results on disk: private folders under unguessable names, removed within the hour."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

MAX_RUNS = 40
MAX_AGE = 3000.0  # seconds; with a sweep every five minutes, results are gone within the hour
SWEEP_INTERVAL = 300.0  # seconds
PREFIX = "vflow-app-"


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
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


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

    def new_folder(self) -> Path:
        """A new private folder; makes room by removing old ones."""
        self._remove_old()
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

    def start_sweeper(self) -> None:
        """Keep removing expired runs from a thread of its own, also when nobody makes new ones."""
        threading.Thread(target=self._sweep, daemon=True).start()

    def _sweep(self) -> None:
        while self._root.is_dir():
            self._remove_old()
            time.sleep(SWEEP_INTERVAL)

    def _remove_old(self) -> None:
        with self._lock:
            finished = [f for f in self._root.iterdir() if f.is_dir() and f not in self._running]
            runs = sorted(finished, key=lambda folder: folder.stat().st_mtime)
            expired = [folder for folder in runs if folder.stat().st_mtime < time.time() - MAX_AGE]
            for folder in {*runs[:-MAX_RUNS], *expired}:
                shutil.rmtree(folder, ignore_errors=True)


def free_name(name: str, taken: set[str]) -> str:
    """``name``, with a number where that is taken already; it is added to ``taken``."""
    free = next(n for i in count(1) if (n := name if i == 1 else f"{name}-{i}") not in taken)
    taken.add(free)
    return free
