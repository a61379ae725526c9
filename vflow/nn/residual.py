"""Residual network of dilated convolutions on one grid."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.nn.relu import relu


@final
class DilatedBlock(nn.Module):
    """x + conv(relu(conv(relu(x)))), 3×3, the first convolution dilated, the second starting small."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        for conv in (self.first, self.second):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # Conv2d has one by default
        with torch.no_grad():
            self.second.weight.mul_(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(relu(self.first(relu(x)), inplace=True))


class ResidualFeatures(nn.Module, ABC):
    """3×3 convolution, a residual block per dilation, and ReLU: (B, inputs, H, W) → (B, hidden, H, W)."""

    def __init__(self, inputs: int, hidden: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(inputs, hidden, 3, padding=1)
        nn.init.kaiming_normal_(self.conv_in.weight, nonlinearity="relu")
        self.blocks = nn.Sequential(*(DilatedBlock(hidden, d) for d in dilations))

    def features(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Features of x; ``added`` (B, hidden, H, W) joins before the blocks."""
        h = self.conv_in(x)
        return relu(self.blocks(h if added is None else h + added), inplace=True)


@final
class ResidualNet(ResidualFeatures):
    """``ResidualFeatures``, and a 1×1 convolution that starts at zero.

    Args:
        features: channels of a context that joins the input; 0 for none.
        weight_norm: weights w = g · v / ‖v‖ in all but the last convolution (Salimans & Kingma 2016).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: int,
        dilations: Sequence[int],
        *,
        features: int = 0,
        weight_norm: bool = False,
    ) -> None:
        super().__init__(inputs + features, hidden, dilations)
        self.conv_out = nn.Conv2d(hidden, outputs, 1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]  # Conv2d has one by default
        if weight_norm:
            convolutions = [self.conv_in, *(conv for block in self.blocks for conv in block.children())]
            for conv in convolutions:
                nn.utils.parametrizations.weight_norm(conv)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H, W); a context on a coarser grid is repeated."""
        if context is not None:
            x = torch.cat([x, F.interpolate(context, x.shape[-2:])], 1)
        out: Tensor = self.conv_out(self.features(x))
        return out
