"""Running jobs: who may stop them, and how long they will take."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Jobs:
    """Stop flags by browser session and measured seconds per frame by checkpoint."""

    def __init__(self) -> None:
        self._running: dict[str, threading.Event] = {}
        self._seconds: dict[str, float] = {}

    @contextmanager
    def running(self, session: str) -> Iterator[threading.Event]:
        """Flag that ``stop(session)`` sets; forgotten when the job ends."""
        flag = self._running[session] = threading.Event()
        try:
            yield flag
        finally:
            if self._running.get(session) is flag:
                del self._running[session]

    def stop(self, session: str) -> bool:
        """Ask the session's job to end after the frame it is at; False when nothing runs."""
        flag = self._running.get(session)
        if flag is not None:
            flag.set()
        return flag is not None

    def clock(self, name: str, work: int) -> Clock:
        """Estimator for a job of checkpoint ``name`` whose frame costs ``work`` units (padded samples)."""
        return Clock(self._seconds, name, max(1, work))


class Clock:
    """Seconds left, from this job's own frames or, before the first, from earlier jobs."""

    def __init__(self, seconds: dict[str, float], name: str, work: int) -> None:
        self._seconds, self._name, self._work = seconds, name, work
        self.began = self._last = time.monotonic()

    def frame_done(self) -> None:
        """Learn from the frame that has just been finished."""
        now = time.monotonic()
        measured = (now - self._last) / self._work
        known = self._seconds.get(self._name, measured)
        self._seconds[self._name] = 0.5 * (known + measured)
        self._last = now

    def elapsed(self) -> float:
        """Seconds since the job began."""
        return time.monotonic() - self.began

    def left(self, frames: int) -> float | None:
        """Seconds that ``frames`` more frames will take; None when nothing was ever measured."""
        seconds = self._seconds.get(self._name)
        return None if seconds is None else seconds * self._work * frames
