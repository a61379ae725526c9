"""Measures `walk-effects.json`: how much a walk along the first direction of each level changes pictures.

Root mean square over pixels of the standard deviation over three steps (−3, 0 and +3 standard deviations), in
grey levels, by the hash of the checkpoint.

Run from the repository: python -m apps.examples.make_effects [NAME ...]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

import vflow
from vflow.checkpoint import checkpoint_hash, find_checkpoints
from vflow.data import media
from vflow.pipelines.walk.space import WalkSettings

FOLDER = Path(__file__).resolve().parent
INPUTS: dict[str, str | None] = {
    "digits": None,
    "shapes": "shapes-square.png",
    "shapes-guided": "shapes-square.png",
    "push": "push-00064.mp4",
    "colorizer": "photo-coffee.png",
}
STEPS, EXTENT, DIGIT, FRAMES = 3, 3.0, 3, 2


def measure(name: str, file: str | None) -> dict[str, float]:
    """Effect of each level of a shipped checkpoint, in grey levels."""
    model = vflow.load(name)
    directions = vflow.load_directions(find_checkpoints()[name], model)
    assert directions is not None
    inputs = [] if file is None else [media.read_clip(FOLDER / file)]
    effects = {}
    for level in directions.levels:
        settings = WalkSettings(
            kind="direction",
            steps=STEPS,
            extent=EXTENT,
            level=None if level == "all" else int(level),
            label=DIGIT if file is None else None,
            num_frames=FRAMES,
        )
        frames = vflow.walk(model, inputs, settings, directions=directions).frames
        effects[level] = round(float(np.sqrt(frames.var(axis=0, dtype=np.float64).mean())), 2)
    return effects


if __name__ == "__main__":
    folders = find_checkpoints()
    path = FOLDER / "walk-effects.json"
    known = json.loads(path.read_text(encoding="utf-8"))
    effects = {}
    for name, file in INPUTS.items():
        key = checkpoint_hash(folders[name])
        effects[key] = measure(name, file) if name in (sys.argv[1:] or INPUTS) else known[key]
    path.write_text(json.dumps(effects, indent=1) + "\n", encoding="utf-8")
