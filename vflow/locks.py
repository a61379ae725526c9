"""One writer per folder: a second one waits for the first to end, or says who is there."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from vflow.errors import ConfigError

PATIENCE = 30.0  # seconds; a run whose launcher died may still be committing


class FolderLock:
    """Holds ``folder/name`` while its process writes there; the system releases it however that ends.

    Args:
        folder: what is written to; None on processes that do not write.
        doing: what its holder does there, for the message.

    Raises:
        ConfigError: another process still holds it after ``PATIENCE`` seconds.
    """

    def __init__(
        self, folder: Path | None, doing: str, name: str = ".lock", patience: float = PATIENCE
    ) -> None:
        self._file: IO[str] | None = None
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        end, waiting = time.monotonic() + patience, False
        while (file := _claim(folder / name)) is None:
            if not waiting:
                print(f"{folder}: waiting for another process to end its run here", file=sys.stderr)
                waiting = True
            if time.monotonic() > end:
                raise ConfigError(f"{folder}: another process is {doing} here; choose another --output")
            time.sleep(0.2)
        self._file, self._path = file, folder / name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            with suppress(OSError):  # some systems delete no open file
                self._path.unlink()
            self._file.close()


def _claim(path: Path) -> IO[str] | None:
    """The file, locked; None while another process holds it, or has just deleted it."""
    file = path.open("a")
    with suppress(FileNotFoundError):
        if _try_lock(file) and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            return file
    file.close()
    return None


def _try_lock(file: IO[str]) -> bool:
    """Whether the lock is ours now; true where the system or the file system has no such locks."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
