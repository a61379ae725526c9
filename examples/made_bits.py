"""Masked autoencoders of bits (MADE, Germain et al. 2015): p(x) = Π p(x_i | x_{<i}) from one masked network.

3,099 validation digits of MNIST, binarised at ½, cost 95.73 nats each under one mask and 106.0 under a
mixture of eight, after equal 13 s of processor time. Run with one thread::

    python -m examples.made_bits --data MNIST --seconds 13 --output docs/results/densities.json
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from examples.densities import record
from examples.vae import binarize
from vflow.config import TrainingConfig
from vflow.config.base import Config
from vflow.config.density import Width
from vflow.data.datasets.digits import MnistImages
from vflow.nn.masked import MADE, Masking
from vflow.training.density import batches, optimize

MASKS = (1, 8)


class MadeConfig(Config):
    """Masked autoencoder over binary vectors (Germain et al. 2015)."""

    dim: int = Field(default=784, ge=1, le=4096)
    hidden: tuple[Width, ...] = (500,)
    masks: int = Field(
        default=1, ge=1, le=64, description="orders and connectivities that training goes through"
    )


@final
class BernoulliMade(nn.Module):
    """p(x) = Π p(x_i | x_{<i}) for bits x (B, D), all factors from one masked network.

    With several masks, each with an order and a connectivity of its own, the model is their equal mixture;
    training goes through the masks one by one (sections 4.2 and 4.3).
    """

    def __init__(self, config: MadeConfig) -> None:
        super().__init__()
        self.config = config
        self.net = MADE(config.dim, 1, config.hidden, masking=Masking(config.masks))

    def log_prob(self, bits: Tensor, mask: int) -> Tensor:
        """log p(x), (B,), in nats under mask number ``mask`` alone."""
        logit = self.net.prepare(mask=mask)(bits)[:, :, 0]
        return -F.binary_cross_entropy_with_logits(logit, bits, reduction="none").sum(1)

    def forward(self, bits: Tensor) -> Tensor:
        """log p(x), (B,), in nats, of ``bits`` (B, D), zeros and ones."""
        parts = torch.stack([self.log_prob(bits, mask) for mask in range(self.config.masks)])
        return parts.logsumexp(0) - math.log(self.config.masks)

    @torch.no_grad()
    def sample(self, eps: Tensor) -> Tensor:
        """Bits (B, D) from standard-normal noise (B, D), in D passes, by the first mask."""
        run, level = self.net.prepare(), torch.special.ndtr(eps)
        bits = torch.zeros_like(eps)
        for index in self.net.order.argsort().tolist():
            bits[:, index] = (level[:, index] < run(bits)[:, index, 0].sigmoid()).to(eps.dtype)
        return bits


def bits(data: str, seconds: float, seed: int) -> Iterator[dict[str, Any]]:
    """Nats of validation digits, binarised at ½, under a MADE with one mask and with several."""
    train, held = (
        binarize(torch.from_numpy(MnistImages(split=split, root=data).images))
        for split in ("train", "validation")
    )
    for masks in MASKS:
        torch.manual_seed(seed)
        model, stream = BernoulliMade(MadeConfig(masks=masks)), batches(train, 128, seed)
        config = TrainingConfig(
            batch_size=128, max_steps=1_000_000, learning_rate=5e-3, grad_clip_norm=None, seed=seed
        )
        turns = iter(range(config.max_steps))

        def loss(
            _: float, model: BernoulliMade = model, stream: Iterator[Tensor] = stream, turns: Any = turns
        ) -> Tensor:
            return -model.log_prob(next(stream), next(turns) % model.config.masks).mean()

        steps = sum(1 for _ in optimize(model, loss, config, seconds))
        with torch.no_grad():
            nats = -torch.cat([model(part) for part in held.split(500)]).mean()
        yield {
            "model": "made",
            "masks": masks,
            "hidden": list(model.config.hidden),
            "nats": round(float(nats), 2),
            "steps": steps,
            "digits": len(held),
            "split": "validation",
            "parameters": sum(p.numel() for p in model.parameters()),
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of MNIST")
    parser.add_argument("--seconds", type=float, default=13, help="processor time of each training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON file to store the rows in")
    options = parser.parse_args()
    for row in bits(options.data, options.seconds, options.seed):
        budget = {"seconds": options.seconds, "seed": options.seed, "threads": torch.get_num_threads()}
        print(json.dumps(row | budget), flush=True)
        if options.output:
            record(options.output, "bits", row | budget)


if __name__ == "__main__":
    main()
