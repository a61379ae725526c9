"""What multi-scale flows have in common: Glow and the wavelet flow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol, final

import torch
from torch import Tensor, nn

from vflow.bijections.base import Bijection, Chain
from vflow.bijections.coupling import AdditiveCoupling, AffineCoupling
from vflow.bijections.linear import ActNormLinear
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
    """Latents, halves passed upward and density terms of frames; one entry per level, fine to coarse."""

    latents: tuple[Tensor, ...]
    passed_up: tuple[Tensor | None, ...]
    densities: list[Tensor]


class MultiScale(Protocol):
    """Image ↔ latents; sequences run fine to coarse, one entry per level."""

    latent_shapes: Shapes

    def level_channels(self, level: int) -> int: ...
    def encode(self, x: Tensor, features: Features) -> Encoded: ...
    def decode_level(
        self, level: int, z: Tensor, above: Tensor | None, features: Tensor | None
    ) -> Tensor: ...
    def initialize(self, x: Tensor, features: Features) -> None: ...


def decode(flow: MultiScale, latents: Sequence[Tensor], features: Features) -> Tensor:
    """Inverse of ``flow.encode``: latents → x, from the top down."""
    h: Tensor | None = None
    for level in reversed(range(len(latents))):
        h = flow.decode_level(level, latents[level], h, features[level])
    assert h is not None
    return h


def split_levels(flat: Tensor, shapes: Sequence[tuple[int, ...]]) -> tuple[Tensor, ...]:
    """Noise or latents of all levels one after the other, (B, D) → per level (B, C, h, w)."""
    parts = flat.split([math.prod(shape) for shape in shapes], 1)
    return tuple(part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True))


# How a level's chain is run when gradients are wanted, by ``config.memory``.
TRANSFORMS = {"plain": Chain.transform, "recompute": transform_recomputed}


def flow_step(channels: int, hidden: int, config: GlowConfig, features: int) -> list[Bijection]:
    """ActNorm and 1×1 convolution in one pass, then a coupling."""
    return [ActNormLinear(channels), coupling(channels, hidden, config, features)]


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


@final
class Glow(nn.Module):
    """L levels of squeeze → K flow steps → split; the last level does not split.

    Latents run fine to coarse: level l has half of 4·C_(l−1) channels at H/2^l, the last one all of them.
    ``features`` holds a context tensor per level for the couplings, or None.
    """

    def __init__(self, config: GlowConfig, features: Sequence[int] | None = None) -> None:
        super().__init__()
        self.config = config
        features = features or [0] * config.levels
        channels, shapes, levels = config.channels, [], []
        for level, (depth, hidden) in enumerate(zip(config.depth, config.hidden, strict=True)):
            channels *= 4
            steps = [flow_step(channels, hidden, config, features[level]) for _ in range(depth)]
            levels.append(Chain([layer for step in steps for layer in step]))
            last = level == config.levels - 1
            scale = 2 ** (level + 1)
            shapes.append(
                (channels if last else channels // 2, config.height // scale, config.width // scale)
            )
            channels = channels if last else channels - channels // 2
        self.levels = ModuleList(levels)
        self.latent_shapes: Shapes = tuple(shapes)

    def level_channels(self, level: int) -> int:
        """Channels of the half passed upward at ``level``; 0 at the top."""
        return 0 if level == self.config.levels - 1 else self.latent_shapes[level][0]

    def encode_level(
        self, level: int, h: Tensor, features: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """h → (z, the half passed upward or None at the top, density (B, H_l, W_l))."""
        h, density = TRANSFORMS[self.config.memory](self.levels[level], squeeze(h), features)
        if level == self.config.levels - 1:
            return h, None, density
        z, above = h.chunk(2, 1)
        return z, above, density

    def with_cached_inverse(self) -> Chains:
        """The levels' chains with their matrices inverted once, for ``decode_level`` to use again."""
        return [chain.with_cached_inverse() for chain in self.levels]

    def decode_level(
        self,
        level: int,
        z: Tensor,
        above: Tensor | None,
        features: Tensor | None,
        chains: Chains | None = None,
    ) -> Tensor:
        """Inverse of ``encode_level``: z and the half from above → h, at twice the size."""
        joined = z if above is None else torch.cat([z, above], 1)
        return unsqueeze((chains or self.levels)[level].invert(joined, features)[0])

    def encode(self, x: Tensor, features: Features) -> Encoded:
        """Image to latents: x (B, C, H, W)."""
        latents, passed_up, densities = [], [], []
        h: Tensor | None = x
        for level in range(self.config.levels):
            assert h is not None
            z, h, density = self.encode_level(level, h, features[level])
            latents.append(z)
            passed_up.append(h)
            densities.append(density)
        return Encoded(tuple(latents), tuple(passed_up), densities)

    @torch.no_grad()
    def initialize(self, x: Tensor, features: Features) -> None:
        """ActNorm's data-dependent start from the batch ``x``, level by level."""
        for level, chain in enumerate(self.levels):
            h = chain.initialize(squeeze(x), features[level])
            if level < self.config.levels - 1:
                x = h.chunk(2, 1)[1]
