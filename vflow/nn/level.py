"""Network that joins a level's features with what coarser levels have decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.nn.encoder import ResidualBlock
from vflow.nn.layers import NormConv2d, ZeroConv2d

if TYPE_CHECKING:  # the package is imported without pydantic
    from vflow.config import LevelNetConfig

HEADS = 4


@final
class SelfAttention(nn.Module):
    """x + softmax(QKᵀ / √d) V over all positions of a picture (Vaswani et al. 2017); starts as x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv = NormConv2d(channels, 3 * channels, 1)
        self.out = ZeroConv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.layer_norm(x.movedim(1, -1), x.shape[1:2]).movedim(-1, 1).to(x.dtype)
        q, k, v = self.qkv(h).flatten(2).unflatten(1, (3 * HEADS, -1)).transpose(2, 3).chunk(3, 1)
        seen = F.scaled_dot_product_attention(q, k, v)  # (B, heads, positions, channels of a head)
        return x + self.out(seen.transpose(2, 3).reshape(x.shape))


@final
class LevelNet(nn.Module):
    """Context of a level's flow: (B, F, h, w) features and (B, C, h, w) block means → (B, hidden, h, w).

    Residual blocks, and self-attention on grids that are small enough. So a region's colour can follow that
    of others like it, which a convolution does not reach.

    Args:
        means: channels of the block means; 0 at the coarsest level, which is given none.
        side: of the level's grid.
    """

    def __init__(self, features: int, means: int, hidden: int, config: LevelNetConfig, side: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [NormConv2d(features + means, hidden, 3)]
        for _ in range(config.blocks):
            layers.append(ResidualBlock(hidden))
            if 1 < side <= config.attention:
                layers.append(SelfAttention(hidden))
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor, means: Tensor | None) -> Tensor:
        x = features if means is None else torch.cat([means.to(features.dtype), features], 1)
        out: Tensor = self.layers(x)
        return out
