"""The model card in a run's commits."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import torch

from tests.training.support import run_here
from vflow.hub import checked_files
from vflow.training.args import TrainOptions
from vflow.training.curve import BOTTOM, HEIGHT, curve
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
    model = runs / "mine" / "step_0000003" / "model"
    assert "![curve](curve.svg)" in late and "![samples](samples.png)" in late
    newest = max((runs / "mine" / "samples").glob("*.png"))
    assert (model / "samples.png").read_bytes() == newest.read_bytes()
    assert {"curve.svg", "samples.png", "README.md"} < set(checked_files(model, "mine"))


def test_the_curve_shows_training_and_validation_and_leaves_out_what_is_not_finite() -> None:
    lines = [{"step": n, "bits_per_dim": 8 / n} for n in range(1, 101)]
    lines += [{"step": 50, "val_bits_per_dim": 0.5}, {"step": 100, "val_bits_per_dim": None}]
    picture = ElementTree.fromstring(curve(lines))
    trained, held_out = (line.get("points", "").split() for line in picture if line.tag.endswith("polyline"))
    assert len(trained) == 100 and len(held_out) == 1
    heights = [float(point.split(",")[1]) for point in trained]
    assert heights == sorted(heights) and heights[-1] == HEIGHT - BOTTOM
    assert "step 100" in "".join(picture.itertext())
    assert curve([]) == "" == curve([{"step": 1, "bits_per_dim": 2.0}])
