"""A flow and a normal density side by side, so that no point costs without bound."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.densities import Density
from vflow.densities.base import LOG_2PI
from vflow.models.flow import PointBatch, VectorFlow

LEAST_SHARE = 0.05


@final
class Defensive(Density):
    """(1 − w) p(x) + w N(x; 0, I), w ≥ 1/20 learned (defensive mixtures: Hesterberg 1995).

    No point costs log 20 = 3 nats more than under the normal density alone, however far it lies from those
    that p was fitted to. Where p starts as that normal, so does the mixture. Samples take one number more
    than those of p, which chooses between the two; they have no gradient in w.

    Args:
        flow: p, without a condition.
    """

    def __init__(self, flow: VectorFlow) -> None:
        super().__init__()
        self.dim, self.noise_dim = flow.dim, flow.noise_dim + 1
        self.flow = flow
        self.raw_share = nn.Parameter(torch.zeros(()))

    def _log_shares(self) -> tuple[Tensor, Tensor]:
        """log (1 − w) and log w."""
        rest = F.logsigmoid(-self.raw_share) + math.log(1 - LEAST_SHARE)
        return rest, torch.log(-torch.expm1(rest))

    def initialize(self, z: Tensor) -> None:
        """Set what depends on data in the flow, from latents (B, D)."""
        self.flow.initialize(PointBatch(z))

    def _log_density(self, x: Tensor) -> Tensor:
        flow, normal = self._log_shares()
        return torch.logaddexp(flow + self.flow.log_prob(x), normal - 0.5 * (x.square() + LOG_2PI).sum(1))

    def _draw(self, eps: Tensor) -> Tensor:
        chosen = torch.special.ndtr(eps[:, -1:]) < self._log_shares()[0].exp()
        return torch.where(chosen, self.flow.sample(eps[:, :-1]), eps[:, : self.dim])
