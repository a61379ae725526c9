"""Models of digits side by side: PixelCNN (van den Oord et al. 2016), integer flows (Hoogeboom et al. 2019).

Prints bits/dim given the class, and samples per second of processor time, beside the shipped flow. Of 300
test digits PixelCNN has 1.148 bits/dim after 1,400 steps of 8, the integer flow 1.590 after 800 of 16, the
row LSTM of examples/row_lstm.py 1.156, ``digits`` 1.053 (a bound). Train the models first, then compare; run
with one thread::

    vflow train --config pixelcnn --data MNIST --output runs/pixelcnn --max-steps 1400
    VFLOW_DATA=… python -m examples.digit_models runs/pixelcnn runs/integer-flow digits
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

import vflow
from scripts.acceptance.models import silent
from scripts.benchmarks.comparison import comparison
from vflow.config import load_preset
from vflow.data.datasets.digits import MnistImages
from vflow.models import Digits, IntegerFlow, PixelCNN
from vflow.pipelines.common import evenly_spaced
from vflow.pipelines.digits.digits import bits
from vflow.pipelines.evaluate.digits import draw_classes
from vflow.pipelines.evaluate.discrete import evaluate_discrete
from vflow.pipelines.evaluate.report import Settings
from vflow.tasks.digits.settings import DigitsSettings

SHIPPED = "hours, in stages: see its card"


def trained(checkpoint: str) -> str:
    """Steps and batch size of a run, and the steps of its schedule if it stopped early."""
    folder = Path(checkpoint)
    if not (folder / "preset.yaml").is_file():
        return SHIPPED
    steps = int((folder / "last").resolve().name.removeprefix("step_"))
    training = load_preset(str(folder / "preset.yaml")).training
    whole = f" of {training.max_steps:,}" if steps < training.max_steps else ""
    return f"{steps:,}{whole} steps of {training.batch_size}"


def flow_figures(model: Digits, settings: Settings) -> dict[str, float]:
    """bits/dim (K = 1) and samples per second of the flow of digits."""
    held = MnistImages(split=settings.split)
    chosen = evenly_spaced(len(held), settings.count(len(held), len(held)))
    assert settings.num_samples is not None
    began = time.process_time()
    made = draw_classes(model, DigitsSettings.of(num_samples=settings.num_samples, seed=settings.seed))
    spent = time.process_time() - began
    return {
        "bits_per_dim": float(bits(model, held.images[chosen], held.labels[chosen]).mean()),
        "digits_per_s": len(made.images) / spent,
    }


def row(checkpoint: str, settings: Settings) -> dict[str, Any]:
    """Figures of one model."""
    model = vflow.load(checkpoint, allow_hub=False)
    if isinstance(model, Digits):
        found: Mapping[str, Any] = flow_figures(model, settings)
    else:
        assert isinstance(model, IntegerFlow | PixelCNN), f"{checkpoint}: no model of digits"
        found = evaluate_discrete(model, settings, silent).figures
    return {
        "model": Path(checkpoint).name + (" (K = 1, a bound)" if isinstance(model, Digits) else ""),
        "parameters": sum(p.numel() for p in model.parameters()),
        "trained": trained(checkpoint),
        **{key: found[key] for key in ("bits_per_dim", "digits_per_s")},
    }


def compare(checkpoints: list[str], split: Literal["test", "validation"], limit: int) -> dict[str, Any]:
    """The comparison; ``limit`` 0 takes all digits."""
    settings = Settings("digits", split=split, limit=limit, num_samples=4)
    names = " ".join(f"runs/{Path(c).name}" if Path(c).is_dir() else c for c in checkpoints)
    some = f" --limit {limit}" if limit else ""
    part = f"{limit:,} digits" if limit else "all digits"
    return comparison(
        "Models of digits side by side",
        [row(checkpoint, settings) for checkpoint in checkpoints],
        f"MNIST, {part} of the {split} part, given their class; samples a second of processor time",
        f"examples.digit_models {names} --split {split}{some}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--limit", type=int, default=0, help="number of digits to score; 0: all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(compare(options.checkpoints, options.split, options.limit), ensure_ascii=False))


if __name__ == "__main__":
    main()
