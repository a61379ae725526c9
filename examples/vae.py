"""Variational autoencoders of binarised digits whose posterior is a flow.

p(x) = ∫ N(z; 0, I) Bernoulli(x; decoder(z)) dz, and q(z | x) a chain of layers: diagonal, planar (Rezende
& Mohamed 2015), inverse autoregressive (Kingma et al. 2016), or with a Gaussian copula (Wang & Wang 2019).
After 16,000 steps the evidence lower bound of 3,099 validation digits is −84.19, −81.01, −83.40 and
−101.05 nats. Run with one thread::

    python -m examples.vae iaf,diagonal,planar,copula --data MNIST --output docs/results/densities.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from examples.densities import record
from vflow.bijections import Chain, ParametersFromContext, VectorBijection
from vflow.bijections.base import Context
from vflow.bijections.linear import full_precision
from vflow.config import TrainingConfig
from vflow.config.base import Config, parse
from vflow.config.density import ElementwiseLayer, Layer, Width
from vflow.data.datasets.digits import MnistImages
from vflow.densities import Normal
from vflow.models.density import build_chain
from vflow.nn.mlp import MLP
from vflow.randomness import normal
from vflow.training.density import batches, optimize

BLACK_BELOW = 128  # grey levels from here on are 1: the threshold ½, fixed
GATED = {"kind": "autoregressive", "element": {"kind": "gated"}, "hidden": [256]}
POSTERIORS: dict[str, list[dict[str, Any]]] = {
    "diagonal": [{"kind": "elementwise"}],
    "planar": [
        {"kind": "inverse", "layers": [{"kind": "repeat", "times": 10, "layers": [{"kind": "planar"}]}]},
        {"kind": "elementwise"},
    ],
    "iaf": [
        {
            "kind": "inverse",
            "layers": [{"kind": "repeat", "times": 2, "layers": [GATED, {"kind": "permutation"}]}],
        },
        {"kind": "elementwise"},
    ],
    "copula": [{"kind": "elementwise"}],
}


class VaeConfig(Config):
    """Variational autoencoder of binary vectors; its posterior is a chain of layers on the latent."""

    dim: int = Field(default=784, ge=1, le=4096)
    latent: int = Field(default=32, ge=1, le=1024)
    hidden: tuple[Width, ...] = Field(default=(300, 300), min_length=1)
    posterior: tuple[Layer, ...] = Field(default=(ElementwiseLayer(),), min_length=1)
    """Layers from latent to normal noise, given the image."""
    copula: bool = False
    """True if a Gaussian copula follows them."""


def binarize(images: Tensor) -> Tensor:
    """Bits (B, D), float32, of grey images (B, …), uint8: 1 from level 128 on."""
    return (images.flatten(1) >= BLACK_BELOW).float()


@final
class GaussianCopula(VectorBijection):
    """x = L z, L lower triangular with rows of length 1, diagonal positive (Wang & Wang 2019, section 4).

    L Lᵀ is a correlation matrix, so a standard-normal z gives x standard-normal marginals: the copula alone
    is learned. Row i of L is (a_i, 1) / ‖(a_i, 1)‖ for i numbers a_i. log |det L| = −Σ log ‖(a_i, 1)‖. The
    map to the latent solves the triangular system.

    Args:
        dim: D.
        features: F of a context that moves all a; 0 for none.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, dim: int, features: int = 0) -> None:
        super().__init__()
        self.dim, self.features = dim, features
        rows, columns = torch.tril_indices(dim, dim, -1)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)
        self.parameters_of_map = ParametersFromContext(torch.zeros(len(rows)), features)

    def _factor(self, like: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """L (B, D, D) and the log-lengths of its rows before they are made 1, (B, D)."""
        # An amortised copula learns slowly: noise in so many numbers, each of which a step of Adam would move
        # by its learning rate times all that enters it, leads a posterior away from the diagonal for good.
        if self.features:
            a = self.parameters_of_map(like, None if context is None else context / self.features) / self.dim
        else:
            a = self.parameters_of_map(like, context)
        lower = torch.eye(self.dim, dtype=a.dtype, device=a.device).repeat(len(like), 1, 1)
        lower = lower.index_put(
            (torch.arange(len(like), device=a.device)[:, None], self.rows, self.columns), a
        )
        square = lower.square().sum(2)
        return lower * square.rsqrt()[:, :, None], 0.5 * square.log()

    def transform_vectors(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        lower, log_length = self._factor(x, context)
        z = torch.linalg.solve_triangular(lower, x[:, :, None], upper=False)[:, :, 0]
        return z, log_length.sum(1)

    def invert_vectors(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        lower, log_length = self._factor(z, context)
        with full_precision(z):
            return (lower @ z[:, :, None])[:, :, 0], -log_length.sum(1)


@final
class Vae(nn.Module):
    """p(x) = ∫ N(z; 0, I) Bernoulli(x; decoder(z)) dz, with a posterior q(z | x) that is a chain of layers.

    The chain maps z to standard-normal noise, given features of x; backwards it samples. An affine layer is
    the diagonal posterior; planar layers are that of Rezende & Mohamed 2015, gated autoregressive ones in an
    ``inverse`` that of Kingma et al. 2016, a Gaussian copula that of Wang & Wang 2019.
    """

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.dim, *config.hidden]
        layers = [part for n, m in pairwise(widths) for part in (nn.Linear(n, m), nn.ReLU())]
        self.encoder = nn.Sequential(*layers)
        posterior = build_chain(config.posterior, config.latent, config.hidden[-1]).layers
        copula = [GaussianCopula(config.latent, config.hidden[-1])] if config.copula else []
        self.posterior = Chain([*posterior, *copula])
        self.decoder = MLP(config.latent, config.dim, config.hidden[::-1])
        self.prior = Normal(config.latent)

    def forward(self, bits: Tensor, eps: Tensor) -> Tensor:
        """Evidence lower bound (B,) in nats of ``bits`` (B, D), from standard-normal noise (B, latent)."""
        z, ladj = self._posterior_sample(bits, eps)
        log_posterior = self.prior.log_prob(eps) - ladj
        return self._log_likelihood(bits, z) + self.prior.log_prob(z) - log_posterior

    def latents(self, bits: Tensor) -> Tensor:
        """Latents (B, latent) of ``bits`` (B, D) without noise; of a diagonal posterior its mean."""
        return self._posterior_sample(bits, bits.new_zeros(len(bits), self.config.latent))[0]

    def reconstruction(self, bits: Tensor) -> Tensor:
        """log p(x | z(x)) (B,), nats, with ``latents`` z: what a plain autoencoder maximises."""
        return self._log_likelihood(bits, self.latents(bits))

    def _posterior_sample(self, bits: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """z (B, latent) from noise, and the log-det of that map (B,)."""
        features = self.encoder(bits)[:, :, None, None]
        z, ladj = self.posterior.inverse(eps[:, :, None, None], features)
        return z.flatten(1), ladj

    def _log_likelihood(self, bits: Tensor, z: Tensor) -> Tensor:
        logit = self.decoder(z)
        return -F.binary_cross_entropy_with_logits(logit, bits, reduction="none").sum(1)

    def importance_bound(self, bits: Tensor, eps: Tensor) -> Tensor:
        """Importance-weighted bound (B,), nats, from noise (K, B, latent) (Burda et al. 2016)."""
        bounds = torch.stack([self(bits, one) for one in eps])
        return bounds.logsumexp(0) - math.log(len(eps))

    def sample(self, z: Tensor) -> Tensor:
        """Probabilities (B, D) that a bit is 1, of latents (B, latent), such as draws of the prior."""
        return self.decoder(z).sigmoid()


def train_vae(model: Vae, bits: Tensor, steps: int, seed: int) -> float:
    """Train a VAE by its evidence lower bound for some steps; the seconds of processor time taken."""
    config = TrainingConfig(
        batch_size=128, max_steps=steps, learning_rate=1e-3, grad_clip_norm=50.0, seed=seed
    )
    stream, counter, start = batches(bits, config.batch_size, seed), itertools.count(), time.process_time()

    def loss(_: float) -> Tensor:
        eps = normal((config.batch_size, model.config.latent), "vae", seed, next(counter))
        return -model(next(stream), eps).mean()

    for _ in optimize(model, loss, config):
        pass
    return time.process_time() - start


def posterior(names: list[str], data: str, steps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Bounds of a VAE on validation digits binarised at ½, after equal steps with each posterior."""
    train_bits, held = (
        binarize(torch.from_numpy(MnistImages(split=split, root=data).images))
        for split in ("train", "validation")
    )
    for name in names:
        torch.manual_seed(seed)
        model = Vae(parse(VaeConfig, {"posterior": POSTERIORS[name], "copula": name == "copula"}, name))
        seconds = train_vae(model, train_bits, steps, seed)
        with torch.no_grad():
            eps = normal((20, len(held), model.config.latent), "vae-validation", seed)
            elbo = torch.stack([model(held, one).mean() for one in eps[:5]]).mean()
            bound = model.importance_bound(held, eps).mean()
        yield {
            "posterior": name,
            "elbo": round(float(elbo), 2),
            "importance_bound_20": round(float(bound), 2),
            "steps": steps,
            "seconds": round(seconds),
            "digits": len(held),
            "split": "validation",
            "parameters": sum(p.numel() for p in model.parameters()),
            "seed": seed,
            "threads": torch.get_num_threads(),
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("posteriors", help=", ".join(POSTERIORS))
    parser.add_argument("--data", required=True, help="folder of MNIST")
    parser.add_argument("--steps", type=int, default=16_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON file to store the rows in")
    options = parser.parse_args()
    for row in posterior(options.posteriors.split(","), options.data, options.steps, options.seed):
        print(json.dumps(row), flush=True)
        if options.output:
            record(options.output, "posterior", row)


if __name__ == "__main__":
    main()
