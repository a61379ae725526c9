"""Compute principal directions of a trained model's noise and store them with its weights.

python scripts/directions.py --checkpoint push --config push --data DATA/push
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import vflow
from vflow.checkpoint import checkpoint_folder
from vflow.errors import VflowError
from vflow.pipelines.walk.directions import (
    Directions,
    encode_examples,
    principal_directions,
    save_directions,
)
from vflow.training.args import TrainOptions, resolve


def main() -> int:
    """Exit code: 0, or that of a user-facing error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", required=True, help="folder, or name of a shipped checkpoint")
    parser.add_argument("--config", required=True, help="preset whose data section names the data set")
    parser.add_argument("--data", help="folder of the data, as for vflow train")
    parser.add_argument("--count", type=int, default=2000, help="number of examples")
    arguments = parser.parse_args()
    try:
        store(arguments.checkpoint, arguments.config, arguments.data, arguments.count)
    except VflowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def store(checkpoint: str, config: str, data: str | None, count: int) -> None:
    """Compute and save the directions; print the path."""
    preset = resolve(TrainOptions(config=config, output=Path(), data=data))
    folder = checkpoint_folder(checkpoint)
    model = vflow.load(folder, device="auto")
    noise = encode_examples(model, preset.data, count, report)
    found = principal_directions(noise, about=f"{len(noise[0])} training examples of {preset.data.name}")
    path = save_directions(folder, found)
    print(f"{path} ({os.path.getsize(path) / 1024:.0f} KB)")
    print_shares(found)


def report(done: int, total: int) -> None:
    print(f"\r{done} of {total} examples", end="\n" if done == total else "", flush=True)


def print_shares(found: Directions) -> None:
    for key, level in found.levels.items():
        shares = " ".join(f"{100 * share:.1f}%" for share in level.explained)
        spreads = " ".join(f"{float(v) ** 0.5:.2f}" for v in level.variance)
        print(f"level {key}: explained {shares}; standard deviations {spreads}")


if __name__ == "__main__":
    sys.exit(main())
