"""Jobs of browser sessions: which request counts, who may stop it, and the time it will take."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from .turns import work_time

S = TypeVar("S")
T = TypeVar("T")
U = TypeVar("U")
Work = Callable[[Callable[[], bool]], Generator[Any, None, None]]
"""A job, given ``should_stop``: ends early when told to stop."""


@dataclass
class RequestedJob:
    """Job, what it is about, and why it is to end: its user pressed Stop, or asked for something newer."""

    work: Work
    about: Any = None
    stopped: bool = False
    superseded: bool = False

    def should_stop(self) -> bool:
        """True once the job is to end after the step it is at."""
        return self.stopped or self.superseded


class Jobs:
    """Newest request and running job of each key (a tab of a session); seconds per frame of each model."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, RequestedJob] = {}
        self._running: dict[str, RequestedJob] = {}
        self._count = 0
        self._newest: dict[str, int] = {}
        self._seconds: dict[str, float] = {}

    def begin(self, key: str) -> int:
        """Number of a request under preparation: events are answered side by side, not in their order."""
        with self._lock:
            self._count += 1
            self._newest[key] = self._count
            return self._count

    def request(self, key: str, work: Work, number: int | None = None, about: Any = None) -> bool:
        """A new request, which supersedes the one that waits or runs.

        Returns False, and does nothing, where another has begun since ``begin`` gave its ``number``.

        Args:
            about: what ``discard`` knows the job by, such as the files that it reads.
        """
        with self._lock:
            if number is not None and self._newest.get(key) != number:
                return False
            self._newest.pop(key, None)
            self._waiting[key] = RequestedJob(work, about)
            if job := self._running.get(key):
                job.superseded = True
            return True

    def withdraw(self, key: str) -> None:
        """Forget the request that waits."""
        with self._lock:
            self._waiting.pop(key, None)

    def discard(self, key: str, unless: Any = None) -> bool:
        """Forget the request that waits, and let the one that runs end without a result.

        Returns False, and does nothing, where the newest of them is about ``unless`` and nothing ends it.
        """
        with self._lock:
            newest = self._waiting.get(key) or self._running.get(key)
            if newest and not newest.superseded and unless is not None and newest.about == unless:
                return False
            self._waiting.pop(key, None)
            if job := self._running.get(key):
                job.superseded = True
            return True

    @contextmanager
    def running(self, key: str) -> Iterator[RequestedJob | None]:
        """The job of the newest request; None if that has run already."""
        with self._lock:
            job = self._waiting.pop(key, None)
            if job:
                self._running[key] = job
        try:
            yield job
        finally:
            with self._lock:
                if job and self._running.get(key) is job:
                    del self._running[key]

    def stop(self, key: str) -> bool:
        """Ask the job to end after the step it is at; False when none runs."""
        with self._lock:
            job = self._running.get(key)
            if job:
                job.stopped = True
            return job is not None

    def expected(self, name: str, work: int) -> float | None:
        """Seconds that ``work`` units of checkpoint ``name`` will take; None where nothing was measured."""
        seconds = self._seconds.get(name)
        return None if seconds is None else seconds * work

    def clock(self, name: str, work: int) -> Clock:
        """Estimator for a job of checkpoint ``name`` whose frame costs ``work`` units (padded samples)."""
        return Clock(self._seconds, name, max(1, work))


def paced(steps: Iterator[float], seconds: float = 0.5) -> Iterator[float]:
    """Those of ``steps`` that come ``seconds`` or more after the one before.

    A page that gets updates faster than it draws shows none of them.
    """
    last = time.monotonic()
    for step in steps:
        if time.monotonic() - last >= seconds:
            yield step
            last = time.monotonic()


class Abandoned(Exception):
    """Nobody waits for the work any more."""


def in_thread(work: Callable[[Callable[[S], None]], T], seconds: float = 0.5) -> Generator[S, None, T]:
    """Result of ``work``, which runs in a thread; yields the newest of its reports, now and then.

    ``work`` takes the function to report to, which holds it up while the generator is, such as until its
    turn comes round again. Once the generator is closed, that ends the work at its next report.
    """
    reports, abandoned, going = deque[S](maxlen=1), threading.Event(), threading.Event()
    going.set()

    def report(what: S) -> None:
        going.wait()
        if abandoned.is_set():
            raise Abandoned
        reports.append(what)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work, report)
        try:
            while not wait([running], seconds).done:
                if reports:
                    going.clear()
                    yield reports.pop()
                    going.set()
        finally:
            abandoned.set()
            going.set()
        return running.result()


class Clock:
    """Seconds left, from this job's own frames or, before the first, from earlier jobs."""

    def __init__(self, seconds: dict[str, float], name: str, work: int) -> None:
        self._seconds, self._name, self._work = seconds, name, work
        self._began = self._last = work_time()

    def frame_done(self, share: float = 1.0) -> None:
        """Learn from the frame, or the ``share`` of one, that has just been finished."""
        now = work_time()
        measured = (now - self._last) / (self._work * share)
        known = self._seconds.get(self._name, measured)
        self._seconds[self._name] = 0.5 * (known + measured)
        self._last = now

    def elapsed(self) -> float:
        """Seconds since the job began."""
        return work_time() - self._began

    def remaining(self, frames: float) -> float | None:
        """Seconds that ``frames`` more frames will take; None when nothing was ever measured."""
        seconds = self._seconds.get(self._name)
        return None if seconds is None else seconds * self._work * frames
