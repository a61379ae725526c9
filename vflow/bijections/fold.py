"""Folds: piecewise invertible maps with a discrete latent (RAD: Dinh et al. 2019)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.base import Context
from vflow.nn.mlp import MLP


@final
class Fold(nn.Module):
    """z = fold of x at x₁ = 0, with the side k = sign(x₁) as a discrete latent (Dinh et al. 2019, RAD).

    Each half of the space is mapped to all of R^D: v = |x₁|, z₁ = log(eᵛ − 1), the rest stays. The density is
    p(x) = p(z) p(k | z) |∂z/∂x|, a mixture whose components live on different sides. Not a bijection:
    sampling draws k, which takes one standard-normal number.

    The gate p(k = 1 | z) = σ(v · g(z)) is ½ on the border, so that x and its mirror image have the same
    density there. That does not make the density continuous, for which it must be finite on the border, too
    (Dinh et al.). The border lies at z₁ = −∞: where p(z) falls like exp(s z₁), p(x) goes like v^(s − 1). That
    is finite and above 0 for s = 1 alone, as under a logistic base; else it is 0 or infinite on the border,
    though the mass is finite. The layers that follow give z₁ its s, and training may change it.

    Args:
        dim: D.
        hidden: widths of the hidden layers of g.
    """

    def __init__(self, dim: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.gate = MLP(dim, 1, hidden, activation="tanh")

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        """x (B, D, 1, 1) → z (B, D, 1, 1) and log p(k | z) + log |det J|, (B, 1, 1)."""
        x = x.flatten(1)
        distance = x[:, 0].abs().clamp_min(torch.finfo(x.dtype).tiny)
        z, log_slope = _stretch(distance)
        logit = self._logit(distance, x[:, 1:])
        log_gate = F.logsigmoid(torch.where(x[:, 0] < 0, -logit, logit))
        z = torch.cat([z[:, None], x[:, 1:]], 1)
        return z[:, :, None, None], (log_slope + log_gate)[:, None, None]

    def invert(self, z: Tensor, eps: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        """z (B, D, 1, 1) and standard-normal noise (B,) → x (B, D, 1, 1) and minus the density, (B, 1, 1)."""
        z = z.flatten(1)
        distance = F.softplus(z[:, 0])
        logit = self._logit(distance, z[:, 1:])
        positive = torch.special.ndtr(eps) < torch.sigmoid(logit)
        log_gate = F.logsigmoid(torch.where(positive, logit, -logit))
        side = torch.where(positive, 1.0, -1.0).to(z.dtype)
        x = torch.cat([(side * distance)[:, None], z[:, 1:]], 1)
        return x[:, :, None, None], -(log_gate - F.logsigmoid(z[:, 0]))[:, None, None]

    def _logit(self, distance: Tensor, rest: Tensor) -> Tensor:
        return distance * self.gate(torch.cat([distance[:, None], rest], 1))[:, 0]


def _stretch(distance: Tensor) -> tuple[Tensor, Tensor]:
    """log(eᵛ − 1) of v > 0 and its log-slope −log(1 − e⁻ᵛ)."""
    log_rest = torch.log(-torch.expm1(-distance))
    return distance + log_rest, -log_rest
