"""Runs in a process of their own, killed or signalled, then resumed."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.training.support import (
    command,
    finish,
    lines,
    losses,
    python,
    tiny_preset,
    torchrun,
    wait_for,
)
from vflow.training.commit import commits, find_fault

Losses = dict[int, tuple[float, float, float]]
STEPS = 16
FLAGS = ("--max-steps", str(STEPS), "--checkpoint-every", "3", "--resume")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Processes that share a busy machine wait for each other less with one thread each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def reference(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Losses]:
    """Preset file, and what a run that nobody disturbs logs."""
    folder = tmp_path_factory.mktemp("reference")
    preset = tiny_preset(folder)
    code, output = finish(python(*command(preset, folder / "run", *FLAGS)))
    assert code == 0, output
    return preset, losses(folder / "run")


def test_killed_at_any_moment_it_logs_the_same_losses(reference: tuple[str, Losses], runs: Path) -> None:
    preset, expected = reference
    run, chance = runs / "killed", random.Random(0)
    moments = (
        lambda: len(lines(run)) >= 1,  # before the first commit
        lambda: any(run.glob(".tmp_step_*")) and len(commits(run)) >= 2,  # during a commit
        lambda: len(lines(run)) >= 11,
    )
    for moment in moments:
        process = python(*command(preset, run, *FLAGS))
        wait_for(lambda: moment() or process.poll() is not None, interval=0.0005)  # noqa: B023
        time.sleep(chance.uniform(0, 0.01))
        process.kill()
        finish(process)
    code, output = finish(python(*command(preset, run, *FLAGS)))
    assert code == 0, output
    assert losses(run) == expected
    assert not list(run.glob(".tmp_*"))


CAMPAIGN_STEPS, KILLS = 60, 20


@pytest.mark.long
@pytest.mark.parametrize("launch", [python, partial(torchrun, 2)], ids=["one process", "two processes"])
def test_killed_twenty_times_it_logs_the_same_losses(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Kills at random steps, within commits and while starting; launcher and workers are killed together."""
    preset, chance, kills, in_commit = tiny_preset(tmp_path), random.Random(0), 0, 0
    words = ("--max-steps", str(CAMPAIGN_STEPS), "--resume")
    finish(launch(*command(preset, tmp_path / "whole", *words)), timeout=900)
    run = tmp_path / "killed"
    for number in range(KILLS):
        process, began = launch(*command(preset, run, *words)), time.monotonic()
        threshold = (CAMPAIGN_STEPS - 8) * (number + chance.random()) / KILLS

        def is_time(kind: int = number % 5, threshold: float = threshold, began: float = began) -> bool:
            if kind == 4:
                return time.monotonic() > began + 0.2
            logged = len([line for line in lines(run) if "bits_per_dim" in line])
            return logged >= threshold and (kind in (0, 2) or any(run.glob(".tmp_step_*")))

        wait_for(lambda: process.poll() is not None or is_time(), timeout=300, interval=0.0005)  # noqa: B023
        time.sleep(chance.uniform(0, (0.1, 0.01, 0.1, 0.01, 3.0)[number % 5]))
        kills += process.poll() is None
        root = psutil.Process(process.pid)
        for one in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        finish(process)
        in_commit += any(run.glob(".tmp_step_*"))
    finish(launch(*command(preset, run, *words)), timeout=900)
    assert kills >= KILLS - 2 and in_commit >= 2, "the kills fell where they were meant to"
    expected, found = losses(tmp_path / "whole"), losses(run)
    assert list(found) == list(expected) == list(range(1, CAMPAIGN_STEPS + 1))
    if launch is python:
        assert found == expected
    for step, values in expected.items():
        assert found[step][0] == pytest.approx(values[0], rel=1e-5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_commits_and_exits_130(
    number: signal.Signals, reference: tuple[str, Losses], runs: Path
) -> None:
    preset, expected = reference
    run = runs / "stopped"
    process = python(*command(preset, run, *FLAGS, "--checkpoint-every", "1000"))
    wait_for(lambda: len(lines(run)) >= 4 or process.poll() is not None)
    process.send_signal(number)
    process.send_signal(number)  # launchers repeat themselves
    code, output = finish(process, timeout=20)
    assert code == 130, output
    assert f"{number.name}: finishing this step and saving" in output and "Traceback" not in output
    end = lines(run)[-1]
    assert end["status"] == "interrupted" and end["reason"] == number.name
    assert commits(run)[-1].name == f"step_{end['step']:07d}" and find_fault(commits(run)[-1]) is None
    code, output = finish(python(*command(preset, run, *FLAGS)))
    assert code == 0, output
    assert losses(run) == expected
