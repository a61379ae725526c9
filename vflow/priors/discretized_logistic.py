"""Discretised logistic distribution of whole numbers: the mass of a logistic density in bins of width 1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def log_masses(distance: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log P(X < x + ½), log P(X > x − ½) and log P(x − ½ < X < x + ½), elementwise, in nats.

    Args:
        distance: x − μ. log_scale: log s, both in the unit of x.
    """
    inverse = torch.exp(-log_scale)
    above, below = (distance + 0.5) * inverse, (distance - 0.5) * inverse
    log_up_to, log_from = logsigmoid(above), logsigmoid(-below)
    return log_up_to, log_from, log_up_to + log_from + torch.log(-torch.expm1(-inverse))
