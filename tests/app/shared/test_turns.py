"""Turns of jobs: few read, one computes, and whoever reads does not keep the model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import closing

from apps.ui.shared.turns import GLANCES, READERS, Line, Turn, Turns
from tests.app.support import run_async

Steps = Generator[str | Turn, None, None]


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


def test_the_first_of_a_line_have_their_turn_and_others_follow_in_order() -> None:
    line, jobs = Line(2), list("abcd")
    for job in (*jobs, "a"):
        line.join(job)
    assert [line.before(job) for job in jobs] == [0, 0, 1, 2]
    line.leave("a")
    line.leave("a")
    assert [line.before(job) for job in jobs[1:]] == [0, 0, 1]


def test_who_reads_does_not_keep_the_model() -> None:
    turns = Turns()
    with closing(turns.take(reading(), str)) as slow:
        assert next(slow) == "read"
        assert list(turns.take(drawing(), str)) == ["drawn", "drawn on"]
        assert list(slow) == ["read on", "computed", "computed on"]


def test_one_computes_and_the_others_say_that_they_wait() -> None:
    turns = Turns()
    with closing(turns.take(drawing(), str)) as first, closing(turns.take(reading(), str)) as second:
        assert next(first) == "drawn"
        told = [next(second) for _ in range(3)]
        assert told == ["read", "read on", "Waiting for the model: 1 job before this one."]
        assert next(second) == "None", "an update that changes nothing, now and then"
        assert list(first) == ["drawn on"]
        assert list(second) == ["Computing…", "computed", "computed on"]


def test_few_read_at_once_those_included_that_wait_for_the_model() -> None:
    turns = Turns()
    jobs = [turns.take(reading(), str) for _ in range(READERS + 1)]
    assert [next(job) for job in jobs[:-1]] == ["read"] * READERS
    assert next(jobs[-1]) == "Waiting for other uploads to be read: 1 job before this one."
    jobs[1].close()
    assert [next(jobs[-1]), next(jobs[-1])] == ["Reading…", "read"]
    for job in jobs:
        job.close()
    assert next(turns.take(reading(), str)) == "read"


def test_who_judges_an_upload_after_the_work_waits_for_no_reader() -> None:
    def judging() -> Steps:
        yield from drawing()
        yield Turn.JUDGE
        yield "judged"

    turns = Turns()
    done, busy = turns.take(judging(), str), turns.take(drawing(), str)
    readers = [turns.take(reading(), str) for _ in range(READERS)]
    with closing(done), closing(busy):
        assert [next(done), next(done)] == ["drawn", "drawn on"]
        assert [next(job) for job in readers] == ["read"] * READERS
        assert next(busy) == "Waiting for the model: 1 job before this one."
        assert list(done) == ["judged"]
        assert [next(busy), next(busy)] == ["Computing…", "drawn"]
    for job in readers:
        job.close()


def test_told_to_stop_while_it_waits_it_goes_on_to_its_end() -> None:
    turns, stopped = Turns(), list[bool]()
    with closing(turns.take(drawing(), str)) as first:
        next(first)
        second = turns.take(drawing(), str, lambda: bool(stopped))
        assert next(second) == "Waiting for the model: 1 job before this one."
        stopped.append(True)
        assert [next(second), next(second)] == ["None", "drawn"]


def test_a_job_that_fails_or_is_closed_gives_its_turn_back() -> None:
    def failing() -> Steps:
        yield Turn.COMPUTE
        raise ValueError

    turns = Turns()
    for job in (failing(), drawing()):
        with closing(turns.take(job, str)) as steps:
            try:
                next(steps)
            except ValueError:
                continue
    assert list(turns.take(drawing(), str)) == ["drawn", "drawn on"]


def test_few_look_at_uploads_at_once() -> None:
    inside, most, turns = set[int](), list[int](), Turns()

    def look(number: int) -> int:
        inside.add(number)
        most.append(len(inside))
        time.sleep(0.05)
        inside.remove(number)
        return number

    async def all_at_once() -> list[int]:
        glance = turns.glance(look)
        return await asyncio.gather(*(glance(number) for number in range(3 * GLANCES)))

    assert run_async(all_at_once()) == list(range(3 * GLANCES))
    assert 1 < max(most) <= GLANCES
