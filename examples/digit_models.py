"""Models of digits side by side: PixelCNN and row LSTM (van den Oord et al. 2016), integer flows.

Trains those that are named, and prints bits/dim given the class and samples per second of processor time,
beside the shipped flow. Of 300 test digits PixelCNN has 1.148 bits/dim after 1,400 steps of 8, the row LSTM
1.156, the integer flow 1.590 after 800 of 16, ``digits`` 1.053 (a bound). Run with one thread::

    VFLOW_DATA=… python -m examples.digit_models --split test --limit 300
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch

import vflow
from scripts.benchmarks.comparison import comparison
from vflow.config import TrainingConfig
from vflow.data.datasets.digits import MnistImages
from vflow.data.datasets.splits import Split
from vflow.models import ImageBatch
from vflow.models.discrete import DiscreteModel
from vflow.pipelines.common import evenly_spaced
from vflow.pipelines.digits.digits import bits
from vflow.pipelines.evaluate.digits import draw_classes
from vflow.randomness import generator
from vflow.tasks.digits.settings import DigitsSettings
from vflow.training.density import optimize

TRAINED, SHIPPED = ("pixelcnn", "row-lstm", "integer-flow"), "digits"
"""Models that are trained, whose modules have ``make()`` and ``TRAINING``; and the flow beside them."""
CLASSES, NUM_SAMPLES, CHUNK = 10, 4, 50


def batch_of(data: MnistImages, rows: Any) -> ImageBatch:
    """Digits and their labels; models of whole numbers take no noise."""
    images, labels = torch.from_numpy(data.images[rows])[:, None], torch.from_numpy(data.labels[rows]).long()
    return ImageBatch(images, labels, torch.zeros(len(images), 0))


def train(model: DiscreteModel[ImageBatch], training: TrainingConfig) -> int:
    """Train on MNIST by likelihood; returns the number of steps."""
    data, random = MnistImages(split="train"), generator("rows", training.seed)
    model.initialize(batch_of(data, slice(training.actnorm_batch)))

    def loss(share: float) -> torch.Tensor:
        rows = random.integers(len(data), size=training.batch_size)
        return model.bits_per_dim(model(batch_of(data, rows))).mean()

    return sum(1 for _ in optimize(model, loss, training))


@torch.no_grad()
def figures(model: Any, held: MnistImages, rows: Any) -> dict[str, float]:
    """bits/dim of digits given their class, and samples per second of processor time."""
    if isinstance(model, DiscreteModel):
        parts = [model(batch_of(held, some)) for some in torch.as_tensor(rows).split(CHUNK)]
        found = model.bits_per_dim(torch.cat(parts).double().mean())
        labels = torch.arange(CLASSES).repeat_interleave(NUM_SAMPLES)
        began = time.process_time()
        model.generate(len(labels), labels, torch.Generator().manual_seed(0))  # type: ignore[operator]
    else:
        found = bits(model, held.images[rows], held.labels[rows]).mean()
        began = time.process_time()
        draw_classes(model, DigitsSettings.of(num_samples=NUM_SAMPLES, seed=0))
    return {
        "bits_per_dim": float(found),
        "digits_per_s": CLASSES * NUM_SAMPLES / (time.process_time() - began),
    }


def row(name: str, split: Split, limit: int, steps: int | None = None) -> dict[str, Any]:
    """Figures of one model, trained first unless it is the shipped one."""
    if name == SHIPPED:
        model, title = vflow.load(name), f"{name} (K = 1, a bound)"
        trained = "hours, in stages: see its card"
    else:
        module = import_module(f"examples.{name.replace('-', '_')}")
        training = module.TRAINING.model_copy(update={"max_steps": steps or module.TRAINING.max_steps})
        torch.manual_seed(training.seed)
        model, title = module.make(), name
        trained = f"{train(model, training):,} steps of {training.batch_size}"
    held = MnistImages(split=split)
    rows = evenly_spaced(len(held), min(limit, len(held)) or len(held))
    return {
        "model": title, "parameters": sum(p.numel() for p in model.parameters()), "trained": trained,
        **figures(model.eval(), held, rows),
    }  # fmt: skip


def compare(names: Sequence[str], split: Split, limit: int, steps: int | None = None) -> dict[str, Any]:
    """The comparison; ``limit`` 0 takes all digits, ``steps`` None as many as each example says."""
    part = f"{limit:,} digits" if limit else "all digits"
    options = f" --steps {steps}" if steps else ""
    return comparison(
        "Models of digits side by side",
        [row(name, split, limit, steps) for name in names],
        f"MNIST, {part} of the {split} part, given their class; samples a second of processor time",
        f"examples.digit_models {' '.join(names)} --split {split} --limit {limit}{options}",
    )


def main(names: Sequence[str] = (), about: str | None = __doc__) -> None:
    """Compare ``names``, or those that the command line names."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    if not names:
        parser.add_argument("names", nargs="*", choices=(*TRAINED, SHIPPED), help="all when not given")
    parser.add_argument("--steps", type=int, help="training steps of each")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--limit", type=int, default=0, help="number of digits to score; 0: all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = names or options.names or (*TRAINED, SHIPPED)
    found = compare(chosen, options.split, options.limit, options.steps)
    print(json.dumps(found, ensure_ascii=False))


if __name__ == "__main__":
    main()
