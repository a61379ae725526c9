"""Glow, and the contract of multi-scale flows (Kingma & Dhariwal 2018)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, final

import torch
from torch import Tensor, nn

from vflow.bijections.base import Bijection, Chain
from vflow.bijections.coupling import AdditiveCoupling, AffineCoupling
from vflow.bijections.linear import ActNormLinear, detail_rotation, haar
from vflow.bijections.mixture import MixtureCoupling
from vflow.bijections.recompute import transform_recomputed
from vflow.bijections.reshape import ChannelPartition
from vflow.config import GlowConfig
from vflow.nn.layers import Conditioner
from vflow.nn.modules import ModuleList
from vflow.nn.reshape import squeeze, unsqueeze

Features = Sequence[Tensor | None]
Shapes = tuple[tuple[int, int, int], ...]
Chains = Sequence[Bijection]  # one per level


class Encoded(NamedTuple):
    """Latents, halves passed upward (None at the top) and log-dets of images; per level, fine to coarse."""

    latents: tuple[Tensor, ...]
    passed_up: tuple[Tensor | None, ...]
    log_prob_terms: list[Tensor]  # each (B, h, w) on its own grid


class MultiScale(Protocol):
    """Image ↔ latents; sequences run fine to coarse, one entry per level."""

    latent_shapes: Shapes

    def level_channels(self, level: int) -> int:
        """Channels passed upward at ``level``; 0 at the top."""

    def encode(self, x: Tensor, features: Features) -> Encoded:
        """Latents of images x (B, C, H, W); ``features`` per level for the couplings, or None."""

    def decode_level(
        self,
        level: int,
        z: Tensor,
        above: Tensor | None,
        features: Tensor | None,
        chains: Chains | None = None,
    ) -> Tensor:
        """Inverse of one level: its latent and what it passed upward → the image that it split."""

    def with_cached_inverse(self) -> Chains:
        """The levels' chains with their matrices inverted once, for ``decode_level``."""

    def initialize(self, x: Tensor, features: Features) -> None:
        """Data-dependent start of ActNorm from the batch ``x``, level by level."""


def decode(
    flow: MultiScale, latents: Sequence[Tensor], features: Features, chains: Chains | None = None
) -> Tensor:
    """Inverse of ``flow.encode``: latents → x, from the top down."""
    h: Tensor | None = None
    for level in reversed(range(len(latents))):
        h = flow.decode_level(level, latents[level], h, features[level], chains)
    assert h is not None
    return h


def split_levels(flat: Tensor, shapes: Sequence[tuple[int, ...]]) -> tuple[Tensor, ...]:
    """Noise or latents of all levels one after the other, (B, D) → per level (B, C, h, w)."""
    parts = flat.split([math.prod(shape) for shape in shapes], 1)
    return tuple(part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True))


# Forward pass of a level's chain by ``config.memory``.
TRANSFORMS = {"plain": Chain.transform, "recompute": transform_recomputed}


def flow_chain(channels: int, hidden: int, depth: int, config: GlowConfig, features: int) -> Chain:
    """``depth`` flow steps: ActNorm and 1×1 convolution in one pass, then a coupling."""
    layers: list[Bijection] = []
    for step in range(depth):
        start = None if config.start == "random" else (detail_rotation if step else haar)(channels // 4)
        layers += [ActNormLinear(channels, start), coupling(channels, hidden, config, features)]
    return Chain(layers)


def coupling(channels: int, hidden: int, config: GlowConfig, features: int) -> Bijection:
    """The configured coupling between the two halves of ``channels``."""
    kept = (channels + 1) // 2
    mixture = MixtureCoupling.parameters_per_channel(config.mixtures)
    parameters = {"affine": 2, "additive": 1, "mixture": mixture}[config.coupling]
    net = Conditioner(kept, parameters * (channels - kept), hidden, config.activation, features)
    if config.coupling == "mixture":
        return MixtureCoupling(net, ChannelPartition(), config.mixtures)
    if config.coupling == "additive":
        return AdditiveCoupling(net, ChannelPartition())
    return AffineCoupling(net, ChannelPartition())


def latent_shapes(config: GlowConfig, height: int, width: int) -> Shapes:
    """(C, h, w) of each level's latent, fine to coarse, of images of ``height`` × ``width``.

    Raises:
        ValueError: a side is not divisible by 2^levels.
    """
    step = 2**config.levels
    if height % step or width % step:
        raise ValueError(f"{height}×{width} is not divisible by 2^levels = {step}")
    passed_up, shapes = config.channels, []
    for level in range(1, config.levels + 1):
        channels = 4 * passed_up
        passed_up = passed_up_channels(config, level - 1, channels)
        shapes.append((channels - passed_up, height // 2**level, width // 2**level))
    return tuple(shapes)


def passed_up_channels(config: GlowConfig, level: int, channels: int) -> int:
    """Channels out of ``channels`` that are passed upward at ``level``, counted from 0; none at the top."""
    if level == config.levels - 1:
        return 0
    return channels // (2 if config.split == "half" else 4)


@final
class Glow(nn.Module):
    """L levels of squeeze → K flow steps → split; the last level does not split.

    Level l has half of 4·C_(l−1) channels at H/2^l (three quarters if ``split`` is "quarter"), the last one
    all of them. Images may have any size that is divisible by 2^L; ``latent_shapes`` are those at the
    configured size.

    Args:
        features: channels of the features that each level's couplings see; None: they see none.
        level_chain: the flow steps of a level, given channels, width, depth, configuration and features.
    """

    def __init__(
        self,
        config: GlowConfig,
        features: Sequence[int] | None = None,
        level_chain: Callable[[int, int, int, GlowConfig, int], Chain] = flow_chain,
    ) -> None:
        super().__init__()
        self.config = config
        self.latent_shapes = latent_shapes(config, config.height, config.width)
        features = features or [0] * config.levels
        chains = []
        for level, (depth, hidden) in enumerate(zip(config.depth, config.hidden, strict=True)):
            channels = self.latent_shapes[level][0] + self.level_channels(level)
            chains.append(level_chain(channels, hidden, depth, config, features[level]))
        self.levels = ModuleList(chains)

    def level_channels(self, level: int) -> int:
        return passed_up_channels(self.config, level, 4 * self._inputs(level))

    def _inputs(self, level: int) -> int:
        """Channels that arrive at ``level``."""
        return self.config.channels if level == 0 else self.level_channels(level - 1)

    def encode(self, x: Tensor, features: Features) -> Encoded:
        latents: list[Tensor] = []
        passed_up: list[Tensor | None] = []
        log_dets: list[Tensor] = []
        for level, chain in enumerate(self.levels):
            h, log_det = TRANSFORMS[self.config.memory](chain, squeeze(x), features[level])
            z, above = self._split(level, h)
            x = h if above is None else above
            latents.append(z)
            passed_up.append(above)
            log_dets.append(log_det)
        return Encoded(tuple(latents), tuple(passed_up), log_dets)

    def decode_level(
        self,
        level: int,
        z: Tensor,
        above: Tensor | None,
        features: Tensor | None,
        chains: Chains | None = None,
    ) -> Tensor:
        return unsqueeze((chains or self.levels)[level].invert(self._merge(z, above), features)[0])

    def _split(self, level: int, h: Tensor) -> tuple[Tensor, Tensor | None]:
        """Latent of a level and what passes upward, None at the top."""
        count = self.level_channels(level)
        if count == 0:
            return h, None
        if self.config.split == "half":
            return h[:, :-count], h[:, -count:]
        return h[:, count:], h[:, :count]

    def _merge(self, z: Tensor, above: Tensor | None) -> Tensor:
        """Inverse of ``_split``."""
        if above is None:
            return z
        return torch.cat([z, above] if self.config.split == "half" else [above, z], 1)

    def join(self, latents: Sequence[Tensor]) -> Tensor:
        """Latent image (B, C, H, W): latents of all levels, as if squeezes and splits alone had made them."""
        h: Tensor | None = None
        for level in reversed(range(self.config.levels)):
            h = unsqueeze(self._merge(latents[level], h))
        assert h is not None
        return h

    def separate(self, image: Tensor) -> tuple[Tensor, ...]:
        """Inverse of ``join``: latents per level."""
        latents, h = [], image
        for level in range(self.config.levels):
            z, above = self._split(level, squeeze(h))
            latents.append(z)
            h = z if above is None else above
        return tuple(latents)

    @torch.no_grad()
    def with_cached_inverse(self) -> Chains:
        return [chain.with_cached_inverse() for chain in self.levels]

    @torch.no_grad()
    def initialize(self, x: Tensor, features: Features) -> None:
        for level, chain in enumerate(self.levels):
            h = chain.initialize(squeeze(x), features[level])
            above = self._split(level, h)[1]
            x = h if above is None else above
