"""Flows over images given something else: dequantisation → pixel map → multi-scale flow → prior per level."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from vflow.bijections.base import accumulation_dtype, sum_densities
from vflow.bijections.dequantize import Dequantizer
from vflow.models.batches import ImageBatch, Sampled
from vflow.models.color_mean import ColorMean
from vflow.models.glow import MultiScale, Shapes, decode
from vflow.models.pixel_map import PerPixelHistogram, Scaled
from vflow.nn.layers import Activation, Conditioner
from vflow.nn.modules import ModuleList
from vflow.priors.gaussian import Gaussian


@final
class LevelPrior(nn.Module):
    """p(z⁽ˡ⁾ | z⁽>ˡ⁾, condition) = N(μ, σ): a small network over the half passed upward and the features."""

    def __init__(self, channels: int, above: int, hidden: int, activation: Activation, features: int) -> None:
        super().__init__()
        self.net = Conditioner(above, 2 * channels, hidden, activation, features)

    def forward(self, above: Tensor | None, features: Tensor) -> Gaussian:
        """Density of z; ``above`` (B, C, H, W) is None at the top."""
        known = features[:, :0] if above is None else above
        mean, log_scale = self.net(known, features).to(accumulation_dtype(known.dtype)).chunk(2, 1)
        return Gaussian.bounded(mean, log_scale)


class ConditionalFlow(nn.Module, ABC):
    """p(x | y) of 8-bit images given y; subclasses say how y becomes ``features`` for each level.

    With an ``outline`` the flow codes what is left when that has subtracted what it expects.
    """

    noise: Dequantizer
    pixels: Scaled | PerPixelHistogram
    flow: MultiScale
    priors: ModuleList[LevelPrior]
    latent_shapes: Shapes
    image_shape: tuple[int, int, int]
    outline: ColorMean | None

    def __init__(self) -> None:
        super().__init__()
        self.outline = None

    @abstractmethod
    def features(self, given: Tensor) -> Sequence[Tensor]:
        """What couplings and priors see of ``given`` at each level: (B, F_l, H_l, W_l).

        After those may come what the outline alone sees.
        """

    def seen(self, batch: ImageBatch) -> Sequence[Tensor]:
        """``features`` of the batch, computed unless it has them."""
        return self.features(batch.condition) if batch.features is None else batch.features

    def forward(self, batch: ImageBatch) -> Tensor:
        """Log-likelihood of each image in nats (a lower bound: one draw of the noise), (B,)."""
        return torch.stack([d.flatten(1).sum(1) for d in self.log_prob_terms(batch)]).sum(0)

    def density_map(self, batch: ImageBatch) -> Tensor:
        """Log-likelihood in nats shared out over pixels, (B, H, W); sums to each image's."""
        return sum_densities(self.log_prob_terms(batch))

    def bits_per_dim(self, nats: Tensor, count: int = 1) -> Tensor:
        """−nats / (ln 2 · C · H · W · count)."""
        return -nats / (math.log(2) * math.prod(self.image_shape) * count)

    def log_prob_terms(self, batch: ImageBatch) -> list[Tensor]:
        """All terms of the log-likelihood, each (B, h, w) on its own grid."""
        features = self.seen(batch)
        x, terms = self.continuous(batch.images, batch.eps)
        code = self.flow.encode(self._rest(x, features), features)
        priors = [
            prior(above, seen).log_prob(z)
            for prior, above, seen, z in zip(
                self.priors, code.passed_up, features[: len(self.priors)], code.latents, strict=True
            )
        ]
        return [*terms, *code.densities, *priors]

    @torch.no_grad()
    def encode(self, images: Tensor, given: Tensor) -> tuple[Tensor, ...]:
        """Standardised latents ε = (z − μ) / σ per level of uint8 images, taken at their bins' centres."""
        features = self.features(given)
        x = self.pixels.transform(images.float() + 0.5)[0]
        code = self.flow.encode(self._rest(x, features), features)
        return tuple(
            prior(above, seen).whiten(z)
            for prior, above, seen, z in zip(
                self.priors, code.passed_up, features[: len(self.priors)], code.latents, strict=True
            )
        )

    @torch.no_grad()
    def decode(self, eps: Sequence[Tensor], given: Tensor, temperature: Sequence[float]) -> Sampled:
        """Images of standardised latents ``eps`` per level (B, C, h, w), given B things, or one for all."""
        features = [
            f.expand(len(eps[0]), -1, -1, -1).contiguous(memory_format=torch.channels_last)
            for f in self.features(given)
        ]
        return Sampled.of(self.generate(eps, features, temperature))

    def generate(
        self, eps: Sequence[Tensor], features: Sequence[Tensor], temperature: Sequence[float]
    ) -> Tensor:
        """From the top z = μ + T · σ · ε, then the inverse: grey levels before rounding (B, C, H, W)."""
        h: Tensor | None = None
        for level in reversed(range(len(self.priors))):
            z = self.priors[level](h, features[level]).sample(eps[level], temperature[level])
            h = self.flow.decode_level(level, z, h, features[level])
        assert h is not None
        h = self._whole(h, features)
        raw = self.pixels.invert(h)[0]
        return torch.where(torch.isfinite(h), raw, h)  # a bounded map would hide infinities

    @torch.no_grad()
    def fit(self, batches: Sequence[ImageBatch]) -> None:
        """Set the pixel map from data, if it is a counted one."""
        if isinstance(self.pixels, PerPixelHistogram):
            self.pixels.fit(torch.cat([batch.images for batch in batches]))

    @torch.no_grad()
    def initialize(self, batch: ImageBatch) -> None:
        """Data-dependent start of every ActNorm from one batch."""
        features = self.features(batch.condition)
        x = self.continuous(batch.images, batch.eps)[0]
        self.flow.initialize(self._rest(x, features), features)

    @torch.no_grad()
    def reconstruct(self, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """Dequantised images (B, C, H, W) in grey levels, and the same encoded and decoded."""
        features = self.features(batch.condition)
        images = batch.images.float()
        x = self.noise(images, batch.eps, self.pixels.mode(None, images))[0]
        code = self.flow.encode(self._rest(self.pixels.transform(x)[0], features), features)
        again = self._whole(decode(self.flow, code.latents, features), features)
        return x, self.pixels.invert(again)[0]

    def continuous(self, images: Tensor, eps: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Dequantise and map uint8 images: continuous x, and the density terms (B, H, W)."""
        x = images.float()
        y, weight = self.noise(x, eps, self.pixels.mode(None, x))
        z, density = self.pixels.transform(y)
        return z.contiguous(memory_format=torch.channels_last), [weight.sum(1), density]

    def _rest(self, x: Tensor, features: Sequence[Tensor]) -> Tensor:
        """What the flow codes of x."""
        return self.outline.subtract(x, features) if self.outline else x

    def _whole(self, rest: Tensor, features: Sequence[Tensor]) -> Tensor:
        return self.outline.add(rest, features) if self.outline else rest

    @staticmethod
    def level_priors(
        flow: MultiScale, hidden: Sequence[int], activation: Activation, features: Sequence[int]
    ) -> ModuleList[LevelPrior]:
        """A prior for each level of ``flow``."""
        return ModuleList(
            [
                LevelPrior(shape[0], flow.level_channels(level), hidden[level], activation, features[level])
                for level, shape in enumerate(flow.latent_shapes)
            ]
        )
