"""Measures `walk-effects.json`: what walks along the directions of each level do, by the checkpoint's hash.

How much the first direction changes pictures: root mean square over pixels of the standard deviation over the
steps (from −3 to +3 standard deviations), in grey levels. Where that can be seen, each effect in words.

Run from the repository: python -m apps.examples.make_effects [NAME ...]
"""

from __future__ import annotations

import json
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

import vflow
from apps.ui.walk.kinds import LEAST_EFFECT
from vflow.checkpoint import checkpoint_hash, find_checkpoints
from vflow.data import media
from vflow.pipelines.walk.directions import Directions
from vflow.pipelines.walk.effects import effect
from vflow.pipelines.walk.space import WalkSettings

FOLDER = Path(__file__).resolve().parent
INPUTS: dict[str, tuple[str | int, ...]] = {
    "digits": (3, 5, 7),
    "shapes": ("shapes-square.png", "shapes-circle.png"),
    "shapes-guided": ("shapes-square.png", "shapes-circle.png"),
    "push": ("push-00064.mp4", "push-00000.mp4"),
    "colorizer": ("photo-coffee.png", "photo-chelsea.png"),
}
"""Starts by checkpoint: files, or labels of digits to draw."""
STEPS, EXTENT, FRAMES = 5, 3.0, 3


def walks(
    model: Any, directions: Directions, starts: tuple[str | int, ...], level: str, direction: int
) -> list[np.ndarray]:
    """Frames along a direction, from one start after another."""
    made = []
    for start in starts:
        settings = WalkSettings(
            kind="direction",
            steps=STEPS,
            extent=EXTENT,
            direction=direction,
            level=None if level == "all" else int(level),
            label=start if isinstance(start, int) else None,
            num_frames=FRAMES,
        )
        inputs = [media.read_clip(FOLDER / start)] if isinstance(start, str) else []
        made.append(vflow.walk(model, inputs, settings, directions=directions).frames)
    return made


def measure(name: str, starts: tuple[str | int, ...]) -> dict[str, Any]:
    """Change at each level of a shipped checkpoint, in grey levels, and the effects of its directions."""
    model = vflow.load(name)
    directions = vflow.load_directions(find_checkpoints()[name], model)
    assert directions is not None
    effects = {}
    for level, found in directions.levels.items():
        first, *_ = made = walks(model, directions, starts, level, 0)
        change = round(float(np.sqrt(first.var(axis=0, dtype=np.float64).mean())), 2)
        words = []
        if change >= LEAST_EFFECT:
            rest = (walks(model, directions, starts, level, each) for each in range(1, len(found.vectors)))
            words = [str(effect(each) or "") for each in chain([made], rest)]
        effects[level] = {"change": change, "effects": words}
    return effects


if __name__ == "__main__":
    folders = find_checkpoints()
    path = FOLDER / "walk-effects.json"
    known = json.loads(path.read_text(encoding="utf-8"))
    effects = {}
    for name, starts in INPUTS.items():
        key = checkpoint_hash(folders[name])
        effects[key] = measure(name, starts) if name in (sys.argv[1:] or INPUTS) else known[key]
        print(name, effects[key], flush=True)
    path.write_text(json.dumps(effects, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
