"""Digits by class by a TarFlow: its likelihood, guided samples, and the denoising of noisy ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast, final

import torch
from torch import Tensor, nn

from vflow.bijections.base import Chain
from vflow.bijections.element import Affine
from vflow.bijections.pixel_map import LEVELS, PerPixelHistogram, Scaled
from vflow.bijections.spline import RationalQuadraticSpline
from vflow.bijections.tarflow import Patches, TransformerBlock, TransformerSize
from vflow.config import PatchFlowConfig, TarFlowConfig
from vflow.models.base import Sampled, sum_terms
from vflow.models.dequantizer import Dequantizer, build_dequantizer
from vflow.models.glow import Chains, Encoded, Features, Shapes
from vflow.models.image import ConditionalFlow
from vflow.nn.modules import ModuleList
from vflow.priors.gaussian import Gaussian

ELEMENTS = {"affine": Affine, "spline": RationalQuadraticSpline}


@final
class NoiseAugmentation(Dequantizer):
    """x̃ = x + ½ + σ ε: noise beyond the bin, which is counted.

    x is found again from x̃ by P(x | x̃) ∝ q(x̃ | x) over the 256 levels, so that the bound
    log p(x) ≥ E_q[log p(x̃) + log P(x | x̃) − log q(x̃ | x)] = E_q[log p(x̃) − log Σ_v q(x̃ | v)] holds.

    Args:
        std: σ, in grey levels.
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: Tensor, eps: Tensor, mode: Tensor | None = None) -> tuple[Tensor, Tensor]:
        noisy = x + 0.5 + self.std * eps
        levels = torch.arange(LEVELS, device=x.device, dtype=x.dtype) + 0.5
        exponent = -0.5 * ((noisy[..., None] - levels) / self.std).square()
        return noisy, math.log(self.std * math.sqrt(2 * math.pi)) - exponent.logsumexp(-1)


@final
class StandardNormal(nn.Module):
    """p(z) = N(0, 1)."""

    def forward(self, features: Tensor, above: Tensor | None) -> Gaussian:
        zero = features.new_zeros(())
        return Gaussian(zero, zero)


def offsets_before(window: int, width: int) -> tuple[int, ...]:
    """Places in raster order from a position back to those within ``window`` rows and columns before it."""
    reach = range(-window, window + 1)
    back = {-row * width - column for row in range(-window, 1) for column in reach}
    return tuple(sorted({1} | {offset for offset in back if offset > 0}))


@final
class PatchFlow(nn.Module):
    """Image ↔ latents of one level, a patch in each position: blocks whose order alternates."""

    def __init__(self, config: PatchFlowConfig, features: int) -> None:
        super().__init__()
        shape = (
            config.channels * config.patch**2,
            config.height // config.patch,
            config.width // config.patch,
        )
        self.latent_shapes: Shapes = (shape,)
        self.patches = Patches(config.patch)
        self.blocks = Chain(
            [
                TransformerBlock(
                    shape,
                    TransformerSize(block.hidden, block.layers, block.heads, block.head),
                    offsets=offsets_before(config.window, shape[2]),
                    features=features,
                    element=ELEMENTS[block.element](),
                    reverse=index % 2 == 1,
                )
                for index, block in enumerate(config.blocks)
            ]
        )

    def level_channels(self, level: int) -> int:
        return 0

    def encode(self, x: Tensor, features: Features) -> Encoded:
        z, density = self.blocks.transform(self.patches.transform(x)[0], features[0])
        return Encoded((z,), (None,), [density])

    def decode_level(
        self,
        level: int,
        z: Tensor,
        above: Tensor | None,
        features: Tensor | None,
        chains: Chains | None = None,
    ) -> Tensor:
        return self.patches.invert(self.blocks.invert(z, features)[0])[0]

    def decode_guided(self, z: Tensor, features: Tensor, unguided: Tensor, weight: float) -> Tensor:
        """Inverse of ``encode`` by parameters led away from those given ``unguided``."""
        for block in reversed(self.blocks.layers):
            z = cast(TransformerBlock, block).invert_guided(z, features, unguided, weight)
        return self.patches.invert(z)[0]

    def with_cached_inverse(self) -> Chains:
        return (self.blocks,)

    def initialize(self, x: Tensor, features: Features) -> None:
        """Nothing depends on data."""


@final
class TarFlow(ConditionalFlow):
    """p(x | y) of grey images x given a class y (Zhai et al. 2024).

    A class is a learned vector of features for each patch. One more stands for no class: with
    ``label_dropout`` it is trained in place of some, and samples can be guided.
    """

    flow: PatchFlow

    def __init__(self, config: TarFlowConfig) -> None:
        super().__init__()
        self.config = config
        size = config.glow
        self.image_shape = (size.channels, size.height, size.width)
        wide = config.augmentation
        self.dequantizer = NoiseAugmentation(wide) if wide else build_dequantizer(config.noise, size.channels)
        per_pixel = config.pixel_map == "per_pixel"
        self.pixel_map = PerPixelHistogram(*self.image_shape) if per_pixel else Scaled(LEVELS / 4)
        self.flow = PatchFlow(size, config.condition)
        self.latent_shapes = self.flow.latent_shapes
        self.priors = ModuleList([StandardNormal()])
        known = config.classes + (config.label_dropout > 0)
        self.class_map = nn.Parameter(torch.randn(known, config.condition, *self.latent_shapes[0][1:]))

    def features(self, y: Tensor) -> Sequence[Tensor]:
        """Map of the labels ``y``, int64 (B,); in training some are dropped."""
        if self.training and self.config.label_dropout:
            dropped = torch.rand(y.shape, device=y.device) < self.config.label_dropout
            y = torch.where(dropped, self.config.classes, y)
        return [self.class_map[y]]

    @torch.no_grad()
    def decode_guided(
        self, eps: Sequence[Tensor], y: Tensor, temperature: Sequence[float], weight: float
    ) -> Sampled:
        """Guided images of noise, as ``decode`` takes it: no draws from p(x | y), but clearer ones.

        Args:
            weight: 0: none.

        Raises:
            ValueError: the model was trained without ``label_dropout``.
        """
        if not self.config.label_dropout:
            raise ValueError("guidance needs a model trained with label_dropout")
        given, none = (self.features(label)[0] for label in (y, torch.full_like(y, self.config.classes)))
        x = self.flow.decode_guided(temperature[0] * eps[0], given, none, weight)
        return Sampled.of(self.to_pixels(x, self.condition([given])))

    def denoise(self, noisy: Tensor, y: Tensor) -> Sampled:
        """x̃ + σ² ∇ log p(x̃ | y), the mean of x given noisy images x̃, such as ``decode(…).raw``.

        By Tweedie's formula (Zhai et al. 2024). Denoised images are no draws from p(x | y).

        Args:
            noisy: float32 (B, C, H, W), grey levels.

        Raises:
            ValueError: the model was trained without ``augmentation``.
        """
        if not self.config.augmentation:
            raise ValueError("denoising needs a model trained with augmentation")
        condition = self.condition(self.features(y))
        with torch.enable_grad():
            noisy = noisy.detach().requires_grad_()
            code = self._encode(noisy, torch.zeros_like(noisy), condition)
            nats = sum_terms(self.terms_of(condition, code)).sum()
            (score,) = torch.autograd.grad(nats, noisy)
        return Sampled.of(noisy.detach() + self.config.augmentation**2 * score)
