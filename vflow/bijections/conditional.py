"""Conditional affine map: every element scaled and moved by what the context alone says."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from vflow.bijections.base import Bijection, Context, accumulation_dtype
from vflow.bijections.coupling import soft_clamp
from vflow.nn.layers import ZeroConv2d


@final
class ConditionalAffine(Bijection):
    """z = x · exp(log s) + t with (log s, t) from the context (Winkler et al. 2019; Lu & Huang 2020).

    log s is softly clamped; the map starts as the identity.

    Args:
        channels: of x.
        features: channels of the context, which must be given.
    """

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.width = channels
        self.conv = ZeroConv2d(features, 2 * channels)

    def _parameters_of(self, context: Context) -> tuple[Tensor, Tensor]:
        if context is None:
            raise ValueError("ConditionalAffine needs a context")
        h = self.conv(context)
        raw, shift = h.to(accumulation_dtype(h.dtype)).chunk(2, 1)
        return soft_clamp(raw), shift

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        log_scale, shift = self._parameters_of(context)
        return torch.addcmul(shift, x, log_scale.exp()), log_scale.sum(1)

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        log_scale, shift = self._parameters_of(context)
        return (z - shift) * (-log_scale).exp(), -log_scale.sum(1)
