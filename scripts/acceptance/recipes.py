"""Shipped checkpoints made anew by their recipes, from nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from scripts.acceptance.models import data
from scripts.acceptance.registry import Figure, NotHere, Result, measure
from vflow.checkpoint import checkpoint_folder, read_statistics

WITHIN = 1.05


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


@measure(
    "H",
    shapes=Figure("shapes by its recipe: validation bits/dim over those of what ships", at_most=WITHIN),
    guided=Figure("shapes-guided: the same", at_most=WITHIN),
)
def recipes_of_shapes() -> Result:
    """`vflow train --recipe NAME` from nothing, one thread; bits/dim of the validation that ends each run."""
    return Result({"shapes": remade("shapes"), "guided": remade("shapes-guided")})


@measure(
    "H",
    codec=Figure("codec-photo by its recipe: validation bits/dim over those of what ships", at_most=WITHIN),
    enlarge=Figure("enlarge: the same", at_most=WITHIN),
)
def recipes_of_photos() -> Result:
    """As recipes_of_shapes, on photos/train."""
    folder = data("photos", "train").parent
    return Result({"codec": remade("codec-photo", folder), "enlarge": remade("enlarge", folder)})


@measure(
    "H", grasp=Figure("grasp by its recipe: validation bits/dim over those of what ships", at_most=WITHIN)
)
def recipe_of_grasp() -> Result:
    """As recipes_of_shapes, on grasp/train."""
    return Result({"grasp": remade("grasp", data("grasp", "train"))})
