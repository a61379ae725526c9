"""Maps of vectors, stored as images of one position."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from vflow.bijections.base import Bijection, Context


class VectorBijection(Bijection, ABC):
    """Bijection of vectors (B, D, 1, 1), written in terms of matrices (B, D) and log-dets (B,)."""

    @abstractmethod
    def transform_vectors(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """x (B, D), context (B, F) or None → z (B, D) and log |det J| (B,)."""

    @abstractmethod
    def invert_vectors(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """z (B, D), context (B, F) or None → x (B, D) and log |det J| (B,) of the inverse map."""

    @final
    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        z, ladj = self.transform_vectors(x.flatten(1), _flat(context))
        return z[:, :, None, None], ladj[:, None, None]

    @final
    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        x, ladj = self.invert_vectors(z.flatten(1), _flat(context))
        return x[:, :, None, None], ladj[:, None, None]


def _flat(context: Context) -> Context:
    return None if context is None else context.flatten(1)


def inside_unit_interval(u: Tensor) -> Tensor:
    """u kept away from 0 and 1, by as little as its type allows.

    The distance from 0 is the root of the smallest normal number, so that heavy tails stay finite there, too.
    """
    kind = torch.finfo(u.dtype)
    return u.clamp(kind.tiny**0.5, 1 - kind.eps / 2)
