"""Models of inverse problems: a conditional flow p(x | y), and an invertible network x ↔ [y, z].

z is what y does not tell (Ardizzone et al. 2018). Both are chains of the same couplings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from vflow.config.density import DensityConfig, Layer
from vflow.models.density import DensityModel, build_chain

WIDTH, DEPTH = 64, 5  # of the couplings' networks, and pairs of couplings


def _layers() -> list[dict[str, object]]:
    """Affine couplings of both halves in turn, and linear maps between them."""
    net = {"kind": "coupling", "hidden": [WIDTH, WIDTH]}
    block = [{"kind": "linear"}, {**net, "keep": "even"}, {**net, "keep": "odd"}]
    return [{"kind": "repeat", "times": DEPTH, "layers": block}]


def posterior_flow(dim: int, observed_dim: int) -> DensityModel:
    """p(x | y) of vectors: y joins the input of every coupling's network."""
    layers = [{"kind": "actnorm"}, *_layers()]
    return DensityModel(
        DensityConfig.model_validate({"dim": dim, "features": observed_dim, "layers": layers})
    )


def invertible_network(dim: int, observed_dim: int) -> InvertibleNetwork:
    """The same couplings; z has as many elements as x has more than y, at least two.

    x is padded where it is shorter than y and z together.
    """
    latent = max(2, dim - observed_dim)
    width = observed_dim + latent
    parsed = DensityConfig.model_validate({"dim": width, "layers": _layers()}).layers
    return InvertibleNetwork(parsed, dim, observed_dim, latent, width)  # type: ignore[arg-type]


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

    def encode(self, x: Tensor, padding: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x (B, dim), ``padding`` (B, width − dim) → y, z, what takes the padding's place, log-det (B,)."""
        out, log_det = self.chain.transform(torch.cat([x, padding], 1)[:, :, None, None])
        z, y, rest = out.flatten(1).split([self.latent_dim, self.observed_dim, self._rest], 1)
        return y, z, rest, log_det.flatten()

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
