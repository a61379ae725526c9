"""Some steps of every stage of the recipes on tiny data, each from the weights that the stage before left.

A recipe that says no more than its preset is left to the section ``training``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from scripts.pins.place import Place
from scripts.pins.sections.training import commit_of, data_of, trained


def pins(place: Place) -> Iterator[tuple[str, Any]]:
    """``<recipe>/<stage>/weights`` and ``<recipe>/<stage>/bits``."""
    for name, path in recipe_files(place.tree).items():
        before, stages = "", yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
        for stage in stages:
            changes = stage.get("set", {})
            start = stage.get("init_from") or before
            if stage.get("backbone"):  # scripts/convert_backbone.py makes it from another package's weights
                start = "colorizer"
            if len(stages) == 1 and not (changes or start):
                continue
            run, data = Path("runs", name, stage["name"]), data_of(stage["config"])
            what = f"--config {stage['config']}" + (f" --init-from {start}" if start else "")
            settings = tuple(
                f"{key}={json.dumps(value)}" for key, value in changes.items() if key not in SMALL
            )
            yield from trained(f"{name}/{stage['name']}", what, run, data, settings)
            before = str(commit_of(run, data) / "model")  # and not the last, which is of a step more or two


SMALL = ("training.batch_size", "training.checkpoint_every", "training.validate_every")
"""Entries of stages that runs on tiny data have of their own."""


def recipe_files(tree: Path) -> dict[str, Path]:
    """Name → file of all recipes that ship."""
    found = sorted(tree.glob("vflow/**/*.yaml"))
    return {path.stem: path for path in found if "stages:" in path.read_text(encoding="utf-8")}
