"""The prior over one level's latent given past frames and the levels above (VideoFlow, section 3.2)."""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from einops import rearrange
from torch import Tensor, nn

from vflow.bijections.base import accumulation_dtype
from vflow.config import PriorConfig
from vflow.nn.layers import ZeroConv2d
from vflow.nn.temporal import TemporalNet
from vflow.priors.gaussian import Gaussian
from vflow.priors.gaussian_mixture import GaussianMixture

SPREAD = 0.5  # of the components' means, as training begins


class LatentMixture(NamedTuple):
    """A mixture of normals for each element of a latent (B, C, H, W), as ``Gaussian`` is one normal."""

    elements: GaussianMixture

    @classmethod
    def around(cls, last: Tensor | float, raw: Tensor, count: int) -> LatentMixture:
        """``count`` components around ``last`` (B, C, H, W), from raw parameters (B, 3 · count · C, H, W)."""
        shifts, log_scales, logits = rearrange(raw, "b (p k c) h w -> p k b c h w", p=3, k=count)
        start = torch.linspace(-SPREAD, SPREAD, count, device=raw.device, dtype=raw.dtype)
        means, log_scales = Gaussian.bounded(last + shifts + start.view(-1, 1, 1, 1, 1), log_scales)
        fields = (means, log_scales, logits.log_softmax(0))
        return cls(GaussianMixture(*(field.movedim(0, -1) for field in fields)))

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z), summed over channels: (B, H, W), nats."""
        return self.elements.log_prob(z).sum(1)

    def whiten(self, z: Tensor) -> Tensor:
        """ε = Φ⁻¹(F(z)), float64."""
        return self.elements.whiten(z)

    def sample(self, eps: Tensor, scale: float = 1.0) -> Tensor:
        """z with F(z) = Φ(ε), F tempered as ``GaussianMixture.tempered`` has it."""
        tempered = self.elements.tempered(torch.full_like(eps, scale))
        return tempered.sample(eps).to(self.elements.mean.dtype)


@final
class TemporalPrior(nn.Module):
    """p(z_t⁽ˡ⁾ | history, z_t⁽>ˡ⁾) = N(μ, σ): 3-D residual network over a window of n past frames.

    ``above`` is the half that was passed upward (B, C, H, W); a zero-initialised 3×3 convolution of it, P0,
    gives a mean that is tiled onto every step of the window. The topmost level has none. With ``skip`` the
    history is past latents and the last of them is added to μ.

    Args:
        shape: channels, height and width of the latent; dilations that do not fit it are left out.
        above: channels of the half passed upward, 0 at the top.
        history: channels of one step of the window.
        frames: window length n.
        hidden: channels within the network.
        mixtures: normals for each element of the latent, with weights of their own.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, int, int],
        above: int,
        history: int,
        frames: int,
        config: PriorConfig,
        hidden: int,
        skip: bool,
        mixtures: int = 1,
    ) -> None:
        super().__init__()
        channels, *sides = shape
        self.conv_above = ZeroConv2d(above, 2 * channels) if above else None
        width = history + (channels if above else 0)
        self.net = TemporalNet(width, frames, min(sides), config, hidden)
        self.conv_out = nn.Conv2d(width, channels * (2 if mixtures == 1 else 3 * mixtures), 1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]  # Conv2d has one by default
        self.skip, self.mixtures = skip, mixtures

    def forward(self, window: Tensor, above: Tensor | None) -> Gaussian | LatentMixture:
        """Density of the next z: ``window`` (B, n, C_h, H, W), absent frames zero; see the class."""
        stack = window.transpose(1, 2)
        if self.conv_above is not None and above is not None:
            mean = self.conv_above(above).chunk(2, 1)[0][:, :, None]
            stack = torch.cat([stack, mean.to(stack.dtype).expand(-1, -1, stack.shape[2], -1, -1)], 1)
        found = self.conv_out(self.net(stack)).to(accumulation_dtype(window.dtype))
        last = window[:, -1] if self.skip else 0.0
        if self.mixtures == 1:
            mean, log_scale = found.chunk(2, 1)
            return Gaussian.bounded(mean + last, log_scale)
        return LatentMixture.around(last, found, self.mixtures)
