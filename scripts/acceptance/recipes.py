"""Shipped checkpoints made anew by their recipes, from nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from scripts.acceptance.models import data
from scripts.acceptance.registry import Figure, NotHere, Result, measure
from vflow.checkpoint import checkpoint_folder, read_statistics


def remade(name: str, folder: Path | None = None) -> float:
    """Validation bits/dim of checkpoint ``name`` made by its recipe, over those of what ships.

    It is made in ``VFLOW_RUNS``/name (default: ~/vflow-runs); what was done there before counts.
    """
    output = Path(os.environ.get("VFLOW_RUNS", "~/vflow-runs")).expanduser() / name
    given = ["--data", str(folder)] if folder else []
    command = ["train", "--recipe", name, *given, "--output", str(output), "--threads", "1", "--resume"]
    if subprocess.run([sys.executable, "-m", "vflow", *command], check=False).returncode:
        raise NotHere(f"vflow {' '.join(command)} did not end")
    new, old = (read_statistics(path) for path in (output / "model", checkpoint_folder(name)))
    return float(new["val_bits_per_dim"] / old["val_bits_per_dim"])


def ratio(name: str) -> Figure:
    """Figure of a checkpoint's recipe."""
    return Figure(f"{name} made by its recipe: validation bits/dim relative to what ships", at_most=1.05)


@measure("H", ratio=ratio("shapes"))
def recipe_shapes() -> Result:
    """`vflow train --recipe shapes` from scratch, bits/dim of its last validation; a run
    that VFLOW_RUNS already holds is continued, and counts if it is finished."""
    return Result({"ratio": remade("shapes")})


@measure("H", ratio=ratio("shapes-guided"))
def recipe_shapes_guided() -> Result:
    """As recipe_shapes."""
    return Result({"ratio": remade("shapes-guided")})


@measure("H", ratio=ratio("codec-photo"))
def recipe_codec_photo() -> Result:
    """As recipe_shapes, on photos/train."""
    return Result({"ratio": remade("codec-photo", data("photos", "train").parent)})


@measure("H", ratio=ratio("enlarge"))
def recipe_enlarge() -> Result:
    """As recipe_shapes, on photos/train."""
    return Result({"ratio": remade("enlarge", data("photos", "train").parent)})


@measure("H", ratio=ratio("grasp"))
def recipe_grasp() -> Result:
    """As recipe_shapes, on grasp/train."""
    return Result({"ratio": remade("grasp", data("grasp", "train"))})
