"""Turns of jobs: few read, one computes, who reads does not keep the model, and no client keeps others."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import AsyncExitStack, aclosing
from functools import wraps
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from apps.ui.shared import turns as module
from apps.ui.shared.turns import (
    ALL_READERS,
    GLANCES,
    READERS,
    Line,
    Party,
    Place,
    Turn,
    Turns,
    address_of,
    work_time,
)
from tests.app.support import run_async

Steps = Generator[str | Turn, None, None]
Taken = AsyncGenerator[str, None]
ALICE, BOB = Party("10.0.0.1", "a"), Party("10.0.0.2", "b")


def reading() -> Steps:
    """A job that reads in two steps, then computes in two."""
    yield Turn.READ
    yield "read"
    yield "read on"
    yield Turn.COMPUTE
    yield "computed"
    yield "computed on"


def drawing() -> Steps:
    """A job without an upload."""
    yield Turn.COMPUTE
    yield "drawn"
    yield "drawn on"


async def rest(job: Taken) -> list[str]:
    return [step async for step in job]


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test, run to its end in an event loop."""

    @wraps(test)
    def run(*values: Any, **named: Any) -> None:
        run_async(asyncio.wait_for(test(*values, **named), 60))

    return run


@pytest.fixture
def told_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits says so again at once."""
    monkeypatch.setattr(module, "NEWS", 0.0)
    monkeypatch.setattr(module, "PATIENCE", 0.05)


def in_line(line: Line, *parties: Party) -> list[Place]:
    places = [Place(party) for party in parties]
    for place in places:
        line.join(place)
    return places


@in_loop
async def test_the_first_of_a_line_have_their_turn_and_those_of_a_session_follow_in_order() -> None:
    line = Line(2, 2)
    a, b, c, d = in_line(line, *[ALICE] * 4)
    line.join(a)
    assert [line.has_turn(place) for place in (a, b, c, d)] == [True, True, False, False]
    assert [line.before(place) for place in (c, d)] == [1, 2]
    line.leave(a)
    line.leave(a)
    assert line.has_turn(c) and line.before(d) == 1


@in_loop
async def test_turns_go_round_the_addresses_and_within_one_round_its_sessions() -> None:
    line = Line(1, 1)
    flood = [Party("10.0.0.1", f"session {number}") for number in range(8)]
    places = in_line(line, *flood, BOB, Party("10.0.0.3", "c"))
    assert [line.before(place) for place in places[1:]] == [1, 4, 5, 6, 7, 8, 9, 2, 3]
    had = []
    for _ in range(14):
        (now,) = [place for place in places if line.has_turn(place)]
        had.append(places.index(now))
        line.pass_on(now)
    assert had[:6] == [0, 8, 9, 1, 8, 9], "an address with eight sessions has no more turns than another"
    assert had[3::3] == [1, 2, 3, 4], "and its sessions take turns"


@in_loop
async def test_an_address_has_its_share_of_a_line_whatever_its_sessions_are_called() -> None:
    line = Line(ALL_READERS, READERS)
    flood = in_line(line, *(Party("10.0.0.1", f"session {number}") for number in range(20)))
    (other,) = in_line(line, BOB)
    assert sum(map(line.has_turn, flood)) == READERS and line.has_turn(other)
    assert line.before(flood[READERS]) == 1


@in_loop
async def test_who_reads_does_not_keep_the_model() -> None:
    turns = Turns()
    async with aclosing(turns.take(reading(), ALICE, str)) as slow:
        assert await anext(slow) == "read"
        assert await rest(turns.take(drawing(), BOB, str)) == ["drawn", "drawn on"]
        assert await rest(slow) == ["read on", "computed", "computed on"]


@pytest.mark.usefixtures("told_often")
@in_loop
async def test_one_computes_and_the_others_say_that_they_wait() -> None:
    turns = Turns()
    async with (
        aclosing(turns.take(drawing(), ALICE, str)) as first,
        aclosing(turns.take(reading(), BOB, str)) as second,
    ):
        assert await anext(first) == "drawn"
        told = [await anext(second) for _ in range(3)]
        assert told == ["read", "read on", "Waiting for the model: 1 job before this one."]
        assert await anext(second) == "None", "an update that changes nothing, now and then"
        assert await rest(first) == ["drawn on"]
        assert await rest(second) == ["Computing…", "computed", "computed on"]


@pytest.mark.parametrize("same", [True, False])
@in_loop
async def test_a_long_job_lets_others_have_the_model_between_its_steps(
    monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    monkeypatch.setattr(module, "SLICE", 0.0)
    turns, steps, there = Turns(), list[str](), list[str]()

    def long(name: str) -> Steps:
        there.append(name)
        yield Turn.COMPUTE
        while len(there) < 2:
            time.sleep(0.01)
        time.sleep(0.3)  # by now the other stands in the line
        for number in range(4):
            steps.append(name)
            yield f"{name} {number}"

    parties = (ALICE, ALICE if same else BOB)
    jobs = [rest(turns.take(long(name), party, str)) for name, party in zip("ab", parties, strict=True)]
    await asyncio.gather(*jobs)
    expected = ("aaaabbbb", "bbbbaaaa") if same else ("abababab", "babababa")
    assert "".join(steps) in expected, "jobs of a session follow one another"


@in_loop
async def test_the_clock_of_work_stands_while_others_have_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE", 0.0)
    turns, took = Turns(), list[float]()

    def timed(seconds: float) -> Steps:
        yield Turn.COMPUTE
        began = work_time()
        for _ in range(2):
            time.sleep(seconds)
            yield "drawn"
        took.append(work_time() - began)

    began = time.monotonic()
    await asyncio.gather(*(rest(turns.take(timed(0.4), party, str)) for party in (ALICE, BOB)))
    assert max(took) < 0.75 * (time.monotonic() - began)


@in_loop
async def test_one_step_waits_for_no_more_than_a_slice_beside_forty_long_jobs() -> None:
    turns, ended = Turns(), threading.Event()

    def endless() -> Steps:
        yield Turn.COMPUTE
        while not ended.wait(0.05):
            yield "drawn"

    flood = [
        asyncio.ensure_future(rest(turns.take(endless(), Party("10.0.0.1", str(number)), str)))
        for number in range(40)
    ]
    await asyncio.sleep(0.5)
    began = time.monotonic()
    async with aclosing(turns.take(drawing(), BOB, str)) as job:
        while await anext(job) != "drawn":
            pass
        seconds = time.monotonic() - began
    ended.set()
    await asyncio.gather(*flood)
    assert seconds < 2 * module.SLICE


@in_loop
async def test_few_read_at_once_those_included_that_compute() -> None:
    turns = Turns()
    jobs = [turns.take(reading(), ALICE, str) for _ in range(READERS + 1)]
    assert [await anext(job) for job in jobs[:-1]] == ["read"] * READERS
    assert await anext(jobs[-1]) == "Waiting for other uploads to be read: 1 job before this one."
    assert [await anext(jobs[0]), await anext(jobs[0])] == ["read on", "computed"]
    assert await anext(turns.take(reading(), BOB, str)) == "read"
    await jobs[1].aclose()
    assert [await anext(jobs[-1]), await anext(jobs[-1])] == ["Reading…", "read"]
    for job in jobs:
        await job.aclose()
    assert await anext(turns.take(reading(), ALICE, str)) == "read"


@in_loop
async def test_who_judges_an_upload_after_the_work_waits_for_no_reader() -> None:
    def judging() -> Steps:
        yield from drawing()
        yield Turn.JUDGE
        yield "judged"

    turns = Turns()
    async with AsyncExitStack() as stack:
        done, busy, *readers = [
            await stack.enter_async_context(aclosing(turns.take(job, ALICE, str)))
            for job in (judging(), drawing(), *(reading() for _ in range(READERS)))
        ]
        assert [await anext(done), await anext(done)] == ["drawn", "drawn on"]
        assert [await anext(job) for job in readers] == ["read"] * READERS
        assert await anext(busy) == "Waiting for the model: 1 job before this one."
        assert await rest(done) == ["judged"]
        assert [await anext(busy), await anext(busy)] == ["Computing…", "drawn"]


@pytest.mark.usefixtures("told_often")
@in_loop
async def test_told_to_stop_while_it_waits_it_goes_on_to_its_end() -> None:
    turns, stopped = Turns(), list[bool]()
    async with aclosing(turns.take(drawing(), ALICE, str)) as first:
        await anext(first)
        second = turns.take(drawing(), BOB, str, lambda: bool(stopped))
        assert await anext(second) == "Waiting for the model: 1 job before this one."
        stopped.append(True)
        assert [await anext(second), await anext(second)] == ["None", "drawn"]
        await second.aclose()


@in_loop
async def test_a_job_that_fails_or_is_closed_gives_its_turn_back() -> None:
    def failing() -> Steps:
        yield Turn.COMPUTE
        raise ValueError

    turns = Turns()
    with pytest.raises(ValueError):
        await anext(turns.take(failing(), ALICE, str))
    async with aclosing(turns.take(drawing(), ALICE, str)) as closed:
        await anext(closed)
    assert await rest(turns.take(drawing(), ALICE, str)) == ["drawn", "drawn on"]


@in_loop
async def test_a_job_that_is_cancelled_keeps_its_turn_until_its_step_is_done() -> None:
    turns, done = Turns(), list[str]()

    def slow() -> Steps:
        try:
            yield Turn.COMPUTE
            time.sleep(0.3)
            done.append("step")
            yield "drawn"
        finally:
            done.append("closed")

    running = asyncio.ensure_future(rest(turns.take(slow(), ALICE, str)))
    for _ in range(2):  # as gradio's queue does at the end of the app, and then asyncio
        await asyncio.sleep(0.1)
        running.cancel()
    assert (await rest(turns.take(drawing(), BOB, str)))[-2:] == ["drawn", "drawn on"]
    assert done == ["step", "closed"] and running.cancelled()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system's allocator decides")
@in_loop
async def test_memory_of_a_job_is_given_back_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REST", 0.1)
    turns, kept, process = Turns(), list[bytearray](), psutil.Process()

    def hungry() -> Steps:
        yield Turn.COMPUTE
        blocks = [bytearray(60_000) for _ in range(5000)]  # too small for pages of their own
        kept.extend(blocks[::100])  # so that none of its heaps is free as a whole
        cycle: list[Any] = [blocks]
        cycle.append(cycle)
        yield "drawn"

    before = process.memory_info().rss
    assert await rest(turns.take(hungry(), ALICE, str)) == ["drawn"]
    for _ in range(100):
        await asyncio.sleep(0.1)
        grown = process.memory_info().rss - before
        if grown < 60 * 2**20:
            return
    raise AssertionError(f"{grown / 2**20:.0f} MiB of 286 are still there")


@in_loop
async def test_few_look_at_uploads_at_once() -> None:
    inside, most, turns = set[int](), list[int](), Turns()

    def look(number: int) -> int:
        inside.add(number)
        most.append(len(inside))
        time.sleep(0.05)
        inside.remove(number)
        return number

    glance = turns.glance(look)
    assert await asyncio.gather(*(glance(number) for number in range(3 * GLANCES))) == list(
        range(3 * GLANCES)
    )
    assert 1 < max(most) <= GLANCES


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
    ],
)
def test_an_address_is_what_a_client_cannot_choose(host: str, address: str) -> None:
    assert address_of(SimpleNamespace(client=SimpleNamespace(host=host))) == address
