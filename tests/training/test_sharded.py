"""FSDP (version 2) over two processes, as the launcher config fsdp.yaml asks for it, on the CPU."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.training.support import ROOT, command, finish, losses, run_here, torchrun

FSDP = {
    "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "NO_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true", "OMP_NUM_THREADS": "1",
}  # fmt: skip


def test_a_sharded_run_trains_like_one_process_which_takes_it_up(tiny: str, runs: Path) -> None:
    options = ("--max-steps", "4", "--dtype", "float32", "--set", "training.accumulate=2")
    script = str(ROOT / "tests" / "training" / "sharded_train.py")
    code, output = finish(torchrun(2, script, *command(tiny, runs / "sharded", *options)[1:], **FSDP))
    assert code == 0, output
    plain = {"max_steps": 4, "dtype": "float32", "set": ("training.accumulate=2",)}
    run_here(tiny, runs / "plain", **plain)
    expected = losses(runs / "plain")
    assert list(losses(runs / "sharded")) == list(expected)
    for step, found in losses(runs / "sharded").items():
        assert found[0] == pytest.approx(expected[step][0], rel=1e-4)
    shutil.rmtree(runs / "sharded" / "step_0000004")
    run_here(tiny, runs / "sharded", resume=True, **plain)
    for step, found in losses(runs / "sharded").items():
        assert found[0] == pytest.approx(expected[step][0], rel=1e-4)
