"""The prior over one level's latent given past frames and the levels above (VideoFlow, section 3.2)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from vflow.bijections.base import accumulation_dtype
from vflow.config import PriorConfig
from vflow.nn.layers import ZeroConv2d
from vflow.nn.temporal import TemporalNet
from vflow.priors.gaussian import Gaussian


@final
class TemporalPrior(nn.Module):
    """p(z_t⁽ˡ⁾ | history, z_t⁽>ˡ⁾) = N(μ, σ): 3-D residual network over a window of n past frames.

    ``above`` is the half that was passed upward (B, C, H, W); a zero-initialised 3×3 convolution of it, P0,
    gives a mean that is tiled onto every step of the window. The topmost level has none. With ``skip`` the
    history is past latents and the last of them is added to μ.

    Args:
        channels: of the latent; ``above``: of the half passed upward, 0 at the top.
        history: channels of one step of the window.
        frames: window length n.
        size: shorter side at this level; dilations that do not fit it are left out.
        hidden: channels within the network.
    """

    def __init__(
        self,
        *,
        channels: int,
        above: int,
        history: int,
        frames: int,
        size: int,
        config: PriorConfig,
        hidden: int,
        skip: bool,
    ) -> None:
        super().__init__()
        self.conv_above = ZeroConv2d(above, 2 * channels) if above else None
        width = history + (channels if above else 0)
        self.net = TemporalNet(width, frames, size, config, hidden)
        self.conv_out = nn.Conv2d(width, 2 * channels, 1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]  # Conv2d has one by default
        self.skip = skip

    def forward(self, window: Tensor, above: Tensor | None) -> Gaussian:
        """Density of the next z: ``window`` (B, n, C_h, H, W), absent frames zero; see the class."""
        stack = window.transpose(1, 2)
        if self.conv_above is not None and above is not None:
            mean = self.conv_above(above).chunk(2, 1)[0][:, :, None]
            stack = torch.cat([stack, mean.to(stack.dtype).expand(-1, -1, stack.shape[2], -1, -1)], 1)
        mean, log_scale = self.conv_out(self.net(stack)).to(accumulation_dtype(window.dtype)).chunk(2, 1)
        if self.skip:
            mean = mean + window[:, -1]
        return Gaussian.bounded(mean, log_scale)
