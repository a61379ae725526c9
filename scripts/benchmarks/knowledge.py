"""Knowledge types added to a frozen flow of digits (TzK): what the judge of drawn digits recognises.

A flow learns MNIST at half its size (means of 2×2 pixels) without its labels; then eleven types are learned
over it while it is frozen: the ten digits, and ink, whose code is the digit's mean grey level, standardised.
The judge sees pictures at twice their size. Prints one JSON object. Budgets are seconds of processor time.
Run with one thread::

    VFLOW_DATA=… python -m scripts.benchmarks.knowledge --base-seconds 120 --seconds 120
"""

from __future__ import annotations

import argparse
import json
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from vflow.config import DigitsConfig, GlowConfig, TrainingConfig
from vflow.data.datasets.digits import MnistImages, load_mnist
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
    channels=1, height=14, width=14, depth=(6,), hidden=(64,), coupling="mixture", activation="gatu"
)
BASE = DigitsConfig(glow=GLOW, classes=1, condition=(1,), noise="uniform", pixel_map="per_pixel")
OVER = GLOW.model_copy(update={"coupling": "affine", "depth": (8,)})
CONDITION = (16,)
TRAINING = TrainingConfig(
    batch_size=48, max_steps=1_000_000, learning_rate=2e-3, warmup_steps=20, ema=0.99, actnorm_batch=256
)
WEIGHT = 4.0  # of the cross-entropy of the digit, in nats, beside the nats of an image
HELD, PER_TYPE = 512, 40


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
    """The classifier of ``vflow evaluate``, which knows nothing of the flow: one epoch of MNIST."""
    with torch.enable_grad():
        return train_classifier(*load_mnist(None, train=True), epochs=1)


def recognised(images: Tensor, labels: Tensor) -> float:
    """Share of digits uint8 (N, 1, 14, 14) that the judge takes for their labels."""
    large = interpolate(images.float(), scale_factor=2.0, mode="bilinear").round().to(torch.uint8)
    return agreement(judge(), large[:, 0].numpy(), labels.numpy())


def run(base_seconds: float, seconds: float) -> dict[str, float | int]:
    """Figures of the frozen flow, of the types over it, and of what is drawn given one and two types."""
    images, labels, gray = digits("train")
    mean, deviation = float(gray.mean()), float(gray.std())

    def known(labels: Tensor, gray: Tensor) -> Types:
        types = Types(torch.zeros(len(labels), SHAPE[0]), torch.zeros(len(labels), *SHAPE))
        types.exists[torch.arange(len(labels)), labels] = 1
        types.exists[:, INK] = 1
        types.codes[:, INK, 0] = (gray - mean) / deviation
        return types

    model = Knowledge(train_base(images, base_seconds), *SHAPE, OVER, CONDITION)
    types, steps = known(labels, gray), 0
    for progress in fit_types(model, images, types, TRAINING, seconds, exclusive=CLASSES, weight=WEIGHT):
        steps = progress.step
    held, held_labels, held_gray = (part[:HELD] for part in digits("validation"))
    everything = known(held_labels, held_gray)
    digit = everything.kept(torch.arange(SHAPE[0]) < INK)
    asked = torch.arange(CLASSES).repeat(PER_TYPE)
    ink = torch.linspace(-1, 1, PER_TYPE).repeat_interleave(CLASSES)
    both = known(asked, mean + deviation * ink)
    noise = normal((len(asked), *images.shape[1:]), "drawn")
    with torch.no_grad():
        z, nats = model.encode(held, normal(held.shape, "held"))
        found: dict[str, float | int] = {
            "types_steps": steps,
            "bits_per_dim_nothing_known": float(model.base.bits_per_dim(nats.mean())),
            "bits_per_dim_digit": float(model.base.bits_per_dim((nats + model.log_ratio(z, digit)).mean())),
            "bits_per_dim_both": float(
                model.base.bits_per_dim((nats + model.log_ratio(z, everything)).mean())
            ),
            "recognised_real": recognised(held, held_labels),
            "bayes": float((model.log_posterior(z, range(CLASSES)).argmax(1) == held_labels).float().mean()),
        }
    for name, given in (("digit", both.kept(torch.arange(SHAPE[0]) < INK)), ("both", both)):
        for temperature in (1.0, 0.8):
            made = model.generate(noise, given, temperature).frame
            found[f"recognised_{name}_at_{temperature:g}"] = recognised(made, asked)
            if name == "both":
                pair = torch.stack([made.float().mean((1, 2, 3)), ink])
                found[f"ink_correlation_at_{temperature:g}"] = float(torch.corrcoef(pair)[0, 1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base-seconds", type=float, default=120.0, help="training of the flow")
    parser.add_argument("--seconds", type=float, default=120.0, help="training of the types")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(run(arguments.base_seconds, arguments.seconds)))


if __name__ == "__main__":
    main()
