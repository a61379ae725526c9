"""Wavelet flow: details of each level given the means below (Yu et al. 2020, *Wavelet Flow*)."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.actnorm import constant_density
from vflow.bijections.base import Chain, accumulation_dtype, zero_density
from vflow.bijections.conditional import ConditionalAffine
from vflow.bijections.coupling import soft_clamp
from vflow.bijections.linear import pointwise
from vflow.bijections.reshape import Haar
from vflow.config import GlowConfig, LevelNetConfig
from vflow.models.glow import TRANSFORMS, Chains, Encoded, Features, Shapes, flow_chain
from vflow.nn.layers import ZeroConv2d
from vflow.nn.level import LevelNet
from vflow.nn.modules import ModuleList
from vflow.nn.relu import relu
from vflow.priors.gaussian import Gaussian

SCALE_LIMIT = 4.0  # |log σ| of predicted details stays below this


def wavelet_shapes(config: GlowConfig, height: int, width: int) -> Shapes:
    """(C, h, w) of each level's details, fine to coarse, and of the coarsest mean, for any size of images."""
    sides = [(height // 2**level, width // 2**level) for level in range(1, config.levels + 1)]
    return (*((3 * config.channels, *side) for side in sides), (config.channels, *sides[-1]))


@final
class LevelPredictor(nn.Module):
    """Gaussian of a level's details, (C, h, w), given its features and block means; starts as N(0, 1).

    Details are standardised by it: z = (x − μ) / σ. Its mean takes the colours that coarser levels have drawn
    to the things that they belong to.
    """

    def __init__(
        self, shape: tuple[int, int, int], features: int, means: int, hidden: int, config: LevelNetConfig
    ) -> None:
        super().__init__()
        self.net = LevelNet(features, means, hidden, config, shape[1])
        self.conv = ZeroConv2d(hidden, 2 * shape[0])

    def forward(self, features: Tensor, mean: Tensor | None) -> Gaussian:
        """Density of the details; ``mean`` (B, C, h, w) is None at the coarsest level."""
        h = self.conv(relu(self.net(features, mean)))
        center, log_scale = h.to(accumulation_dtype(h.dtype)).chunk(2, 1)
        return Gaussian(center, soft_clamp(log_scale, SCALE_LIMIT))


@final
class WaveletFlow(nn.Module):
    """Haar pyramid; per level a chain of flow steps over the details, given the means of the 2×2 blocks.

    The last latent is the coarsest mean (the mean colour, where the pyramid ends at one pixel), with a chain
    of its own. Unlike in a Glow, what is passed upward are exact means. With ``smooth`` details are coded
    less those of the means' bilinear interpolation (a lifting step, Sweldens 1998): what coarse levels alone
    make is then smooth and not of blocks. With ``nets`` a network per level first standardises the details
    by the mean and scale that it predicts given features and block means.
    """

    def __init__(
        self,
        config: GlowConfig,
        features: tuple[int, ...],
        *,
        smooth: bool = False,
        nets: LevelNetConfig | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.smooth = smooth
        channels, top = config.channels, config.levels
        self.haar = Haar(channels)
        self.latent_shapes = wavelet_shapes(config, config.height, config.width)
        chains = []
        for level, (width, _, _) in enumerate(self.latent_shapes):
            entry = min(level, top - 1)  # the coarsest mean shares the last entry of the configuration
            mean = 0 if level == top else channels
            hidden, depth = config.hidden[entry], config.depth[entry]
            chains.append(flow_chain(width, hidden, depth, config, features[level] + mean))
        self.levels = ModuleList(chains)
        self.predictors = ModuleList(
            [
                LevelPredictor(shape, features[level], 0 if level == top else channels, hidden, nets)
                for level, (shape, hidden) in enumerate(zip(self.latent_shapes, nets.hidden, strict=True))
            ]
            if nets
            else []
        )

    def level_channels(self, level: int) -> int:
        return 0 if level == self.config.levels else self.config.channels

    def encode(self, x: Tensor, features: Features) -> Encoded:
        latents: list[Tensor] = []
        passed_up: list[Tensor | None] = []
        log_dets: list[Tensor] = []
        for level, chain in enumerate(self.levels):
            mean, details = self._split(level, x)
            y, standardised = self._standardise(level, details, mean, features[level])
            z, log_det = TRANSFORMS[self.config.memory](chain, y, _join(mean, features[level]))
            latents.append(z)
            passed_up.append(mean)
            log_dets += [log_det, standardised, self._mean_log_det(level, details)]
            x = details if mean is None else mean
        return Encoded(tuple(latents), tuple(passed_up), log_dets)

    def decode_level(
        self,
        level: int,
        z: Tensor,
        above: Tensor | None,
        features: Tensor | None,
        chains: Chains | None = None,
    ) -> Tensor:
        details = (chains or self.levels)[level].invert(z, _join(above, features))[0]
        if self.predictors and features is not None:
            details = self.predictors[level](features, above).sample(details)
        if above is None:
            return details
        if self.smooth:
            details = details + self._predicted(above)
        return self.haar.invert(torch.cat([2 * above, details], 1))[0]

    @torch.no_grad()
    def with_cached_inverse(self) -> Chains:
        return [chain.with_cached_inverse() for chain in self.levels]

    @torch.no_grad()
    def initialize(self, x: Tensor, features: Features) -> None:
        for level, chain in enumerate(self.levels):
            mean, details = self._split(level, x)
            chain.initialize(
                self._standardise(level, details, mean, features[level])[0], _join(mean, features[level])
            )
            x = details if mean is None else mean

    def _standardise(
        self, level: int, details: Tensor, mean: Tensor | None, features: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Details less their predicted mean, over their predicted scale, and the log-det (B, h, w)."""
        if not self.predictors or features is None:
            return details, zero_density(details)
        predicted = self.predictors[level](features, mean)
        return predicted.whiten(details), -predicted.log_scale.sum(1)

    def _split(self, level: int, x: Tensor) -> tuple[Tensor | None, Tensor]:
        """Block means and details of x; at the top there is nothing but x itself."""
        if level == self.config.levels:
            return None, x
        coefficients = self.haar.transform(x)[0]
        channels = self.config.channels
        mean, details = coefficients[:, :channels] / 2, coefficients[:, channels:]
        return mean, details - self._predicted(mean) if self.smooth else details

    def _predicted(self, mean: Tensor) -> Tensor:
        """Details of the bilinear interpolation of block means, (B, 3C, h, w)."""
        larger = F.interpolate(mean, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.haar.transform(larger)[0][:, self.config.channels :]

    def _mean_log_det(self, level: int, details: Tensor) -> Tensor:
        """Log-det of means instead of orthonormal coefficients: −C ln 2 per block, (B, h, w)."""
        channels = 0 if level == self.config.levels else self.config.channels
        return constant_density(details, details.new_tensor(-channels * math.log(2)))


@final
class DetailFlow(nn.Module):
    """One level of a wavelet flow whose means are given: details alone are coded, whatever the size.

    Luma and two colour differences of the details (an orthonormal change of basis) are scaled and moved by
    what the features say, then go through a chain of flow steps. Its input's means are ignored, and those of
    its inverse are 0.
    """

    colors: Tensor

    def __init__(self, config: GlowConfig, features: int) -> None:
        super().__init__()
        self.config = config
        channels = 3 * config.channels
        self.latent_shapes = wavelet_shapes(config, config.height, config.width)[:1]
        self.haar = Haar(config.channels)
        basis = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
        basis = basis / basis.norm(dim=1, keepdim=True)
        self.register_buffer("colors", torch.kron(torch.eye(3), basis), persistent=False)
        steps = flow_chain(channels, config.hidden[0], config.depth[0], config, features)
        self.levels = ModuleList([Chain([ConditionalAffine(channels, features), steps])])

    def level_channels(self, level: int) -> int:
        return 0

    def details(self, x: Tensor) -> Tensor:
        """Details of x (B, 3, H, W) in the flow's colours, (B, 9, H/2, W/2): an orthonormal map."""
        return pointwise(self.haar.transform(x)[0][:, self.config.channels :], self.colors)

    def image(self, details: Tensor) -> Tensor:
        """Image (B, 3, H, W) of these details, whose blocks have mean 0."""
        details = pointwise(details, self.colors.T)
        means = torch.zeros_like(details[:, : self.config.channels])
        return self.haar.invert(torch.cat([means, details], 1))[0]

    def encode(self, x: Tensor, features: Features) -> Encoded:
        z, log_det = TRANSFORMS[self.config.memory](self.levels[0], self.details(x), features[0])
        return Encoded((z,), (None,), [log_det])

    def decode_level(
        self,
        level: int,
        z: Tensor,
        above: Tensor | None,
        features: Tensor | None,
        chains: Chains | None = None,
    ) -> Tensor:
        return self.image((chains or self.levels)[level].invert(z, features)[0])

    @torch.no_grad()
    def with_cached_inverse(self) -> Chains:
        return [chain.with_cached_inverse() for chain in self.levels]

    @torch.no_grad()
    def initialize(self, x: Tensor, features: Features) -> None:
        self.levels[0].initialize(self.details(x), features[0])


def _join(mean: Tensor | None, features: Tensor | None) -> Tensor | None:
    if mean is None or features is None:
        return features if mean is None else mean
    return torch.cat([mean.to(features.dtype), features], 1)
