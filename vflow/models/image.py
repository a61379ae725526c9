"""Conditional flows over images: p(x | y) of 8-bit images given a label or another image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from vflow.bijections.base import accumulation_dtype
from vflow.models.base import Condition, LikelihoodModel, Sampled
from vflow.models.glow import Chains, MultiScale
from vflow.nn.layers import Activation, Conditioner
from vflow.nn.modules import ModuleList
from vflow.priors.gaussian import Gaussian


class ImageBatch(NamedTuple):
    """One training batch of a conditional image flow.

    images: uint8 (B, C, H, W); the colouriser's are the ab planes, value = round(ab) + 128.
    condition: labels, int64 (B,); for the colouriser float32 (B, 4, 2H, 2W), L in 0..100, then mask (0 or
        1), a and b of the colour hints (0 where there is none); for super-resolution the small photos, uint8
        (B, 3, H/2, W/2); for masks the pictures, uint8 (B, 1, H, W).
    eps: float32 (B, C, H, W), standard normal: dequantisation noise.
    sample_eps: float32 (b, N, D) with D = C · H · W, standard normal: noise of N samples of each of the
        first b images, all levels one after the other; None where no loss needs samples.
    features: features of ``condition`` computed before; None: the model computes them.
    selected: number of leading images that losses on a part of the batch use.
    rows: int64 (B,), numbers of the pictures in a cache of a backbone's features; None: there is none.
    backbone_features: those features; None: the model computes them.
    """

    images: Tensor
    condition: Tensor
    eps: Tensor
    sample_eps: Tensor | None = None
    features: Sequence[Tensor] | None = None
    selected: int = 0
    rows: Tensor | None = None
    backbone_features: Sequence[Tensor] | None = None

    @property
    def targets(self) -> Tensor:
        return self.images

    @property
    def target_eps(self) -> Tensor:
        return self.eps


@final
class LevelPrior(nn.Module):
    """p(z⁽ˡ⁾ | z⁽>ˡ⁾, features) = N(μ, σ): a small network over the half passed upward and the features."""

    def __init__(self, channels: int, above: int, hidden: int, activation: Activation, features: int) -> None:
        super().__init__()
        self.net = Conditioner(above, 2 * channels, hidden, activation, features)

    def forward(self, features: Tensor, above: Tensor | None) -> Gaussian:
        """Density of z; ``above`` (B, C, H, W) is None at the top."""
        inputs = features[:, :0] if above is None else above
        mean, log_scale = self.net(inputs, features).to(accumulation_dtype(inputs.dtype)).chunk(2, 1)
        return Gaussian.bounded(mean, log_scale)


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


class ConditionalFlow(LikelihoodModel[ImageBatch], ABC):
    """p(x | y) of 8-bit images given y; a subclass turns y into features for each level."""

    @abstractmethod
    def features(self, y: Tensor) -> Sequence[Tensor]:
        """Features of y for the couplings and the prior of each level: (B, F_l, H_l, W_l).

        A subclass may append others, for its own use.
        """

    def condition_targets(self, batch: ImageBatch) -> Condition:
        """Features of the batch's condition, computed unless the batch has them."""
        return self.condition(self.features_of(batch))

    def features_of(self, batch: ImageBatch) -> Sequence[Tensor]:
        """The batch's features, computed unless it has them."""
        return self.features(batch.condition) if batch.features is None else batch.features

    def condition(self, features: Sequence[Tensor]) -> Condition:
        """Condition made of ``features``."""
        return Condition(features[: len(self.priors)], features)

    @torch.no_grad()
    def encode(self, images: Tensor, y: Tensor, eps: Tensor | None = None) -> tuple[Tensor, ...]:
        """Standardised latents ε = (z − μ) / σ per level of uint8 images (B, C, H, W).

        Args:
            eps: dequantisation noise (B, C, H, W); None: images are taken at their bins' centres.
        """
        condition = self.condition(self.features(y))
        y = images.float() + 0.5 if eps is None else self.dequantize(images, eps, condition)[0]
        x, _ = self.to_flow(y, condition)
        return self.whiten(self.flow.encode(x, condition.features), condition)

    @torch.no_grad()
    def decode(
        self,
        eps: Sequence[Tensor],
        y: Tensor,
        temperature: Sequence[float],
        chains: Chains | None = None,
        features: Sequence[Tensor] | None = None,
    ) -> Sampled:
        """Images of standardised latents ``eps`` per level (B, C, h, w), given B conditions, or one for all.

        Args:
            chains: ``flow.with_cached_inverse()``, where many calls share it.
            features: those of y, where many calls share them.
        """
        features = [
            f.expand(len(eps[0]), -1, -1, -1).contiguous(memory_format=torch.channels_last)
            for f in (self.features(y) if features is None else features)
        ]
        return Sampled.of(self.generate(self.condition(features), eps, temperature, chains)[0])

    @torch.no_grad()
    def fit(self, batches: Sequence[ImageBatch]) -> None:
        """Set the pixel map's table from training images, if it has one."""
        self.pixel_map.fit([(batch.images, None) for batch in batches])
