"""Turns of jobs: a few read or judge uploads at once, one computes, and others wait in order of arrival."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import closing
from enum import Enum
from functools import partial, wraps
from typing import Any, TypeVar

from anyio import to_thread

from vflow.errors import counted

S = TypeVar("S")
T = TypeVar("T")
READERS = 3
"""Uploads read at once, those included that have been read and wait for the model: each takes memory."""
JUDGES = 3
"""Uploads judged at once after the work on them."""
GLANCES = 8
"""Answers that look at an upload at once; with the jobs under way they take fewer threads than there are."""
PATIENCE = 1.0
"""Seconds between two looks at who still waits."""


class Turn(Enum):
    """A turn that a job asks for by yielding it: what follows is done in that turn."""

    READ = "Waiting for other uploads to be read", "Reading…"
    COMPUTE = "Waiting for the model", "Computing…"
    JUDGE = "Waiting for other uploads to be checked", "Checking the upload…"


class Line:
    """Jobs in order of arrival, the first ``size`` of which have their turn."""

    def __init__(self, size: int) -> None:
        self._size, self._jobs, self._changed = size, list[object](), threading.Condition()

    def join(self, job: object) -> None:
        """Stand at the end; nothing changes for a job that stands in the line."""
        with self._changed:
            if job not in self._jobs:
                self._jobs.append(job)

    def before(self, job: object, seconds: float = 0.0) -> int:
        """Jobs that must leave before it is this one's turn, after waiting ``seconds`` for none at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._before(job), seconds)
            return self._before(job)

    def _before(self, job: object) -> int:
        return max(0, self._jobs.index(job) + 1 - self._size)

    def leave(self, job: object) -> None:
        """Make room, if the job stands in the line."""
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                self._changed.notify_all()


class Turns:
    """Turns of all jobs of an app.

    Whoever waits for the model keeps its place among the readers, so few uploads are in memory at once; and
    nobody keeps the model while an upload is read. A job that only judges an upload after its work waits for
    no reader, and so for no other job's work.
    """

    def __init__(self) -> None:
        self._lines = {Turn.READ: Line(READERS), Turn.COMPUTE: Line(1), Turn.JUDGE: Line(JUDGES)}
        self._glances = asyncio.Semaphore(GLANCES)

    def glance(self, answer: Callable[..., T]) -> Callable[..., Coroutine[Any, Any, T]]:
        """``answer`` to an event that looks at an upload: few at once; who waits holds no thread."""

        @wraps(answer)
        async def run(*values: Any) -> T:
            async with self._glances:
                return await to_thread.run_sync(partial(answer, *values))

        return run

    def take(
        self,
        steps: Generator[S | Turn, None, None],
        waiting: Callable[[str | None], S],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Generator[S, None, None]:
        """The steps of a job, each in the turn that it asked for last.

        A job that is stopped while it waits continues without its turn, so that it can end.

        Args:
            waiting: update for a text which says that the job waits, or that it goes on; for None an update
                that changes nothing, yielded now and then so that the job can be closed.
        """
        job = object()
        try:
            with closing(steps):
                for step in steps:
                    if isinstance(step, Turn):
                        yield from self._wait(job, step, waiting, should_stop)
                    else:
                        yield step
        finally:
            for line in self._lines.values():
                line.leave(job)

    def _wait(
        self, job: object, turn: Turn, waiting: Callable[[str | None], S], should_stop: Callable[[], bool]
    ) -> Generator[S, None, None]:
        line = self._lines[turn]
        if turn is not Turn.COMPUTE:
            self._lines[Turn.COMPUTE].leave(job)
        line.join(job)
        (waits, begins), previous = turn.value, 0
        while before := line.before(job, PATIENCE if previous else 0):
            news = f"{waits}: {counted(before, 'job')} before this one."
            yield waiting(None if before == previous else news)
            previous = before
            if should_stop():
                yield waiting(None)  # ends here if it is superseded
                return
        if turn is Turn.COMPUTE:
            self._lines[Turn.READ].leave(job)
        if previous:
            yield waiting(begins)
