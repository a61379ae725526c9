"""Runs that diverge: what they go back to, what they commit, and whether their advice works."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vflow
from tests.training.support import lines, losses, run_here
from vflow.config import load_preset
from vflow.training import videos
from vflow.training.loop import DivergedError
from vflow.training.step import PATIENCE, TrainState


@pytest.fixture(autouse=True)
def few_clips_for_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixel maps are fitted to a few clips only."""
    monkeypatch.setattr(videos, "STATISTICS_CLIPS", 16)


@pytest.fixture
def points(tmp_path: Path) -> str:
    """400 points of three correlated coordinates."""
    mixed = np.random.default_rng(0).normal(size=(400, 3)) @ [[1, 0.5, 0], [0, 1, 0.3], [0, 0, 1]]
    np.savetxt(tmp_path / "points.csv", mixed, delimiter=",")
    return str(tmp_path / "points.csv")


def events(run: Path) -> list[str]:
    return [line["event"] for line in lines(run) if not line.get("event", "skipped").startswith("skipped")]


def poison(monkeypatch: pytest.MonkeyPatch, first: int, count: int = PATIENCE) -> None:
    """Make the loss NaN in ``count`` calls, from number ``first`` (from 1) on."""
    original, calls = TrainState.loss, iter(range(1, 10_000))

    def loss(self: TrainState, batch: Any) -> torch.Tensor:
        return original(self, batch) * (torch.nan if first <= next(calls) < first + count else 1.0)

    monkeypatch.setattr(TrainState, "loss", loss)


def test_without_a_commit_a_run_goes_back_to_its_initial_weights(
    tiny: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From there it is the run that began with half the rate, to the bit."""
    rate = load_preset(tiny).training.learning_rate
    settings = ("training.checkpoint_every=50",)
    run_here(tiny, runs / "half", max_steps=10, set=(*settings, f"training.learning_rate={rate / 2}"))
    poison(monkeypatch, 3)
    assert run_here(tiny, runs / "a", max_steps=10, set=settings) == 0
    assert events(runs / "a") == ["rolled back to the initial weights after step 7; learning rate now × 0.5"]
    assert losses(runs / "a") == losses(runs / "half")
    ends = [vflow.load(runs / name).state_dict() for name in ("a", "half")]
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())


def test_a_return_to_the_initial_weights_outlasts_a_kill(
    tiny: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("training.checkpoint_every=50",)
    poison(monkeypatch, 3)
    run_here(tiny, runs / "whole", max_steps=10, set=settings)
    monkeypatch.undo()
    monkeypatch.setattr(videos, "STATISTICS_CLIPS", 16)
    poison(monkeypatch, 3)
    original = TrainState.step

    def step(self: TrainState, batches: Any, progress: Any, rate: float, stop: bool) -> Any:
        if progress.rollbacks and progress.step == 2:
            raise KeyboardInterrupt
        return original(self, batches, progress, rate, stop)

    with monkeypatch.context() as patch:
        patch.setattr(TrainState, "step", step)
        with pytest.raises(KeyboardInterrupt):
            run_here(tiny, runs / "a", max_steps=10, set=settings)
    assert run_here(tiny, runs / "a", max_steps=10, set=settings, resume=True) == 0
    assert losses(runs / "a") == losses(runs / "whole")


@pytest.mark.parametrize(("every", "steps", "way"), [(4, 40, "resume"), (1, 40, "output"), (4, 4, "resume")])
def test_the_advice_after_a_rate_far_too_high_works(
    points: str, runs: Path, every: int, steps: int, way: str
) -> None:
    """A step at such a rate leaves finite weights for which no loss is."""
    settings: dict[str, Any] = {"data": points, "batch_size": 16, "max_steps": steps}
    rest = ("training.warmup_steps=0", f"training.checkpoint_every={every}", "training.actnorm_batch=64")
    rest = (*rest, "model.defensive=false", "training.patience=null", "training.refit=false")
    with pytest.raises(DivergedError) as raised:
        run_here("maf", runs / "a", **settings, set=(*rest, "training.learning_rate=1000"))
    assert lines(runs / "a")[-1]["status"] == "failed"
    message = str(raised.value)
    advised = re.search(r"run again with (--resume|another --output) and --set (\S+),", message)
    assert advised and way in advised[1], message
    again = {"output": runs / "a", "resume": True} if way == "resume" else {"output": runs / "b"}
    assert run_here("maf", **again, **settings, set=(*rest, advised[2])) == 0
    log = lines(again["output"])
    assert not any("event" in line for line in log if line["step"])
    assert [line["val_bits_per_dim"] for line in log if "val_bits_per_dim" in line][-1] is not None


def test_a_new_rate_is_not_lowered_by_former_rollbacks(
    tiny: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, 3)
    run_here(tiny, runs / "a", max_steps=10)
    settings = ("training.learning_rate=0.0001", "training.min_lr_ratio=1")
    run_here(tiny, runs / "a", max_steps=12, resume=True, set=settings)
    progress = json.loads((runs / "a" / "last" / "state" / "state.json").read_text())["progress"]
    assert (progress["lr"], progress["rate_scale"], progress["rollbacks"]) == (0.0001, 1.0, 0)


def test_weights_that_are_not_finite_are_never_committed(
    tiny: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = TrainState.step

    def step(self: TrainState, batches: Any, progress: Any, rate: float, stop: bool) -> Any:
        result = original(self, batches, progress, rate, stop)
        if progress.step == 3 and not progress.rollbacks:
            next(iter(self.ema.tensors().values())).fill_(torch.nan)
        return result

    monkeypatch.setattr(TrainState, "step", step)
    assert run_here(tiny, runs / "a", keep=0) == 0
    assert events(runs / "a") == ["rolled back to step_0000002 after step 4; learning rate now × 0.5"]
    for commit in runs.glob("a/step_*"):
        vflow.load(commit)


def test_weights_that_cannot_be_inverted_do_not_end_a_run(
    tiny: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("training.learning_rate=1000", "training.warmup_steps=0")
    assert run_here(tiny, runs / "a", max_steps=1, set=settings) == 0
    assert "step 1: no samples, the model cannot be inverted" in capsys.readouterr().err
    assert lines(runs / "a")[-1]["status"] == "finished"
