"""Masked autoencoder over binary vectors (Germain et al. 2015)."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.config.density import MadeConfig
from vflow.nn.masked import MADE, Masking


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
        logit = self.net.prepare(mask)(bits, None)[:, :, 0]
        return -F.binary_cross_entropy_with_logits(logit, bits, reduction="none").sum(1)

    def forward(self, bits: Tensor) -> Tensor:
        """log p(x), (B,), in nats, of ``bits`` (B, D), zeros and ones."""
        parts = torch.stack([self.log_prob(bits, mask) for mask in range(self.config.masks)])
        return parts.logsumexp(0) - math.log(self.config.masks)

    @torch.no_grad()
    def sample(self, eps: Tensor) -> Tensor:
        """Bits (B, D) from standard-normal noise (B, D), in D passes, by the first mask."""
        run, level = self.net.prepare(0), torch.special.ndtr(eps)
        bits = torch.zeros_like(eps)
        for index in self.net.order.argsort().tolist():
            bits[:, index] = (level[:, index] < run(bits, None)[:, index, 0].sigmoid()).to(eps.dtype)
        return bits
