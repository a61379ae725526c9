"""Runs that are killed, shared out and poisoned, each against one that nobody disturbs."""

from __future__ import annotations

import contextlib
import io
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import psutil
import torch

from scripts.acceptance.registry import Figure, Result, measure
from tests.training.support import (
    command,
    end_all,
    finish,
    lines,
    losses,
    python,
    run_here,
    tiny_preset,
    torchrun,
    wait_for,
)
from vflow.training.step import TrainState

STEPS, KILLS = 60, 20
KINDS = ("step", "commit", "step", "commit", "start")  # when to kill, in turn
LAST_KILL = 52  # the run must not end before the last kill arrives
BATCH, SHARED_STEPS = 16, 30
POISONED_STEPS, POISON = 100, 10
ONE_THREAD = {"OMP_NUM_THREADS": "1"}

Start = Callable[[], "subprocess.Popen[str]"]


@contextmanager
def workplace() -> Iterator[tuple[str, Path]]:
    """The tiny preset's path and an empty folder; what was started and not ended there is killed."""
    with tempfile.TemporaryDirectory(prefix="vflow-training-") as name:
        try:
            yield tiny_preset(Path(name)), Path(name)
        finally:
            end_all()


def whole(process: subprocess.Popen[str]) -> None:
    """Let a run end by itself. RuntimeError: it failed."""
    code, output = finish(process, timeout=900)
    if code:
        raise RuntimeError(f"a run ended with {code}: {output[-300:]}")


class Killed(NamedTuple):
    kills: int
    in_commit: int


def kill_often(start: Start, run: Path) -> Killed:
    """Start a run, kill all its processes with SIGKILL, start it again, and so on; then let it end."""
    chance, kills, in_commit = random.Random(0), 0, 0
    for number in range(KILLS):
        kind = KINDS[number % len(KINDS)]
        process = start()
        began = time.monotonic()
        threshold = LAST_KILL * (number + chance.random()) / KILLS
        delay = chance.uniform(0, 3.0 if kind == "start" else 0.01 if kind == "commit" else 0.1)
        wait_for(
            lambda: process.poll() is not None or _is_time(kind, run, threshold, began),  # noqa: B023
            timeout=300, interval=0.0005,
        )  # fmt: skip
        time.sleep(delay)
        kills += process.poll() is None
        kill_tree(process)
        in_commit += any(run.glob(".tmp_step_*"))
    whole(start())
    return Killed(kills, in_commit)


def _is_time(kind: str, run: Path, threshold: float, began: float) -> bool:
    if kind == "start":
        return time.monotonic() > began + 0.2
    reached = len([line for line in lines(run) if "bits_per_dim" in line]) >= threshold
    return reached and (kind == "step" or any(run.glob(".tmp_step_*")))


def kill_tree(process: subprocess.Popen[str]) -> None:
    """SIGKILL to a launcher and its workers, as near to at once as can be."""
    root = psutil.Process(process.pid)
    every = [root, *root.children(recursive=True)]
    for one in every:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(every, timeout=30)
    process.communicate()


KILL_FIGURES = {
    "kills": Figure("SIGKILLs of a 60-step run, each followed by --resume", "", at_least=KILLS),
    "commit": Figure("of them within a commit, by the temporary folder left", "", at_least=3),
}


@measure(
    "C", **KILL_FIGURES,
    differing=Figure("steps of 60 with another loss, gradient norm or rate than undisturbed", "", at_most=0),
)  # fmt: skip
def killed_one_process() -> Result:
    """One CPU process, tiny preset, a commit every 2 steps. 20 kills: at random steps, while a commit's
    temporary folder is there, while starting. Every number of log.jsonl is compared, bit for bit."""
    with workplace() as (preset, folder):
        words = ("--max-steps", str(STEPS), "--resume")
        whole(python(*command(preset, folder / "whole", *words), **ONE_THREAD))
        killed = kill_often(
            lambda: python(*command(preset, folder / "killed", *words), **ONE_THREAD), folder / "killed"
        )
        expected, found = losses(folder / "whole"), losses(folder / "killed")
        assert len(expected) == STEPS
        differing = sum(expected[step] != found.get(step) for step in expected)
        return Result({"kills": killed.kills, "commit": killed.in_commit, "differing": differing})


@measure(
    "C", **KILL_FIGURES,
    error=Figure("largest relative difference of a loss from an undisturbed run", "", at_most=1e-5),
)  # fmt: skip
def killed_two_processes() -> Result:
    """The same under torchrun with two processes (gloo); launcher and workers are killed together."""
    with workplace() as (preset, folder):
        words = ("--max-steps", str(STEPS), "--resume")
        whole(torchrun(2, *command(preset, folder / "whole", *words), **ONE_THREAD))
        killed = kill_often(
            lambda: torchrun(2, *command(preset, folder / "killed", *words), **ONE_THREAD), folder / "killed"
        )
        error = largest_difference(folder / "whole", folder / "killed", STEPS)
        return Result({"kills": killed.kills, "commit": killed.in_commit, "error": error})


def largest_difference(first: Path, second: Path, steps: int) -> float:
    """Largest |a − b| / |a| of the losses of two runs. AssertionError: a step is missing."""
    one, two = losses(first), losses(second)
    assert list(one) == list(two) == list(range(1, steps + 1)), "a step is missing in a log"
    return max(abs(one[step][0] - two[step][0]) / abs(one[step][0]) for step in one)


@measure("C", error=Figure("largest relative difference of a loss over 30 steps", "", at_most=1e-4))
def two_processes_as_one() -> Result:
    """2 processes × batch 8 (torchrun, gloo) against 1 × 16, float32, tiny preset."""
    words = ("--max-steps", str(SHARED_STEPS), "--batch-size", str(BATCH), "--dtype", "float32")
    with workplace() as (preset, folder):
        whole(python(*command(preset, folder / "one", *words), **ONE_THREAD))
        whole(torchrun(2, *command(preset, folder / "two", *words), **ONE_THREAD))
        return Result({"error": largest_difference(folder / "one", folder / "two", SHARED_STEPS)})


@measure(
    "C",
    skipped=Figure("steps skipped when the loss at step 10 is NaN", "", at_least=1, at_most=1),
    reported=Figure("of them written to log.jsonl at step 10", "", at_least=1, at_most=1),
    difference=Figure("change of the validation bits/dim, over the spread of 3 clean seeds", "", at_most=1),
    bits=Figure("validation bits/dim of the clean run", ""),
)  # fmt: skip
def nan_at_step_10() -> Result:
    """100 steps of the tiny preset, 64 validation clips: clean with seeds 0, 1 and 2, and with seed 0 and the
    loss of step 10 made NaN. The spread is the largest clean result less the smallest."""
    settings = ("training.validation_examples=64", "training.checkpoint_every=1000")
    with workplace() as (preset, folder):
        clean = []
        for seed in range(3):
            quiet(preset, folder / f"clean-{seed}", max_steps=POISONED_STEPS, seed=seed, set=settings)
            clean.append(validation(folder / f"clean-{seed}"))
        with patch.object(TrainState, "loss", poisoned(TrainState.loss, POISON)):
            quiet(preset, folder / "poisoned", max_steps=POISONED_STEPS, seed=0, set=settings)
        log = lines(folder / "poisoned")
        events = [line["step"] for line in log if "skipped" in str(line.get("event"))]
        spread = max(clean) - min(clean)
        values = {
            "skipped": max(line.get("skipped", 0) for line in log),
            "reported": events.count(POISON),
            "difference": abs(validation(folder / "poisoned") - clean[0]) / spread,
            "bits": clean[0],
        }
        seeds = ", ".join(f"{bits:.4f}" for bits in clean)
        return Result(values, note=f"clean {seeds}; poisoned {validation(folder / 'poisoned'):.4f}")


def poisoned(loss: Callable[..., torch.Tensor], call: int) -> Callable[..., torch.Tensor]:
    """``loss`` whose result number ``call``, counted from 1, is NaN."""
    count = iter(range(1, 1_000_000))

    def wrapped(self: TrainState, batch: Any) -> torch.Tensor:
        return loss(self, batch) * (torch.nan if next(count) == call else 1.0)

    return wrapped


def quiet(preset: str, run: Path, **options: Any) -> str:
    """Train in this process; what it said on stderr. RuntimeError: the exit code is not 0."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = run_here(preset, run, **options)
    if code:
        raise RuntimeError(f"{run}: ended with {code}")
    return said.getvalue()


def validation(run: Path) -> float:
    """The last validation figure of a run, bits/dim."""
    return float([line["val_bits_per_dim"] for line in lines(run) if "val_bits_per_dim" in line][-1])
