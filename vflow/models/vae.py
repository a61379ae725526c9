"""Variational autoencoder of binary vectors whose posterior is a flow."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.config.density import VaeConfig
from vflow.densities import Normal
from vflow.models.density import build_chain
from vflow.nn.mlp import MLP

BLACK_BELOW = 128  # grey levels from here on are 1: the threshold ½, fixed


def binarize(images: Tensor) -> Tensor:
    """Bits (B, D), float32, of grey images (B, …), uint8: 1 from level 128 on."""
    return (images.flatten(1) >= BLACK_BELOW).float()


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
        self.posterior = build_chain(config.posterior, config.latent, config.hidden[-1])
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
