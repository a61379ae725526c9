"""Likelihood models of 8-bit images: the part that images and videos share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from vflow.bijections.base import sum_densities
from vflow.bijections.pixel_map import LEVELS, PixelMap
from vflow.models.dequantizer import Dequantizer
from vflow.models.glow import Chains, Encoded, Features, MultiScale, Shapes, decode
from vflow.nn.modules import ModuleList
from vflow.priors.gaussian import Gaussian


class Batch(Protocol):
    """Examples of a model: ``eps`` (B, …) is their dequantisation noise, standard normal."""

    @property
    def eps(self) -> Tensor: ...

    @property
    def targets(self) -> Tensor:
        """Images to score, uint8 (N, C, H, W), equally many from each example."""

    @property
    def target_eps(self) -> Tensor:
        """Dequantisation noise of ``targets``, float32 (N, C, H, W)."""


class Condition(NamedTuple):
    """Tensors that N images are coded given."""

    prior_inputs: Sequence[Tensor]  # per level, input of its prior
    features: Features  # per level (N, F_l, H_l, W_l), for the couplings, or None
    reference: Tensor | None = None  # uint8 (N, C, H, W), for the pixel map
    log_prob_terms: tuple[Tensor, ...] = ()  # log p of the condition itself where it is a latent, (N, h, w)
    past: Any = None  # what a prior of all levels together makes of past frames

    def repeat(self, count: int) -> Condition:
        """Each image's ``count`` times in a row."""
        return Condition(
            [x.repeat_interleave(count, 0) for x in self.prior_inputs],
            [None if f is None else f.repeat_interleave(count, 0) for f in self.features],
            None if self.reference is None else self.reference.repeat_interleave(count, 0),
        )


class Sampled(NamedTuple):
    """Sampled images and counts of what was found in them before rounding."""

    frame: Tensor  # uint8 (B, C, H, W)
    raw: Tensor  # float32 (B, C, H, W), grey levels, before rounding; a value v fills [v, v + 1)
    nonfinite: Tensor  # int64 (B,), values that are NaN or infinite
    out_of_range: Tensor  # int64 (B,), values more than 0.1 grey levels outside 0 … 256

    @classmethod
    def of(cls, raw: Tensor) -> Self:
        """Round ``raw`` down to bytes, counting what does not fit."""
        finite = torch.isfinite(raw)
        outside = (raw < -0.1) | (raw > LEVELS + 0.1)
        frame = torch.where(finite, raw, 0).floor().clamp(0, LEVELS - 1).to(torch.uint8)
        return cls(frame, raw, (~finite).flatten(1).sum(1), (outside & finite).flatten(1).sum(1))


B = TypeVar("B", bound=Batch)


class LikelihoodModel(nn.Module, ABC, Generic[B]):
    """p(x | condition) of 8-bit images: dequantisation → pixel map → multi-scale flow → a prior per level.

    A subclass says what images are coded given: ``condition_targets``.
    """

    dequantizer: Dequantizer
    pixel_map: PixelMap
    flow: MultiScale
    priors: ModuleList[Any]
    """Per level, (condition, half passed upward or None) → Gaussian; a subclass may have another prior."""
    image_shape: tuple[int, int, int]
    latent_shapes: Shapes
    """(C, h, w) of each level's noise, fine to coarse, at the size of training images."""

    @abstractmethod
    def condition_targets(self, batch: B) -> Condition:
        """Condition of the batch's target images."""

    @abstractmethod
    def fit(self, batches: Sequence[B]) -> None:
        """Set what is counted from training data, before ``initialize``."""

    def forward(self, batch: B) -> Tensor:
        """Log-likelihood of each example in nats (a lower bound: one draw of the noise), (B,)."""
        return self.log_likelihood(batch).sum(1)

    def log_likelihood(self, batch: B) -> Tensor:
        """Log-likelihood of each target image in nats, (B, targets)."""
        return sum_terms(self.log_prob_terms(batch)).unflatten(0, (len(batch.eps), -1))

    def density_map(self, batch: B) -> Tensor:
        """Log-likelihood in nats shared out over pixels, (B, targets, H, W); sums to ``log_likelihood``."""
        return sum_densities(self.log_prob_terms(batch)).unflatten(0, (len(batch.eps), -1))

    def bits_per_dim(self, nats: Tensor, count: int = 1) -> Tensor:
        """−nats / (ln 2 · C · H · W · count), of log-likelihoods of ``count`` images."""
        return -nats / (math.log(2) * math.prod(self.image_shape) * count)

    def log_prob_terms(self, batch: B) -> list[Tensor]:
        """All terms of the targets' log-likelihood, each (N, h, w) on its own grid."""
        return self.terms_of(*self.encode_batch(batch))

    def terms_of(self, condition: Condition, code: Encoded) -> list[Tensor]:
        """The same terms, of images that are already encoded."""
        return [*code.log_prob_terms, *(p.log_prob(z) for p, z in self._level_priors(condition, code))]

    def encode_batch(self, batch: B) -> tuple[Condition, Encoded]:
        """Condition and codes of the batch's targets."""
        condition = self.condition_targets(batch)
        return condition, self._encode(*self.dequantize_targets(batch, condition), condition)

    def encode_images(self, images: Tensor, eps: Tensor, condition: Condition) -> Encoded:
        """Codes of uint8 images (N, C, H, W), dequantised by ``eps``, with all terms but the priors'."""
        return self._encode(*self.dequantize(images, eps, condition), condition)

    def _encode(self, y: Tensor, weight: Tensor, condition: Condition) -> Encoded:
        x, density = self.to_flow(y, condition)
        code = self.flow.encode(x, condition.features)
        terms = [*condition.log_prob_terms, weight.sum(1), density, *code.log_prob_terms]
        return code._replace(log_prob_terms=terms)

    def whiten(self, code: Encoded, condition: Condition) -> tuple[Tensor, ...]:
        """Standardised latents ε = (z − μ) / σ per level."""
        return tuple(p.whiten(z) for p, z in self._level_priors(condition, code))

    def generate(
        self,
        condition: Condition,
        eps: Sequence[Tensor],
        temperature: Sequence[float],
        chains: Chains | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Images before rounding (N, C, H, W), in grey levels, and their latents.

        From the top down z = μ + T · σ · ε, then the flow's inverse.

        Args:
            eps: standard-normal noise per level, (N, C, h, w).
            temperature: per level.
            chains: ``flow.with_cached_inverse()``, where many calls share it.
        """
        h, latents = self.descend(condition, eps, temperature, chains)
        raw = self.to_pixels(h, condition)
        return torch.where(torch.isfinite(h), raw, h), latents  # a bounded map would hide infinities

    def descend(
        self,
        condition: Condition,
        eps: Sequence[Tensor],
        temperature: Sequence[float],
        chains: Chains | None = None,
        *,
        stop: int = 0,
    ) -> tuple[Tensor, list[Tensor]]:
        """Levels from the top down to ``stop``: what that one passes to the next finer, and their latents.

        ``eps`` and ``temperature`` are as in ``generate``; those of levels finer than ``stop`` are not used.
        """
        latents: list[Tensor] = []
        h: Tensor | None = None
        for level in reversed(range(stop, len(self.priors))):
            z = self.priors[level](condition.prior_inputs[level], h).sample(eps[level], temperature[level])
            h = self.flow.decode_level(level, z, h, condition.features[level], chains)
            latents.insert(0, z)
        assert h is not None
        return h, latents

    @torch.no_grad()
    def initialize(self, batch: B) -> None:
        """Data-dependent start of every ActNorm from one batch, before the model is prepared for training."""
        condition = self.condition_targets(batch)
        y, _ = self.dequantize_targets(batch, condition)
        self.flow.initialize(self.to_flow(y, condition)[0], condition.features)

    @torch.no_grad()
    def reconstruct(self, batch: B) -> tuple[Tensor, Tensor]:
        """Dequantised targets (N, C, H, W) in grey levels, and the same encoded and decoded."""
        condition, code = self.encode_batch(batch)
        y, _ = self.dequantize_targets(batch, condition)
        return y, self.to_pixels(decode(self.flow, code.latents, condition.features), condition)

    def dequantize_targets(self, batch: B, condition: Condition) -> tuple[Tensor, Tensor]:
        """Dequantised targets in grey levels and −log q of each value, (N, C, H, W)."""
        return self.dequantize(batch.targets, batch.target_eps, condition)

    def dequantize(self, images: Tensor, eps: Tensor, condition: Condition) -> tuple[Tensor, Tensor]:
        """Uint8 images (N, C, H, W), made continuous by the noise ``eps``, and −log q of each value."""
        values = images.float()
        y, weight = self.dequantizer(values, eps, self.pixel_map.mode(_float(condition.reference), values))
        return y, weight

    def to_flow(self, y: Tensor, condition: Condition) -> tuple[Tensor, Tensor]:
        """Grey levels (N, C, H, W) to the flow's input, with the log-det of each position (N, H, W)."""
        x, density = self.pixel_map.transform(y, _float(condition.reference))
        return x.contiguous(memory_format=torch.channels_last), density

    def to_pixels(self, x: Tensor, condition: Condition) -> Tensor:
        """Inverse of ``to_flow``: grey levels before rounding (N, C, H, W)."""
        return self.pixel_map.invert(x, _float(condition.reference))[0]

    def _level_priors(self, condition: Condition, code: Encoded) -> list[tuple[Gaussian, Tensor]]:
        """Prior and latent of each level."""
        levels = zip(self.priors, condition.prior_inputs, code.passed_up, code.latents, strict=True)
        return [(prior(seen, above), z) for prior, seen, above, z in levels]


def sum_terms(terms: Sequence[Tensor]) -> Tensor:
    """Sum of terms (N, h, w), each on its own grid, over terms and positions: (N,)."""
    return torch.stack([term.flatten(1).sum(1) for term in terms]).sum(0)


def _float(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.float()
