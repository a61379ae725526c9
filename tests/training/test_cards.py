"""The model card in a run's commits."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.training.support import run_here
from vflow.training.args import TrainOptions
from vflow.training.logging import command_line


def test_the_command_leaves_out_what_does_not_matter_and_folders_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    options = TrainOptions(
        config="shapes-guided", output=tmp_path / "runs" / "mine", data=str(tmp_path / "clips"), resume=True,
        debug=True, keep=0, init_from="push", max_steps=300,
        set=("training.grad_clip_norm=null", "data.frames=4"),
    )  # fmt: skip
    assert command_line(options) == (
        f"vflow train --config shapes-guided --output {tmp_path}/runs/mine --data clips --init-from push "
        "--max-steps 300 --set training.grad_clip_norm=null data.frames=4"
    )
    options.output.mkdir(parents=True)
    assert "--output mine" in command_line(options)


def test_every_commit_has_a_card(tiny: str, runs: Path) -> None:
    run_here(tiny, runs / "mine", max_steps=3, seed=5)
    early, late = ((runs / "mine" / f"step_000000{n}" / "model" / "README.md").read_text() for n in (2, 3))
    assert "# mine" in late and "64×64 RGB" in late and f"torch {torch.__version__}" in late
    assert "`vflow train --config tiny.yaml --output mine --max-steps 3 --seed 5`" in late
    assert "`shapes`: 109,424 training examples" in late and "1 process on cpu, batches of 4" in late
    assert "| steps | 2 |" in early and "bits/dim" not in early
    assert "| steps | 3 |" in late and "bits/dim (K = 1, averaged weights)" in late
    assert str(runs) not in late
