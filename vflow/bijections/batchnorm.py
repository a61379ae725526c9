"""Batch normalisation as a flow."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from vflow.bijections.actnorm import batch_statistics, constant_density
from vflow.bijections.base import Bijection, Context, initialized_by

EPSILON = 1e-5
LOG_SCALE_LIMIT = 5.0


@final
class BatchNorm(Bijection):
    """z = (x − m) / √(v + ε) · exp(γ) + β per channel (Dinh et al. 2017, appendix E).

    log |det J| = Σ (γ − ½ log(v + ε)) over channels, at each position. In training mode ``transform`` takes m
    and v from the batch, over all processes, with their gradient, and moves the running averages towards
    them; the log-det takes them as constants, as the paper does. In evaluation mode, and always for
    ``invert``, the running averages are used, so the map is a bijection. Gradient accumulation would
    normalise by parts of a batch: train without it.

    Args:
        channels: C.
        momentum: weight of the old averages at each step.
    """

    mean: Tensor
    variance: Tensor
    initialized: Tensor

    def __init__(self, channels: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.width = channels
        self.momentum = momentum
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.register_buffer("initialized", torch.tensor(False), persistent=False)
        initialized_by(self, "mean")

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        mean, variance = self.mean, self.variance
        if self.training:
            mean, variance = batch_statistics(x)
            with torch.no_grad():
                self.mean.lerp_(mean.to(self.mean.dtype), 1 - self.momentum)
                self.variance.lerp_(variance.to(self.variance.dtype), 1 - self.momentum)
                self.initialized.fill_(True)
        return self._normalize(x, mean, variance)

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        log_scale = self._log_scale(self.variance)
        x = (z - self.shift[:, None, None]) * (-log_scale).exp()[:, None, None] + self.mean[:, None, None]
        return x, constant_density(z, -log_scale.sum())

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Context = None) -> Tensor:
        """Set the running averages from the batch ``x`` of this process alone, once; z by the averages."""
        if not self.initialized:
            mean, variance = batch_statistics(x, processes=1)
            self.mean.copy_(mean)
            self.variance.copy_(variance)
            self.initialized.fill_(True)
        return self._normalize(x, self.mean, self.variance)[0]

    @torch.no_grad()
    def initialize_inverse(self, z: Tensor, context: Context = None) -> Tensor:
        """Set the running averages so that the inverse gives the batch ``z`` mean 0 and variance 1, once."""
        if not self.initialized:
            mean, variance = batch_statistics(z, processes=1)
            log_scale = self._log_scale(torch.ones_like(variance) - EPSILON)
            self.variance.copy_((2 * log_scale).exp() / (variance + EPSILON) - EPSILON)
            self.variance.clamp_min_(0)
            self.mean.copy_((self.shift - mean) * (-self._log_scale(self.variance)).exp())
            self.initialized.fill_(True)
        return self.invert(z)[0]

    def _normalize(self, x: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        log_scale = self._log_scale(variance)
        z = (x - mean[:, None, None]) * log_scale.exp()[:, None, None] + self.shift[:, None, None]
        return z, constant_density(x, log_scale.sum())

    def _log_scale(self, variance: Tensor) -> Tensor:
        gamma = LOG_SCALE_LIMIT * torch.tanh(self.log_scale / LOG_SCALE_LIMIT)
        return gamma - 0.5 * (variance + EPSILON).log()
