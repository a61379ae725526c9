"""Knowledge types added to a frozen flow of digits (TzK): share of drawn digits that a classifier recognises.

A flow is trained on MNIST at half its size (means of 2×2 pixels) without labels. It is then frozen and eleven
types are trained on it: the ten digits, and ink, whose code is the standardised mean grey level of the digit.
The classifier sees pictures at twice their size. Prints a comparison in the format of scripts/results.py.
Budgets are in seconds of processor time. Run with one thread::

    VFLOW_DATA=… python -m scripts.benchmarks.knowledge > docs/results/knowledge.json
"""

from __future__ import annotations

import argparse
import json
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from scripts.benchmarks.comparison import comparison
from vflow.config import DensityConfig, DigitsConfig, GlowConfig, TrainingConfig
from vflow.data.datasets.digits import MnistImages
from vflow.data.datasets.splits import Split
from vflow.metrics.digits import CLASSES, DigitClassifier, agreement, train_classifier
from vflow.models.digits import Digits
from vflow.models.image import ImageBatch
from vflow.models.knowledge import Knowledge, Types
from vflow.randomness import generator, normal
from vflow.training.density import optimize
from vflow.training.knowledge import fit_types

INK, SHAPE = CLASSES, (CLASSES + 1, 1)
GLOW = GlowConfig(
    channels=1, height=14, width=14, depth=(2,), hidden=(64,), coupling="mixture", activation="gatu"
)
BASE = DigitsConfig(glow=GLOW, classes=1, condition=(1,), noise="uniform", pixel_map="per_pixel")
NET = {"kind": "coupling", "hidden": [256, 256]}
BLOCK = [{"kind": "permutation", "order": "random"}, {**NET, "keep": "first"}, {**NET, "keep": "last"}]
OVER = DensityConfig.model_validate({
    "dim": 14 * 14,
    "features": 32,
    "layers": [{"kind": "actnorm"}, {"kind": "repeat", "times": 8, "layers": BLOCK}],
})  # fmt: skip
TRAINING = TrainingConfig(
    batch_size=48, max_steps=1_000_000, learning_rate=2e-3, warmup_steps=20, ema=0.99, actnorm_batch=256
)
OVER_TRAINING = TRAINING.model_copy(update={"batch_size": 128, "learning_rate": 1e-3})
BASE_SECONDS, SECONDS = 16.0, 12.0  # processor time
WEIGHT = 1.0  # of the cross-entropy of the digit, in nats, beside the nats of an image
HELD, PER_TYPE = 512, 40
TEMPERATURES = (1.0, 0.8, 0.6)


def digits(split: Split) -> tuple[Tensor, Tensor, Tensor]:
    """Digits uint8 (N, 1, 14, 14), labels, int64 (N,), and mean grey levels, float32 (N,)."""
    found = MnistImages(split=split)
    images = avg_pool2d(torch.tensor(found.images)[:, None].float(), 2).round().to(torch.uint8)
    return images, torch.tensor(found.labels).long(), images.float().mean((1, 2, 3))


def train_base(images: Tensor, seconds: float) -> Digits:
    """The flow of digits without labels."""
    torch.manual_seed(0)
    base, random = Digits(BASE), generator("base")

    def batch(size: int) -> ImageBatch:
        rows = torch.from_numpy(random.integers(len(images), size=size))
        noise = normal((size, *images.shape[1:]), "base", int(random.integers(2**31)))
        return ImageBatch(images[rows], torch.zeros(size, dtype=torch.int64), noise)

    base.fit([batch(4096)])
    base.initialize(batch(TRAINING.actnorm_batch))
    size = TRAINING.batch_size
    for _ in optimize(base, lambda share: -base(batch(size)).mean(), TRAINING, seconds):
        pass
    return base


@cache
def judge() -> DigitClassifier:
    """The classifier of ``vflow evaluate``, trained independently of the flow for one epoch.

    Of the training split: digits that it judges are not among those that it learned.
    """
    train = MnistImages(split="train")
    with torch.enable_grad():
        return train_classifier(train.images, train.labels, epochs=1)


def recognised(images: Tensor, labels: Tensor) -> float:
    """Share of digits, uint8 (N, 1, 14, 14), that the classifier assigns to their labels."""
    large = interpolate(images.float(), scale_factor=2.0, mode="bilinear").round().to(torch.uint8)
    return agreement(judge(), large[:, 0].numpy(), labels.numpy())


def run(base_seconds: float, seconds: float) -> list[dict[str, object]]:
    """Rows: the frozen flow, given one type, given two types, and real digits as the classifier sees them."""
    images, labels, gray = digits("train")
    mean, deviation = float(gray.mean()), float(gray.std())

    def known(labels: Tensor, gray: Tensor) -> Types:
        types = Types(torch.zeros(len(labels), SHAPE[0]), torch.zeros(len(labels), *SHAPE))
        types.exists[torch.arange(len(labels)), labels] = 1
        types.exists[:, INK] = 1
        types.codes[:, INK, 0] = (gray - mean) / deviation
        return types

    model = Knowledge(train_base(images, base_seconds), *SHAPE, OVER)
    types, steps = known(labels, gray), 0
    for progress in fit_types(model, images, types, OVER_TRAINING, seconds, exclusive=CLASSES, weight=WEIGHT):
        steps = progress.step
    held, held_labels, held_gray = (part[:HELD] for part in digits("validation"))
    everything = known(held_labels, held_gray)
    asked = torch.arange(CLASSES).repeat(PER_TYPE)
    ink = torch.linspace(-1, 1, PER_TYPE).repeat_interleave(CLASSES)
    both = known(asked, mean + deviation * ink)
    noise = normal((len(asked), *images.shape[1:]), "drawn")
    only_digit = torch.arange(SHAPE[0]) < INK
    with torch.no_grad():
        z, nats = model.encode(held, normal(held.shape, "held"))
        named = model.log_posterior(z, range(CLASSES)).argmax(1)
        rows: list[dict[str, object]] = [
            {"model": "nothing known", "bits_per_dim": float(model.base.bits_per_dim(nats.mean()))},
            {"model": "a digit", "steps": steps, "bayes": float((named == held_labels).float().mean())},
            {"model": "a digit and its ink", "steps": steps},
        ]
        for row, types, wanted in (
            (rows[1], everything.kept(only_digit), both.kept(only_digit)),
            (rows[2], everything, both),
        ):
            row["bits_per_dim"] = float(model.base.bits_per_dim((nats + model.log_ratio(z, types)).mean()))
            for temperature in TEMPERATURES:
                made = model.generate(noise, wanted, temperature).frame
                row[f"recognised_at_{temperature:g}"] = recognised(made, asked)
                if temperature == 1:
                    pair = torch.stack([made.float().mean((1, 2, 3)), ink])
                    row["ink_correlation"] = float(torch.corrcoef(pair)[0, 1])
    return [*rows, {"model": "real digits", "recognised_at_1": recognised(held, held_labels)}]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--base-seconds", type=float, default=BASE_SECONDS, help="processor time of training the flow"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="processor time of training the types")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    budgets = arguments.base_seconds, arguments.seconds
    found = comparison(
        "Knowledge types added to a frozen flow of digits",
        run(*budgets),
        f"MNIST at half its size; {HELD} validation digits; {CLASSES * PER_TYPE} digits drawn "
        f"at each temperature; {budgets[0]:g} s of processor time for the flow, {budgets[1]:g} s for types",
        f"knowledge --base-seconds {budgets[0]:g} --seconds {budgets[1]:g}",
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
