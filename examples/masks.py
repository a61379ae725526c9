"""Masks of noisy pictures: a conditional flow with half-infinite noise against independent pixels.

The baseline is the same network on the picture, widened to as many parameters, and outputs Bernoulli
logits for each pixel. Both are trained for equal processor time: of 200 validation masks of simulated
vessels the flow has 0.102 nats per pixel, the other network 0.119. Run with one thread::

    python -m examples.masks vessels --seconds 150 --masks 200 > docs/results/masks.json
    python -m examples.masks skimage-masks --seconds 75 --masks 200 > docs/results/skimage-masks.json
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from examples.mask_parts.figures import Masks, draw_masks, log_likelihoods, mask_figures, sheet
from examples.mask_parts.model import Segmentation, SegmentationConfig
from examples.mask_parts.skimage_masks import SkimageMasks
from examples.mask_parts.vessels import Vessels
from scripts.benchmarks.comparison import comparison
from vflow.config import EncoderConfig, TrainingConfig
from vflow.data import media
from vflow.data.datasets.splits import Split
from vflow.data.datasets.types import ImageDataset
from vflow.models import ImageBatch
from vflow.nn.encoder import FrameEncoder, WindowEncoder
from vflow.nn.layers import ZeroConv2d
from vflow.nn.reshape import unsqueeze
from vflow.randomness import normal
from vflow.training.density import optimize
from vflow.training.images import Images, draw_given_pictures

SAMPLES, DRAWS = 16, 16
SIZE = 32
"""Pixels a side of masks and pictures."""
CONFIG = SegmentationConfig()
TRAINING = TrainingConfig(
    batch_size=16, max_steps=1_000_000, learning_rate=2e-3, warmup_steps=20, actnorm_batch=64
)
TITLES = {"vessels": "Masks of simulated vessels", "skimage-masks": "Masks of scikit-image's pictures"}


@final
class Bernoulli(nn.Module):
    """Logits (B, 1, H, W) of the mask of a picture, uint8 (B, 1, H, W); pixels are independent given it."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder, self.top_down = FrameEncoder(1, config), WindowEncoder(1, config)
        self.conv_out = ZeroConv2d(config.hidden[0], 4)

    def forward(self, pictures: Tensor) -> Tensor:
        seen = tuple(level[:, None] for level in self.encoder(pictures.float() / 128 - 1))
        return unsqueeze(self.conv_out(self.top_down(seen, torch.ones(len(pictures), 1))[0]))

    def nats(self, truth: Tensor, pictures: Tensor) -> Tensor:
        """log p(mask | picture), (B,)."""
        loss = binary_cross_entropy_with_logits(self(pictures), (truth > 0).float(), reduction="none")
        return -loss.flatten(1).sum(1)


def size_of(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in model.parameters())


def rival(config: SegmentationConfig) -> Bernoulli:
    """The smallest baseline with at least as many parameters as the flow."""
    size, hidden = size_of(Segmentation(config)), config.condition.hidden
    for width in range(hidden[0], 1024):
        wider = tuple(h * width // hidden[0] for h in hidden)
        model = Bernoulli(config.condition.model_copy(update={"hidden": wider}))
        if size_of(model) >= size:
            return model
    raise AssertionError("the flow has too many parameters")


def masks_of(data: str, split: Split) -> ImageDataset:
    """Vessels, or masks of scikit-image's pictures."""
    return Vessels(SIZE, split) if data == "vessels" else SkimageMasks(SIZE, split)


def train(model: nn.Module, nats: Callable[[ImageBatch], Tensor], data: str, seconds: float) -> int:
    """Train a model; the number of steps."""
    images = Images(masks_of(data, "train"), None, TRAINING.seed, draw_given_pictures)
    starts, steps = itertools.count(0, TRAINING.batch_size), 0
    if isinstance(model, Segmentation):
        model.initialize(images.batch(0, TRAINING.actnorm_batch))

    def loss(share: float) -> Tensor:
        return -nats(images.batch(next(starts), TRAINING.batch_size)).mean()

    for progress in optimize(model, loss, TRAINING, seconds):
        steps = progress.step
    return steps


@torch.no_grad()
def run(data: str, seconds: float, count: int, picture: Path | None = None) -> list[dict[str, object]]:
    """Rows of the comparison; samples of the flow, with the baseline's below, are saved to ``picture``."""
    masks = Masks.take(masks_of(data, "validation"), count)
    pixels = masks.truth[0].numel()
    torch.manual_seed(0)
    flow = Segmentation(CONFIG)
    other = rival(CONFIG)
    rows: list[dict[str, object]] = []
    with torch.enable_grad():
        steps = train(flow, flow, data, seconds)
    nats = log_likelihoods(flow, masks, DRAWS, 0)
    levels = (1.0,) * len(flow.latent_shapes)
    drawn = np.stack([draw_masks(flow, masks.pictures, levels, 0, k) for k in range(SAMPLES)], 1)
    together = nats.logsumexp(0) - torch.tensor(float(DRAWS)).log()
    rows.append(
        {
            "model": "flow, half-infinite noise", "parameters": size_of(flow), "steps": steps,
            "nats_per_pixel": float(-nats.mean() / pixels),
            "nats_per_pixel_k16": float(-together.mean() / pixels),
            **mask_figures(drawn, masks.truth),
        }
    )  # fmt: skip
    with torch.enable_grad():
        steps = train(other, lambda batch: other.nats(batch.images, batch.condition), data, seconds)
    sheets = [sheet(masks, drawn)]
    share = other(masks.pictures).sigmoid()
    draws = torch.special.ndtr(normal((len(share), SAMPLES, *share.shape[1:]), "bernoulli"))
    drawn = torch.where(draws < share[:, None], 255, 0).to(torch.uint8).numpy()
    rows.append(
        {
            "model": "independent pixels", "parameters": size_of(other), "steps": steps,
            "nats_per_pixel": float(-other.nats(*masks).mean() / pixels),
            **mask_figures(drawn, masks.truth),
        }
    )  # fmt: skip
    if picture is not None:
        sheets.append(sheet(masks, drawn))
        media.write_png(picture, np.concatenate(sheets))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", choices=tuple(TITLES), default="vessels")
    parser.add_argument("--seconds", type=float, default=150.0, help="processor time of each training")
    parser.add_argument("--picture", type=Path, help="PNG file for a sheet of samples")
    parser.add_argument("--masks", type=int, default=200, help="number of validation masks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = comparison(
        TITLES[arguments.data],
        run(arguments.data, arguments.seconds, arguments.masks, arguments.picture),
        f"{arguments.masks} validation masks, {SAMPLES} samples of each at T = 1; "
        f"{arguments.seconds:g} s of processor time for each training",
        f"examples.masks {arguments.data} --seconds {arguments.seconds:g} --masks {arguments.masks}",
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
