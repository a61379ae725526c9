"""Knowledge types over a flow of images: TzK (Livne & Fleet 2019, *Flow-Based Conditional Generative Model*).

A flow x ↔ z codes images without any condition. A type of knowledge κᵢ = (eᵢ, cᵢ) says that something exists
in an image (e = 1) and, by its code c, how. What is known changes the density of the latents,

    p(z | κ) = p(w | h) |det ∂w/∂z|,    w = Glow(z; h),    h = Σᵢ eᵢ (Aᵢ + Bᵢ cᵢ),

and p(x | κ) = p(z | κ) |det ∂z/∂x|. Where nothing is known the flow is what it was, so types can be added to
one that is frozen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from vflow.config import GlowConfig
from vflow.models.base import Condition, Sampled
from vflow.models.digits import Digits
from vflow.models.glow import Glow
from vflow.models.image import level_priors


class Types(NamedTuple):
    """Knowledge of B images, for each of K types.

    exists: float32 (B, K), 1 where the type is known to exist.
    codes: float32 (B, K, D); those of types that are not known do not matter.
    """

    exists: Tensor
    codes: Tensor

    @classmethod
    def known(cls, count: int, shape: tuple[int, int], codes: Mapping[int, Sequence[float]]) -> Types:
        """The same of ``count`` images: the types in ``codes`` exist; ``shape`` is (K, D)."""
        types = cls(torch.zeros(count, shape[0]), torch.zeros(count, *shape))
        for number, code in codes.items():
            types.exists[:, number] = 1
            types.codes[:, number] = torch.tensor(code, dtype=torch.float32)
        return types

    def kept(self, keep: Tensor) -> Types:
        """The same without the knowledge where ``keep`` (B, K) is 0."""
        return Types(self.exists * keep, self.codes)


@final
class Knowledge(nn.Module):
    """``count`` types with codes of ``code_dim`` numbers over the flow of ``base``, which has one class.

    z are the base's whitened latents of all levels, joined to an image of the data's size.

    Args:
        config: the Glow over z; ``condition`` its features per level, fine to coarse.
    """

    def __init__(
        self, base: Digits, count: int, code_dim: int, config: GlowConfig, condition: Sequence[int]
    ) -> None:
        super().__init__()
        self.base, self.shape = base, (count, code_dim)
        self.flow = Glow(config, condition)
        self.priors = level_priors(self.flow, config.hidden, config.activation, condition)
        maps = [(width, *shape[1:]) for width, shape in zip(condition, self.flow.latent_shapes, strict=True)]
        self.existence = nn.ParameterList(torch.randn(count, *size) for size in maps)
        self.codes = nn.ParameterList(torch.zeros(count, code_dim, *size) for size in maps)

    def features(self, types: Types) -> list[Tensor]:
        """h of each level, (B, F, h, w)."""
        weights = types.exists[:, :, None] * types.codes
        return [
            torch.einsum("bk,kfhw->bfhw", types.exists, exists)
            + torch.einsum("bkd,kdfhw->bfhw", weights, code)
            for exists, code in zip(self.existence, self.codes, strict=True)
        ]

    def encode(self, images: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """z (B, C, H, W) of uint8 images dequantised by ``eps``, and log p(x), nothing known, nats (B,)."""
        condition = self._nothing_known(len(images))
        code = self.base.encode_images(images, eps, condition)
        z = self.base.flow.join(self.base.whiten(code, condition))
        return z, _total(self.base.terms_of(condition, code))

    def log_ratio(self, z: Tensor, types: Types) -> Tensor:
        """log p(z | κ) − log p(z), nats (B,); 0 where nothing is known."""
        features = self.features(types)
        code = self.flow.encode(z, features)
        densities = [
            prior(seen, above).log_prob(w)
            for prior, seen, above, w in zip(self.priors, features, code.passed_up, code.latents, strict=True)
        ]
        known = _total([*code.log_prob_terms, *densities])
        plain = -0.5 * (z.square() + math.log(2 * math.pi)).flatten(1).sum(1)
        return torch.where(types.exists.any(1), known - plain, torch.zeros_like(plain))

    def forward(self, images: Tensor, eps: Tensor, types: Types) -> Tensor:
        """log p(x | κ), nats (B,): a lower bound, one draw ``eps`` of the dequantisation noise."""
        z, nats = self.encode(images, eps)
        return nats + self.log_ratio(z, types)

    def log_posterior(self, z: Tensor, among: Sequence[int]) -> Tensor:
        """log p(type | x) (B, len(among)) of latents z: one of ``among`` exists, each as likely beforehand.

        Codes are at their mean, 0.
        """
        exists = torch.eye(self.shape[0], dtype=z.dtype, device=z.device)[list(among)].repeat(len(z), 1)
        each = Types(exists, exists.new_zeros(len(exists), *self.shape))
        ratios = self.log_ratio(z.repeat_interleave(len(among), 0), each).unflatten(0, (len(z), -1))
        return torch.log_softmax(ratios, 1)

    @torch.no_grad()
    def generate(self, noise: Tensor, types: Types, temperature: float = 1.0) -> Sampled:
        """Images of standard-normal noise (B, C, H, W), given what ``types`` say of each."""
        noise, features = temperature * noise, self.features(types)
        h: Tensor | None = None
        for level, eps in reversed(list(enumerate(self.flow.separate(noise)))):
            w = self.priors[level](features[level], h).sample(eps, 1.0)
            h = self.flow.decode_level(level, w, h, features[level])
        assert h is not None
        z = torch.where(types.exists.any(1)[:, None, None, None], h, noise)
        latents = self.base.flow.separate(z)
        return Sampled.of(self.base.generate(self._nothing_known(len(z)), latents, [1.0] * len(latents))[0])

    @torch.no_grad()
    def initialize(self, z: Tensor, types: Types) -> None:
        """Data-dependent start of ActNorm from latents z (B, C, H, W) and what is known of them."""
        self.flow.initialize(z, self.features(types))

    def _nothing_known(self, count: int) -> Condition:
        label = torch.zeros(count, dtype=torch.int64, device=self.existence[0].device)
        return self.base.condition(self.base.features(label))


def _total(terms: Sequence[Tensor]) -> Tensor:
    """Sum of terms (B, h, w) over positions and terms, (B,)."""
    return torch.stack([term.flatten(1).sum(1) for term in terms]).sum(0)
