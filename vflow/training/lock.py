"""One run per folder: a second trainer waits for the first to end, or says who is there."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import IO, Self

from vflow.errors import ConfigError

PATIENCE = 30.0  # seconds; a run whose launcher died may still be committing


class RunLock:
    """Holds ``folder/.lock`` while training; the system releases it however the process ends.

    Args:
        folder: of the run; None on processes that do not write.

    Raises:
        ConfigError: another process still trains there after ``PATIENCE`` seconds.
    """

    def __init__(self, folder: Path | None, patience: float = PATIENCE) -> None:
        self._file: IO[str] | None = None
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / ".lock").open("a")
        end, waiting = time.monotonic() + patience, False
        while not _try_lock(self._file):
            if not waiting:
                print(f"{folder}: waiting for another process to end its run here", file=sys.stderr)
                waiting = True
            if time.monotonic() > end:
                self._file.close()
                raise ConfigError(f"{folder}: another process is training here; choose another --output")
            time.sleep(0.2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()


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
