"""Turns of jobs: a few read or judge uploads at once, one computes; turns go round addresses and sessions."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable
from contextlib import suppress
from contextvars import ContextVar, copy_context
from enum import Enum
from functools import partial, wraps
from ipaddress import IPv6Address, ip_address, ip_network
from itertools import zip_longest
from threading import Event
from typing import Any, NamedTuple, TypeVar

from anyio import to_thread

from vflow.devices import release_memory
from vflow.errors import counted

S = TypeVar("S")
T = TypeVar("T")
READERS = 3
"""Uploads of an address in memory at once, from their reading to the end of the work on them."""
ALL_READERS = 12
"""The same, of all addresses."""
JUDGES = 3
"""Uploads judged at once after the work on them."""
GLANCES = 8
"""Answers that look at an upload at once; with the jobs under way they take fewer threads than there are."""
SLICE = 2.0
"""Seconds after which a job that computes lets others that wait have the turn, once its step is done."""
PATIENCE = 1.0
"""Seconds between two looks at whether a job that waits is to stop."""
NEWS = 3.0
"""Seconds between two updates of a job that waits."""
REST = 5.0
"""Seconds from the end of a job until its memory is given back, with that of others that end meanwhile."""


class Turn(Enum):
    """A turn that a job asks for by yielding it: what follows is done in that turn."""

    READ = "Waiting for other uploads to be read", "Reading…"
    COMPUTE = "Waiting for the model", "Computing…"
    JUDGE = "Waiting for other uploads to be checked", "Checking the upload…"


class Party(NamedTuple):
    """Whose turn it is: a client's address, and its session, whose name the client chooses."""

    address: str
    session: str

    @classmethod
    def of(cls, request: Any) -> Party:
        """The party of a request to an event."""
        return cls(address_of(request), str(getattr(request, "session_hash", None) or ""))


def address_of(request: Any) -> str:
    """Address of a request's client; of IPv6 the /64 network, all of whose addresses are one client's."""
    host = request.client.host if request.client else ""
    try:
        address = ip_address(host)
    except ValueError:
        return str(host)
    if not isinstance(address, IPv6Address):
        return str(address)
    return str(address.ipv4_mapped or ip_network((address.packed, 64), strict=False))


class Place:
    """A job's place in lines."""

    def __init__(self, party: Party) -> None:
        self.party = party
        self.changed = asyncio.Event()
        self.since = 0.0
        self.passed = 0.0


_PLACE: ContextVar[Place] = ContextVar("place")


def work_time() -> float:
    """A clock in seconds that stands while others have the turn of the job whose step reads it."""
    place = _PLACE.get(None)
    return time.monotonic() - (0.0 if place is None else place.passed)


class Line:
    """Jobs that have a turn, ``size`` at most and ``share`` of an address, and those that wait for one.

    Turns go round the addresses, and those of an address round its sessions; the jobs of a session follow in
    order of arrival. To be used in one event loop.
    """

    def __init__(self, size: int, share: int) -> None:
        self._size, self._share, self._having = size, share, set[Place]()
        self._waiting: dict[str, dict[str, deque[Place]]] = {}  # in the order of the next round

    def has_turn(self, place: Place) -> bool:
        """True from the time that the job gets its turn until it leaves."""
        return place in self._having

    def is_idle(self) -> bool:
        """True where no job waits."""
        return not self._waiting

    def join(self, place: Place) -> None:
        """Stand in the line; nothing changes for a job that stands in it."""
        if place not in self._having and place not in self._order():
            self._sessions(place).append(place)
            self._deal()

    def pass_on(self, place: Place) -> None:
        """Let the others have the turn first, but none of the job's own session."""
        self._having.discard(place)
        address, _ = place.party
        if address in self._waiting:
            self._waiting[address] = self._waiting.pop(address)
        self._sessions(place).appendleft(place)
        self._deal()

    def leave(self, place: Place) -> None:
        """Make room, if the job stands in the line."""
        if place in self._having:
            self._having.discard(place)
        elif place in self._order():
            self._remove(place)
        self._deal()

    def before(self, place: Place) -> int:
        """Jobs that have their turn before this one, one of those included that have it now."""
        ahead = self._order()
        ahead = ahead[: ahead.index(place)]
        if len(self._having) < self._size:  # it waits for its own address's
            ahead = [other for other in ahead if other.party.address == place.party.address]
        return 1 + len(ahead)

    def _sessions(self, place: Place) -> deque[Place]:
        address, session = place.party
        return self._waiting.setdefault(address, {}).setdefault(session, deque())

    def _order(self) -> list[Place]:
        """Those that wait, the next one first."""
        return _in_rounds(_in_rounds(sessions.values()) for sessions in self._waiting.values())

    def _remove(self, place: Place) -> None:
        address, session = place.party
        self._waiting[address][session].remove(place)
        if not self._waiting[address][session]:
            del self._waiting[address][session]
        if not self._waiting[address]:
            del self._waiting[address]

    def _deal(self) -> None:
        """Give turns, as many as there are."""
        while len(self._having) < self._size:
            addresses = [place.party.address for place in self._having]
            fitting = (p for p in self._order() if addresses.count(p.party.address) < self._share)
            if (place := next(fitting, None)) is None:
                return
            self._remove(place)
            address, session = place.party
            if sessions := self._waiting.pop(address, None):
                if waiting := sessions.pop(session, None):
                    sessions[session] = waiting
                self._waiting[address] = sessions
            self._having.add(place)
            place.since = time.monotonic()
            place.changed.set()


def _in_rounds(lists: Iterable[Iterable[Place]]) -> list[Place]:
    """The first of each list, then the second of each, and so on."""
    return [place for places in zip_longest(*lists) for place in places if place is not None]


class Turns:
    """Turns of all jobs of an app, each of which is taken to its end in the same event loop.

    Whoever waits holds no thread. A job keeps its place among the readers until the work on its upload is
    done, so few uploads are in memory at once; and nobody keeps the model while an upload is read. A job that
    only judges an upload after its work waits for no reader, and so for no other job's work.
    """

    def __init__(self) -> None:
        self._lines = {
            Turn.READ: Line(ALL_READERS, READERS),
            Turn.COMPUTE: Line(1, 1),
            Turn.JUDGE: Line(JUDGES, JUDGES),
        }
        self._glances = asyncio.Semaphore(GLANCES)
        self._release: asyncio.TimerHandle | None = None

    def glance(self, answer: Callable[..., T]) -> Callable[..., Coroutine[Any, Any, T]]:
        """``answer`` to an event that looks at an upload: few at once; who waits holds no thread."""

        @wraps(answer)
        async def run(*values: Any) -> T:
            async with self._glances:
                return await to_thread.run_sync(partial(answer, *values))

        return run

    async def take(
        self,
        steps: Generator[S | Turn, None, None],
        party: Party,
        waiting: Callable[[str | None], S],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> AsyncGenerator[S, None]:
        """The steps of a job, each in a thread and in the turn that the job asked for last.

        A job that computes for longer than ``SLICE`` while others wait goes on when its turn comes round
        again. One that is stopped while it waits continues without its turn, so that it can end.

        Args:
            waiting: update for a text which says that the job waits, or that it goes on; for None an update
                that changes nothing, yielded now and then so that the job can be closed.
        """
        place, model, end, context = Place(party), self._lines[Turn.COMPUTE], object(), copy_context()
        context.run(_PLACE.set, place)
        stepping = Event()

        def advance() -> Any:
            stepping.set()
            try:
                return context.run(next, steps, end)
            finally:
                stepping.clear()

        try:
            while (step := await _in_thread(advance)) is not end:
                if isinstance(step, Turn):
                    async for news in self._wait(place, step, waiting, should_stop):
                        yield news
                    continue
                yield step
                if model.has_turn(place) and not model.is_idle() and time.monotonic() - place.since > SLICE:
                    began = time.monotonic()
                    model.pass_on(place)
                    async for _ in self._wait(place, Turn.COMPUTE, waiting, should_stop):
                        yield waiting(None)
                    place.passed += time.monotonic() - began
        finally:
            try:
                if not stepping.is_set():  # as it is where the server ends and leaves threads in their steps
                    await _in_thread(steps.close)
            finally:
                for line in self._lines.values():
                    line.leave(place)
                loop = asyncio.get_running_loop()
                self._release = self._release or loop.call_later(REST, self._release_memory, loop)

    def _release_memory(self, loop: asyncio.AbstractEventLoop) -> None:
        self._release = None
        loop.run_in_executor(None, release_memory)

    async def _wait(
        self, place: Place, turn: Turn, waiting: Callable[[str | None], S], should_stop: Callable[[], bool]
    ) -> AsyncGenerator[S, None]:
        line = self._lines[turn]
        if turn is not Turn.COMPUTE:
            for left in (Turn.READ, Turn.COMPUTE):
                self._lines[left].leave(place)
        line.join(place)
        (waits, begins), told, when = turn.value, "", -NEWS
        while not line.has_turn(place):
            if time.monotonic() - when >= NEWS:
                news = f"{waits}: {counted(line.before(place), 'job')} before this one."
                yield waiting(None if news == told else news)
                told, when = news, time.monotonic()
            place.changed.clear()
            if not line.has_turn(place):
                with suppress(TimeoutError):
                    await asyncio.wait_for(place.changed.wait(), PATIENCE)
            if should_stop():
                yield waiting(None)  # ends here if it is superseded
                return
        if told:
            yield waiting(begins)


async def _in_thread(work: Callable[..., Any], *values: Any) -> Any:
    """Result of ``work`` in a thread; it ends before a cancellation goes on, or a second one."""
    running = asyncio.ensure_future(to_thread.run_sync(work, *values))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        running.exception()  # which nobody waits for
        raise
