"""Value of the condition in bits/dim: enlarging given the small photo, and given zeros in its place.

Trains the preset ``enlarge`` twice for equal processor time, as scripts/ablate.py does, and prints a
comparison in the format of scripts/results.py. Figures are for held-out photos of the training folder. Run
with one thread::

    VFLOW_DATA=… python -m scripts.benchmarks.condition --minutes 8 > docs/results/condition.json
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from scripts.ablate import SPAN, ablate
from scripts.benchmarks.comparison import comparison
from vflow.config import load_preset
from vflow.pipelines.common import set_threads

ARMS = {"given the small photo": True, "given zeros": False}


def row(model: str, conditioned: bool, photos: Path, minutes: float) -> dict[str, object]:
    """Figures of one training."""
    entries = {"model.conditioned": conditioned, "data.path": str(photos), "training.max_steps": SPAN}
    found = ablate(load_preset("enlarge", entries), 60 * minutes)
    figures = {key: found[key] for key in ("parameters", "steps")}
    return {"model": model, **figures, "bits_per_dim": found["held_out_bits_per_dim"]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="processor time of each training")
    minutes = parser.parse_args().minutes
    set_threads(1)
    photos = Path(os.environ.get("VFLOW_DATA", "")) / "photos" / "train"
    found = comparison(
        "Details of enlarged photos with and without their condition",
        [row(model, conditioned, photos, minutes) for model, conditioned in ARMS.items()],
        f"held-out photos of photos/train; {minutes:g} minutes of processor time for each training",
        f"scripts.benchmarks.condition --minutes {minutes:g}",
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
