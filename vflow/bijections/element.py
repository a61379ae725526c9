"""Increasing functions of one number, whose parameters a network or a table of parameters gives."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal, final

import torch
from torch import Tensor
from torch.nn import functional as F

from vflow.bijections.root import invert_increasing

FAR = -600.0  # log-probabilities below it, which float64 cannot exponentiate for long
LIMIT = 5.0  # |log scale| of one affine element stays below this


def bounded(h: Tensor) -> Tensor:
    """h / √(1 + (h / 5)²): slope 1 at 0, between −5 and 5. Cheaper than a function of the arc tangent."""
    return h * h.square().mul_(LIMIT**-2).add_(1).rsqrt_()


def probit_of_log(log_probability: Tensor) -> Tensor:
    """Φ⁻¹(exp(l)) of l below 0, also where exp(l) underflows: there by Newton steps on log Φ(−x) = l."""
    near = torch.special.ndtri(log_probability.clamp(FAR, -1e-300).exp())
    distant = log_probability < FAR
    if not bool(distant.any()):
        return near
    log = log_probability.clamp_max(FAR)
    x = torch.sqrt(-2 * log)
    for _ in range(4):
        found = torch.special.log_ndtr(-x)
        x = x + (found - log) * (found + 0.5 * x.square()).exp() * math.sqrt(2 * math.pi)
    return torch.where(distant, -x, near)


class Element(ABC):
    """Family of increasing functions z = f(x; h), applied to each element of a tensor.

    ``count`` is the number of parameters per element. Where h is zero, f is the identity or close to it.
    """

    count: int

    @abstractmethod
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """x (…) and h (…, count) → z (…) and log ∂z/∂x (…)."""

    @abstractmethod
    def inverse(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """z (…) and h (…, count) → x (…) and log ∂x/∂z (…)."""


@final
class Shift(Element):
    """z = x + h (NICE: Dinh et al. 2015); on angles, a rotation."""

    count = 1

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return x + h[..., 0], torch.zeros_like(x)

    def inverse(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return z - h[..., 0], torch.zeros_like(z)


@final
class Scale(Element):
    """z = exp(s) · x: the diagonal scaling of NICE (Dinh et al. 2015, section 3.3)."""

    count = 1

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        log_scale = bounded(h[..., 0])
        return x * log_scale.exp(), log_scale.expand_as(x)

    def inverse(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        log_scale = bounded(h[..., 0])
        return z * (-log_scale).exp(), -log_scale.expand_as(z)


@final
class Affine(Element):
    """z = (x − μ) · exp(−α), that is x = z · exp(α) + μ (MAF: Papamakarios et al. 2017, equation 4).

    h holds μ and −α, which is kept between −5 and 5.
    """

    count = 2

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale = h[..., 0], bounded(h[..., 1])
        return (x - mean) * log_scale.exp(), log_scale

    def inverse(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        mean, alpha = h[..., 0], bounded(h[..., 1]).neg()
        return torch.addcmul(mean, z, alpha.exp()), alpha


@final
class Gated(Element):
    """z = σ(s) · x + (1 − σ(s)) · m (IAF: Kingma et al. 2016, section 4).

    s starts at ``bias``, a gate that is nearly open, and is softly clamped to ±5 around it.
    """

    count = 2

    def __init__(self, bias: float = 1.5) -> None:
        self.bias = bias

    def _gate(self, h: Tensor) -> tuple[Tensor, Tensor]:
        s = self.bias + bounded(h[..., 1])
        return F.logsigmoid(s), torch.sigmoid(-s)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        log_gate, rest = self._gate(h)
        return log_gate.exp() * x + rest * h[..., 0], log_gate

    def inverse(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        log_gate, rest = self._gate(h)
        return (z - rest * h[..., 0]) * (-log_gate).exp(), -log_gate


@final
class MixtureLogit(Element):
    """z = logit F(x), F the CDF of a mixture of normals or of Laplacians (RNADE: Uria et al. 2013).

    A standard logistic z makes x a draw from the mixture, so an autoregressive map with this element over a
    logistic base is RNADE. The logit keeps both tails exact. The inverse is numeric. Not the identity where
    h is zero.

    Args:
        components: K of the mixture; h holds K log weights, K means and K log scales.
        kind: of the components.
        spread: their means start evenly over ±spread.
    """

    def __init__(
        self, components: int, kind: Literal["normal", "laplace"] = "normal", spread: float = 2.0
    ) -> None:
        self.components, self.kind, self.spread = components, kind, spread
        self.count = 3 * components

    def _mixture(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, mean, log_scale = h.chunk(3, -1)
        start = torch.linspace(-self.spread, self.spread, self.components, dtype=h.dtype, device=h.device)
        if self.components == 1:
            start = torch.zeros_like(start)
        return weight.log_softmax(-1), mean + start, bounded(log_scale)

    def _component(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logs of CDF, survival function and density of a standard component at u."""
        if self.kind == "normal":
            density = -0.5 * u.square() - 0.5 * math.log(2 * math.pi)
            return torch.special.log_ndtr(u), torch.special.log_ndtr(-u), density
        half = -u.abs() - math.log(2)
        rest = torch.log1p(-half.exp())
        return torch.where(u < 0, half, rest), torch.where(u < 0, rest, half), half

    def _quantile(self, logit: Tensor) -> Tensor:
        """Quantile of a standard component, exact in both tails."""
        log_tail = F.logsigmoid(-logit.abs().double())
        far = -probit_of_log(log_tail) if self.kind == "normal" else -(log_tail + math.log(2))
        return (far * logit.sign()).to(logit.dtype)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        log_weight, mean, log_scale = self._mixture(h)
        below, above, density = self._component((x[..., None] - mean) * (-log_scale).exp())
        log_cdf = torch.logsumexp(log_weight + below, -1)
        log_tail = torch.logsumexp(log_weight + above, -1)
        log_density = torch.logsumexp(log_weight + density - log_scale, -1)
        return log_cdf - log_tail, log_density - log_cdf - log_tail

    def inverse(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            _, mean, log_scale = self._mixture(h)
            own = mean + log_scale.exp() * self._quantile(z)[..., None]  # each component's own solution
            margin = 1e-3 * (1 + own.abs().amax(-1))
        return invert_increasing(
            lambda x: self.forward(x, h), z, own.amin(-1) - margin, own.amax(-1) + margin
        )
