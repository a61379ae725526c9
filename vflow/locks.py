"""Locks on folders: one writer at a time."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from vflow.errors import ConfigError, InputError

PATIENCE = 30.0  # seconds; a run whose launcher died may still be committing


class FolderLock:
    """Exclusive lock on a folder, held by ``folder/name`` until its process releases it or ends.

    The folder is made if it is not there, and does not stay where the work fails before it wrote anything.

    Args:
        folder: None on processes that do not write: nothing is locked.
        activity: of the holder, for the message ("training").
        patience: seconds to wait for another holder.

    Raises:
        ConfigError: another process still holds it after ``patience``. InputError: it cannot be
            written to.
    """

    def __init__(
        self, folder: Path | None, activity: str, name: str = ".lock", patience: float = PATIENCE
    ) -> None:
        self._lock: FileLock | None = None
        self._made: list[Path] = []
        if folder is None:
            return
        lock = FileLock(folder / name, thread_local=False)
        try:
            self._made = [path for path in (folder, *folder.parents) if not path.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
        except Timeout:
            print(f"{folder}: waiting for another process to end its run here", file=sys.stderr)
            try:
                lock.acquire(timeout=patience, poll_interval=0.2)
            except Timeout as error:
                message = f"{folder}: another process is {activity} here; choose another --output"
                raise ConfigError(message) from error
        except FileExistsError as error:
            raise InputError(f"{folder}: is a file, not a folder; choose another --output") from error
        except OSError as error:
            raise InputError(f"{folder}: cannot write ({error.strerror}); choose another --output") from error
        self._lock = lock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._lock:
            with suppress(OSError):  # some systems delete no open file
                Path(self._lock.lock_file).unlink()
            self._lock.release()
        if kind:
            with suppress(OSError):  # what was written stays
                for path in self._made:
                    path.rmdir()
