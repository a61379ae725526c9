"""Runs in a process of their own, killed or signalled, then resumed."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training.support import command, finish, lines, losses, python, tiny_preset, wait_for
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
