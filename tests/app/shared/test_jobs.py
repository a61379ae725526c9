"""Requests that supersede each other, Stop, and the time left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing

import gradio as gr
import pytest

from apps.ui.shared.events import NewestPayload
from apps.ui.shared.jobs import Abandoned, Jobs, in_thread, paced


def work(should_stop: Callable[[], bool]) -> Generator[str, None, None]:
    yield "worked"


def test_stop_reaches_only_its_own_session() -> None:
    jobs = Jobs()
    for key in "ab":
        jobs.request(key, work)
    with jobs.running("a") as first, jobs.running("b") as second:
        assert first is not None and second is not None
        assert jobs.stop("a")
        assert first.should_stop() and not second.should_stop()
    assert not jobs.stop("a")


def test_a_new_request_ends_the_job_that_runs() -> None:
    jobs = Jobs()
    jobs.request("a", work)
    with jobs.running("a") as job:
        jobs.request("b", work)
        assert job is not None and not job.should_stop()
        jobs.request("a", work)
        assert job.superseded and job.should_stop() and not job.stopped


def test_of_two_payloads_the_newer_stays() -> None:
    newest = NewestPayload()
    assert newest.take(gr.EventData(None, {"time": 20.5}), "second")
    assert not newest.take(gr.EventData(None, {"time": 10.0}), "first")
    assert newest.value == "second"


def test_only_the_newest_request_runs_and_only_once() -> None:
    jobs = Jobs()
    for text in ("old", "new"):
        jobs.request("a", lambda should_stop, text=text: (text for _ in range(1)))
    with jobs.running("a") as job:
        assert job is not None and list(job.work(job.should_stop)) == ["new"]
    with jobs.running("a") as job:
        assert job is None
    jobs.request("a", work)
    jobs.withdraw("a")
    with jobs.running("a") as job:
        assert job is None


def test_of_discarded_jobs_those_about_the_newest_input_are_spared() -> None:
    jobs = Jobs()
    assert jobs.discard("a", unless=["new"]), "there is none"
    jobs.request("a", work, about=["old"])
    with jobs.running("a") as old:
        assert old is not None
        assert not jobs.discard("a", unless=["old"]) and not old.superseded
        jobs.request("a", work, about=["new"])
        assert not jobs.discard("a", unless=["new"])
        with jobs.running("a") as new:
            assert new is not None, "the request still waits"
            assert not jobs.discard("a", unless=["new"]) and not new.should_stop()
            assert jobs.discard("a") and new.superseded
            assert jobs.discard("a", unless=["new"]), "it shows no result any more"
    jobs.request("a", work)
    assert jobs.discard("a"), "about nothing, unless nothing"
    with jobs.running("a") as gone:
        assert gone is None


def test_a_request_that_was_prepared_longer_than_a_later_one_is_dropped() -> None:
    jobs = Jobs()
    slow, quick = jobs.begin("a"), jobs.begin("a")
    assert jobs.request("a", lambda should_stop: iter(["quick"]), quick)
    assert not jobs.request("a", lambda should_stop: iter(["slow"]), slow)
    with jobs.running("a") as job:
        assert job is not None and list(job.work(job.should_stop)) == ["quick"]
    slow, quick = jobs.begin("a"), jobs.begin("a")
    assert not jobs.request("a", work, slow), "the quicker one is still being prepared"
    assert jobs.request("a", work, quick)
    assert jobs.request("b", work, jobs.begin("b"))


def test_the_time_left_is_learned_from_earlier_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 2.0, 100.0, 0.0, 1.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    jobs = Jobs()
    clock = jobs.clock("shapes", 8)
    assert clock.remaining(10) is None
    clock.frame_done()
    assert clock.remaining(10) == 20
    assert jobs.clock("shapes", 16).remaining(10) == 40
    assert jobs.expected("shapes", 16 * 10) == 40 and jobs.expected("push", 1) is None
    parts = jobs.clock("push", 8)
    parts.frame_done(0.25)
    assert parts.remaining(0.75) == 3 and jobs.expected("push", 8) == 4


def test_fast_steps_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def steps() -> Generator[float, None, None]:
        for step in range(1, 11):
            now[0] += 0.25
            yield step / 10

    assert list(paced(steps())) == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert list(paced(steps(), 0.1)) == [step / 10 for step in range(1, 11)]


def test_work_in_a_thread_reports_and_returns() -> None:
    go_on = threading.Event()

    def slow(report: Callable[[int], None]) -> str:
        report(1)
        report(2)
        assert go_on.wait(30)
        return "result"

    steps, found = in_thread(slow, seconds=0.05), []
    while not found:
        try:
            assert next(steps) == 2, "the newest report, once"
            go_on.set()
        except StopIteration as end:
            found.append(end.value)
    assert found == ["result"]


def test_work_in_a_thread_ends_when_nobody_waits_for_it() -> None:
    ended = []

    def endless(report: Callable[[int], None]) -> None:
        try:
            while True:
                report(1)
        except Abandoned:
            ended.append(True)
            raise

    steps = in_thread(endless, seconds=0.05)
    assert next(steps) == 1
    steps.close()
    assert ended == [True]


def test_work_in_a_thread_waits_while_its_turn_does() -> None:
    done = []

    def endless(report: Callable[[int], None]) -> None:
        while True:
            done.append(True)
            report(len(done))

    with closing(in_thread(endless, seconds=0.05)) as steps:
        next(steps)
        time.sleep(0.05)  # a report may have been on its way
        before = len(done)
        time.sleep(0.2)
        assert len(done) == before
        assert next(steps) > before, "and goes on"


def test_errors_of_work_in_a_thread_are_raised() -> None:
    def failing(report: Callable[[int], None]) -> None:
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        list(in_thread(failing))
