"""Mixture-of-logistics CDF couplings: maps with several modes, which an affine one cannot have."""

from __future__ import annotations

import math
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.coupling import Coupling, soft_clamp
from vflow.bijections.reshape import Partition
from vflow.bijections.root import polish

RARE = 1e-3  # weight of a broad component that is always there: bounds the slope from below
BROAD = 2.0  # its scale
SPREAD = 0.5  # means start over ±SPREAD, or equal components would stay equal
HALVINGS, NEWTON = 6, 8  # steps of the inverse


class MixtureParameters(NamedTuple):
    """Parameters of a mixture coupling, for each element that it changes.

    K logistic components, (B, C, K, H, W) each; log a (``log_slope``) and b (``shift``), (B, C, H, W).
    """

    log_weight: Tensor
    mean: Tensor
    log_scale: Tensor
    log_slope: Tensor
    shift: Tensor

    def logit(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """logit F(x) with F the mixture's CDF, and the log of its derivative; both shaped like x."""
        u = (x.unsqueeze(2) - self.mean) * (-self.log_scale).exp()
        below = F.logsigmoid(u)
        above = below - u
        log_cdf = torch.logsumexp(self.log_weight + below, 2)
        log_tail = torch.logsumexp(self.log_weight + above, 2)
        log_pdf = torch.logsumexp(self.log_weight + below + above - self.log_scale, 2)
        return log_cdf - log_tail, log_pdf - log_cdf - log_tail


@final
class MixtureCoupling(Coupling[MixtureParameters]):
    """z₂ = a · logit(Σₖ πₖ σ((x₂ − μₖ)/sₖ)) + b with all of (π, μ, s, a, b) = net(x₁, context), z₁ = x₁.

    Ho et al. 2019, *Flow++*. Close to the identity where ``net`` is zero, which has C₂ · (3 · components + 2)
    outputs. The inverse brackets by halving, then takes Newton steps that stay inside the bracket.
    """

    def __init__(self, net: nn.Module, partition: Partition, components: int) -> None:
        super().__init__(net, partition)
        self.components = components

    @staticmethod
    def parameters_per_channel(components: int) -> int:
        """Outputs that ``net`` needs for each changed channel."""
        return 3 * components + 2

    def element_parameters(self, h: Tensor) -> MixtureParameters:
        k = self.components
        h = h.unflatten(1, (-1, self.parameters_per_channel(k)))
        weight, mean, log_scale = h[:, :, : 3 * k].split(k, 2)
        start = torch.linspace(-SPREAD, SPREAD, k, dtype=h.dtype, device=h.device)[:, None, None]
        rare = torch.full_like(h[:, :, :1], math.log(RARE))
        return MixtureParameters(
            torch.cat([weight.log_softmax(2) + math.log1p(-RARE), rare], 2),
            torch.cat([mean + start, torch.zeros_like(rare)], 2),
            torch.cat([soft_clamp(log_scale), torch.full_like(rare, math.log(BROAD))], 2),
            soft_clamp(h[:, :, -2]),
            h[:, :, -1],
        )

    def element_transform(self, changed: Tensor, parameters: MixtureParameters) -> tuple[Tensor, Tensor]:
        logit, log_derivative = parameters.logit(changed)
        moved = torch.addcmul(parameters.shift, logit, parameters.log_slope.exp())
        return moved, (parameters.log_slope + log_derivative).sum(1)

    def element_inverse(self, changed: Tensor, parameters: MixtureParameters) -> tuple[Tensor, Tensor]:
        logit = (changed - parameters.shift) * (-parameters.log_slope).exp()
        with torch.no_grad():
            guess = _solve(parameters, logit)
        x, log_derivative = polish(parameters.logit, logit, guess)
        return x, (log_derivative - parameters.log_slope).sum(1)


def _solve(mixture: MixtureParameters, logit: Tensor) -> Tensor:
    """x with mixture.logit(x) = ``logit``; each component's own solution brackets it."""
    own = mixture.mean + mixture.log_scale.exp() * logit.unsqueeze(2)
    low, high = own.amin(2), own.amax(2)
    x = 0.5 * (low + high)
    for step in range(HALVINGS + NEWTON):
        value, log_derivative = mixture.logit(x)
        beyond = value > logit
        high, low = torch.where(beyond, x, high), torch.where(beyond, low, x)
        x = 0.5 * (low + high)
        if step >= HALVINGS:
            newton = torch.where(beyond, high, low) - (value - logit) * (-log_derivative).exp()
            x = torch.where((newton >= low) & (newton <= high), newton, x)
    return x
