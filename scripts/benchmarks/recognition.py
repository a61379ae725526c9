"""Recognition of recoloured pictures by a classifier that took no part in training the colouriser.

A small residual network is trained on CIFAR-10's training pictures in colour. It then classifies held-out
pictures in grey, in a colouriser's first colouring, and in their own colours: ``recovered`` is the share of
the accuracy gap between grey and real that the colouring closes (``make accept ONLY=K.recognition``).

Pictures are in folders by class under train/ and test/, in a zip file or a folder.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import vflow
from vflow.config import TrainingConfig
from vflow.data.datasets.photos import Photos
from vflow.data.datasets.splits import Split
from vflow.devices import computes_bfloat16
from vflow.metrics.digits import predict_labels
from vflow.pipelines.color.colorize import PhotoColorizer
from vflow.pipelines.color.photo import color_config, prepare_photo
from vflow.pipelines.common import evenly_spaced
from vflow.randomness import generator
from vflow.tasks.colorize.settings import ColorSettings
from vflow.training.density import optimize

SIDE = 32
WIDTHS = (24, 48, 96, 192)
PADDING = 4  # largest shift of training pictures, in pixels
SECONDS, TAUGHT, COUNT = 200.0, 25_000, 2000
TRAINING = TrainingConfig(
    batch_size=128, max_steps=1_000_000, learning_rate=3e-3, warmup_steps=50, ema=0.995, grad_clip_norm=5.0
)


class Labelled(NamedTuple):
    """Pictures, uint8 (N, 32, 32, 3), and their classes, int64 (N,)."""

    images: np.ndarray
    labels: np.ndarray


@final
class Residual(nn.Module):
    """Two 3×3 convolutions at half the size, beside a 1×1 (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=2)
        self.norm_in, self.norm_out = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm_in(self.first(x)))
        return F.relu(self.shortcut(x) + self.norm_out(self.second(h)))


@final
class Judge(nn.Module):
    """Logits (B, 10) of uint8 (B, 32, 32, 3); trained without colour augmentation."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(WIDTHS[0])
        self.blocks = nn.Sequential(*(Residual(a, b) for a, b in pairwise(WIDTHS)))
        self.classify = nn.Linear(WIDTHS[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        x = (images.movedim(-1, 1).float() / 128 - 1).contiguous(memory_format=torch.channels_last)
        x = F.relu(self.norm(self.stem(x)))
        return self.classify(self.blocks(x).amax((2, 3)))


def read(path: Path, split: Split, count: int = 0) -> Labelled:
    """``count`` pictures of a split, evenly spaced; 0: all. Validation is a fixed 5% of train."""
    photos = Photos(path, size=SIDE, split=split)
    kinds = [name.split("/")[-2] for name in photos.names]
    chosen = evenly_spaced(len(kinds), count or len(kinds))
    images = np.stack([photos.original(index) for index in chosen])
    return Labelled(images, np.unique(kinds, return_inverse=True)[1][chosen])


def train_judge(data: Labelled, seconds: float) -> Judge:
    """Judge trained for some seconds of processor time on shifted and mirrored pictures."""
    torch.manual_seed(0)
    judge, random = Judge(), generator("judge")
    judge.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    labels = torch.from_numpy(data.labels)
    rows = shuffled(len(labels), TRAINING.batch_size, random)
    native = computes_bfloat16(torch.device("cpu"))

    def loss(share: float) -> Tensor:
        chosen = next(rows)
        images = torch.from_numpy(varied(data.images[chosen], random))
        with torch.autocast("cpu", torch.bfloat16, enabled=native):
            logits = judge(images)
        return F.cross_entropy(logits.float(), labels[chosen], label_smoothing=0.05)

    for step in optimize(judge, loss, TRAINING, seconds):
        if step.step % 100 == 0:
            print(f"judge: step {step.step}, loss {step.nats:.3f}", file=sys.stderr)
    return judge


def shuffled(total: int, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Endless batches of indices, a new permutation each epoch."""
    while True:
        order = random.permutation(total)
        yield from (order[start : start + size] for start in range(0, total - size + 1, size))


def varied(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A batch, uint8 (B, 32, 32, 3), shifted as a whole by up to 4 pixels; half of it is mirrored."""
    padded = np.pad(images, ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)), mode="reflect")
    top, left = random.integers(2 * PADDING + 1, size=2)
    cut = padded[:, top : top + SIDE, left : left + SIDE].copy()
    turned = random.random(len(cut)) < 0.5
    cut[turned] = cut[turned, :, ::-1]
    return cut


def coloured(model: Any, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First variants at the suggested temperature, and the pictures in grey: uint8 (N, 32, 32, 3) each."""
    first, grey = [], []
    settings = ColorSettings(num_samples=1, temperature=model.config.temperature)
    for number, image in enumerate(images, 1):
        colorizer = PhotoColorizer(model, prepare_photo(color_config(model), image), settings)
        ab = colorizer.chunk(0).ab
        first.append(colorizer.join(ab)[0])
        grey.append(colorizer.join(torch.zeros_like(ab))[0])
        if number % 100 == 0:
            print(f"coloured: {number} of {len(images)}", file=sys.stderr)
    return np.stack(first), np.stack(grey)


def recognition(judge: nn.Module, checkpoint: str, data: Labelled) -> dict[str, Any]:
    """Accuracies of the judge on grey, recoloured and real pictures, and the share of the gap recovered."""
    model = vflow.load(checkpoint)
    first, grey = coloured(model, data.images)
    right = {
        name: predict_labels(judge, images) == data.labels
        for name, images in (("grey", grey), ("first", first), ("real", data.images))
    }
    accuracy = {f"accuracy_{name}": float(hits.mean()) for name, hits in right.items()}
    gain, way = (right[name].astype(float) - right["grey"] for name in ("first", "real"))
    return {**accuracy, **share(gain, way)}


def share(gain: np.ndarray, way: np.ndarray) -> dict[str, float]:
    """Share Σ gain / Σ way, pictures of shape (N,) each, and its standard error by the delta method, as both
    sums depend on which pictures were chosen; NaN where there is no way to go."""
    if way.mean() <= 0:
        return {"recovered": float("nan"), "standard_error": float("nan")}
    recovered = gain.mean() / way.mean()
    error = (gain - recovered * way).std() / np.sqrt(len(way)) / way.mean()
    return {"recovered": float(recovered), "standard_error": float(error)}
