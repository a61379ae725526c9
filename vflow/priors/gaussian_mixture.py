"""Elementwise mixtures of normal densities, as a flow: ε = Φ⁻¹(F(z))."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vflow.bijections.element import FAR, probit_of_log
from vflow.bijections.root import invert_increasing
from vflow.priors.gaussian import Gaussian

RARE, BROAD = 1e-8, 64.0  # weight and scale of a component that is always there
COLDEST = 0.01  # temperature that stands for 0
NEWTON = 5  # steps before brackets are halved
TOLERANCE = 1e-13


class GaussianMixture(NamedTuple):
    """Σ_k w_k N(μ_k, σ_k²) of each element: parameters (*S, K) of elements S; log weights are normalised.

    Noise ε and z are one to one by the CDF F (Chen & Gopinath 2000, *Gaussianization*; Ho et al. 2019,
    *Flow++*), so walks mean what they mean for a Gaussian. Where F is flat, between modes,
    ε needs many digits: noise, and values drawn from it, are float64. ``log_mass`` and ``mode`` have the
    type of the parameters.
    """

    mean: Tensor
    log_scale: Tensor
    log_weight: Tensor

    @classmethod
    def broadened(cls, mean: Tensor, log_scale: Tensor, log_weight: Tensor) -> GaussianMixture:
        """The mixture with one more component, broad and rare, so that every value has digits in F."""
        rare = torch.full_like(mean[..., :1], math.log(RARE))
        return cls(
            torch.cat([mean, torch.zeros_like(rare)], -1),
            torch.cat([log_scale, torch.full_like(rare, math.log(BROAD))], -1),
            torch.cat([log_weight + math.log1p(-RARE), rare], -1),
        )

    def tempered(self, temperature: Tensor) -> GaussianMixture:
        """Scales T σ_k and, for T below 1, weights ∝ w_k^(1/T²): T (*S) is 0 or more, 1 changes nothing.

        Choice of a component and value given it each have their probabilities to the power 1/T², as T σ has
        with one Gaussian. So rare modes fade and even choices stay even, where noise times T would draw
        everything to the median, between modes. Above 1 weights stay: among thousands of latents a mode made
        likelier from 1e-8 would come up. Components that coincide count apart.
        """
        scale = temperature.double().clamp_min(COLDEST)[..., None]
        weight_exponent = scale.clamp_max(1).pow(-2)
        weight = (weight_exponent * self.log_weight).log_softmax(-1)
        return GaussianMixture(
            self.mean,
            self.log_scale.double() + scale.log(),
            torch.where(scale >= 1, self.log_weight.double(), weight),
        )

    def mode(self) -> Tensor:
        """Mean of the heaviest component (*S): what is drawn at temperature 0."""
        return self.mean.gather(-1, self.log_weight.argmax(-1, keepdim=True))[..., 0]

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) of each element, shaped like z (*S), nats."""
        u = (z[..., None] - self.mean) * (-self.log_scale).exp()
        parts = self.log_weight - self.log_scale - 0.5 * u.square()
        return torch.logsumexp(parts, -1) - 0.5 * math.log(2 * math.pi)

    def log_mass(self, low: Tensor, high: Tensor) -> Tensor:
        """log P(low < z < high) of finite bounds (*S), elementwise: exact in the tails."""
        parts = Gaussian(self.mean, self.log_scale).log_mass(low[..., None], high[..., None])
        return torch.logsumexp(parts + self.log_weight, -1)

    def whiten(self, z: Tensor) -> Tensor:
        """ε = Φ⁻¹(F(z)), shaped like z (*S)."""
        below, above = self._log_tails(z.double())
        return torch.where(below < above, probit_of_log(below), -probit_of_log(above))

    def sample(self, eps: Tensor) -> Tensor:
        """z with F(z) = Φ(ε), shaped like ε (*S): Newton steps from the heaviest component's own solution."""
        target, flat = eps.double().flatten(), GaussianMixture(*(field.flatten(0, -2) for field in self))
        own = flat.mean + flat.log_scale.double().exp() * target[:, None]
        z = own.gather(1, flat.log_weight.argmax(1, keepdim=True))[:, 0]
        index, part = torch.arange(len(z), device=z.device), flat
        for _ in range(NEWTON):
            value, log_derivative = part._probit(z[index])
            error = value - target[index]
            left = ~(error.abs() <= TOLERANCE)
            if not bool(left.any()):
                return z.view(eps.shape)
            index, change = index[left], (error * (-log_derivative).exp())[left]
            z[index] -= change
            part = GaussianMixture(*(field[index] for field in flat))
        low, high = own[index].amin(1), own[index].amax(1)
        z[index] = invert_increasing(part._probit, target[index], low, high)[0]
        return z.view(eps.shape)

    def draw_within(self, low: Tensor, high: Tensor, level: Tensor) -> Tensor:
        """ε of z at the quantile ``level``, 0 … 1, of the density cut to low < z < high, elementwise.

        Standard normal over z of the density and uniform levels.
        """
        (a, above_a), (b, above_b) = (self._log_tails(edge.double()) for edge in (low, high))
        mirrored = a + b > above_a + above_b  # on the side where probabilities keep their digits
        a, b = torch.where(mirrored, above_b, a), torch.where(mirrored, above_a, b)
        level = torch.where(mirrored, 1 - level.double(), level.double())
        eps = probit_of_log(b + (level + (1 - level) * (a - b).exp()).log())
        return torch.where(mirrored, -eps, eps)

    def _log_tails(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """log F(z) and log(1 − F(z))."""
        u = (z[..., None] - self.mean) * (-self.log_scale.double()).exp()
        weight = self.log_weight.double()
        below, above = torch.special.log_ndtr(u), torch.special.log_ndtr(-u)
        return torch.logsumexp(weight + below, -1), torch.logsumexp(weight + above, -1)

    def _probit(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Φ⁻¹(F(z)) and the log of its derivative; in logs where float64 cannot hold F or 1 − F."""
        weight, inverse = self.log_weight.double().exp(), (-self.log_scale.double()).exp()
        u = (z[..., None] - self.mean) * inverse
        half = 0.5 * weight
        below, above = ((half * torch.erfc(v)).sum(-1) for v in (u * -(0.5**0.5), u * 0.5**0.5))
        tail = torch.minimum(below, above)
        eps = torch.where(below < above, 1.0, -1.0) * torch.special.ndtri(tail)
        log_density = (weight * inverse * (-0.5 * u.square()).exp()).sum(-1).log()
        far = tail < math.exp(FAR)
        if bool(far.any()):
            eps = torch.where(far, self.whiten(z), eps)
            parts = self.log_weight - self.log_scale - 0.5 * u.square()
            log_density = torch.where(far, torch.logsumexp(parts, -1), log_density)
        return eps, log_density + 0.5 * eps.square()
