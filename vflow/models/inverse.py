"""Invertible network for inverse problems, x ↔ [y, z] with z what y does not tell (Ardizzone et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from vflow.config.density import Layer
from vflow.models.density import build_chain


@final
class InvertibleNetwork(nn.Module):
    """A chain of bijections between padded x (x, 0) and padded (z, y, 0).

    Args:
        layers: of the chain, on vectors of ``width`` elements.
        dim: of x. observed_dim: of y. latent_dim: of z.
        width: of the padded vectors.

    Raises:
        ValueError: ``width`` is too small.
    """

    def __init__(
        self, layers: Sequence[Layer], dim: int, observed_dim: int, latent_dim: int, width: int
    ) -> None:
        super().__init__()
        if width < max(dim, observed_dim + latent_dim):
            raise ValueError(f"width {width}: x has {dim} elements, y and z {observed_dim + latent_dim}")
        self.dim, self.observed_dim, self.latent_dim, self.width = dim, observed_dim, latent_dim, width
        self.chain = build_chain(layers, width)

    def encode(self, x: Tensor, padding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, dim) with ``padding`` (B, width − dim) → y, z and what takes the padding's place."""
        out = self.chain.transform(torch.cat([x, padding], 1)[:, :, None, None])[0].flatten(1)
        z, y, rest = out.split([self.latent_dim, self.observed_dim, self._rest], 1)
        return y, z, rest

    def decode(self, y: Tensor, z: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        """y and z with ``padding`` (B, width − y and z) → x, and what takes the padding's place."""
        out = self.chain.invert(torch.cat([z, y, padding], 1)[:, :, None, None])[0].flatten(1)
        x, rest = out.split([self.dim, self.width - self.dim], 1)
        return x, rest

    def sample(self, eps: Tensor, y: Tensor) -> Tensor:
        """Samples (B, dim) of p(x | y) from standard-normal z (B, latent_dim)."""
        return self.decode(y, eps, y.new_zeros(len(y), self._rest))[0]

    @property
    def _rest(self) -> int:
        return self.width - self.observed_dim - self.latent_dim
