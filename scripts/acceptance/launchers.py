"""Signals to launchers and workers: every process leaves, and the run goes on from its last commit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import NamedTuple

import psutil

from scripts.acceptance.registry import Figure, Result, measure
from scripts.acceptance.report import ROOT
from scripts.acceptance.training import ONE_THREAD, whole, workplace
from tests.training.support import command, lines, losses, python, spawn, torchrun, wait_for
from vflow.training.commit import newest_commit

PROCESSES = 2
BEFORE, AFTER = 4, 2  # steps before the signal, and after resuming
DEADLINE = 20.0  # seconds for workers whose launcher was killed to commit and leave
PATIENCE = 60.0  # seconds until what is still there counts as left behind


def accelerate_launch(count: int, *words: str, **environment: str) -> subprocess.Popen[str]:
    """``accelerate launch`` with the file for several GPUs, here on the CPU."""
    config = str(ROOT / "vflow" / "presets" / "accelerate" / "ddp.yaml")
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", config]
    words = ("--num_processes", str(count), *words)
    return spawn([*launcher, *words], ACCELERATE_USE_CPU="true", **environment)


Launch = Callable[..., "subprocess.Popen[str]"]
LAUNCHERS: dict[str, Launch] = {"accelerate launch": accelerate_launch, "torchrun": torchrun}
SIGNALS = (signal.SIGTERM, signal.SIGKILL)
TARGETS = ("launcher", "worker")


class End(NamedTuple):
    """How a signalled run ended: seconds to its last process's end, those that stayed, whether it resumed."""

    seconds: float
    orphans: int
    resumed: bool
    steps: int


@measure(
    "C",
    cases=Figure(
        "cases: accelerate launch, torchrun × SIGTERM, SIGKILL × launcher, one of two workers", "", at_least=8
    ),
    orphans=Figure("processes left after a minute", "", at_most=0),
    stuck=Figure("runs that did not resume, or logged a step twice or not at all", "", at_most=0),
    deserted=Figure("workers whose launcher was killed: longest time to the last end", "s", at_most=DEADLINE),
    slowest=Figure("longest time from a signal to the last process's end", "s"),
)  # fmt: skip
def launcher_signals() -> Result:
    """Tiny preset, two processes (gloo), a commit every 2 steps; the signal comes after step 4 and the run is
    resumed for 2 steps more, each step being in the log once."""
    ends = {}
    for (name, launch), number, target in product(LAUNCHERS.items(), SIGNALS, TARGETS):
        ends[f"{number.name} to {target} of {name}"] = one_case(launch, number, target)
    values = {
        "cases": len(ends),
        "orphans": sum(end.orphans for end in ends.values()),
        "stuck": sum(not end.resumed for end in ends.values()),
        "deserted": max(ends[f"SIGKILL to launcher of {name}"].seconds for name in LAUNCHERS),
        "slowest": max(end.seconds for end in ends.values()),
    }
    notes = [f"{name}: {end.seconds:.1f} s, resumed from step {end.steps}" for name, end in ends.items()]
    return Result(values, note="; ".join(notes))


def one_case(launch: Launch, number: signal.Signals, target: str) -> End:
    """Start, signal, wait, resume."""
    with workplace() as (preset, folder):
        run = folder / "run"
        process = launch(PROCESSES, *command(preset, run, "--max-steps", "100000"), **ONE_THREAD)
        wait_for(lambda: len(lines(run)) >= BEFORE or process.poll() is not None, timeout=300)
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        workers = [one for one in tree[1:] if any("train.py" in word for word in one.cmdline())]
        assert len(workers) == PROCESSES, f"{len(workers)} workers: {process.communicate()[0][-300:]}"
        began = time.monotonic()
        os.kill(process.pid if target == "launcher" else workers[-1].pid, number)
        seconds, orphans = watch(process, tree, began)
        commit = newest_commit(run)
        assert commit is not None, "no commit was left"
        steps = int(commit.name.removeprefix("step_"))
        return End(seconds, orphans, goes_on(preset, run, steps), steps)


def watch(process: subprocess.Popen[str], tree: list[psutil.Process], began: float) -> tuple[float, int]:
    """Seconds until all of ``tree`` had ended, and how many had not after ``PATIENCE``; those are killed."""
    while (alive := [one for one in tree if running(one)]) and time.monotonic() < began + PATIENCE:
        process.poll()
        time.sleep(0.02)
    ended = time.monotonic() - began
    for one in alive:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.communicate()
    return ended, len(alive)


def running(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def goes_on(preset: str, run: Path, steps: int) -> bool:
    """Whether the run resumes and its log then has every step once."""
    words = ("--resume", "--max-steps", str(steps + AFTER))
    whole(python(*command(preset, run, *words), **ONE_THREAD))
    return lines(run)[-1]["status"] == "finished" and list(losses(run)) == list(range(1, steps + AFTER + 1))
