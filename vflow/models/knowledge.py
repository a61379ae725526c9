"""Knowledge types over a flow of images: TzK (Livne & Fleet 2019, *Flow-Based Conditional Generative Model*).

A flow x ↔ z codes images without any condition. A type of knowledge κᵢ = (eᵢ, cᵢ) says that something exists
in an image (e = 1) and, by its code c, how. What is known changes the density of the latents,

    p(z | κ) = N(w; 0, I) |det ∂w/∂z|,    w = f(g(z; κ); h),    h = Σᵢ eᵢ (Aᵢ + Bᵢ cᵢ),

and p(x | κ) = p(z | κ) |det ∂z/∂x|. g is a linear map for each type that exists, one after the other,
which whitens the latents of that type and is fitted in closed form. f is a chain of couplings, learned. Where
nothing is known the flow is what it was, so types can be added to one that is frozen. Of the paper's model
the density of a code given an image is left out: codes are always given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from vflow.config import DensityConfig
from vflow.models.base import Condition, Sampled, sum_terms
from vflow.models.density import DensityModel
from vflow.models.digits import Digits
from vflow.models.flow import PointBatch


class Types(NamedTuple):
    """Knowledge of B images, for each of K types.

    exists: float32 (B, K), 1 where the type is known to exist.
    codes: float32 (B, K, D); those of types that are not known do not matter.
    """

    exists: Tensor
    codes: Tensor

    @classmethod
    def known(cls, count: int, shape: tuple[int, int], codes: Mapping[int, Sequence[float]]) -> Types:
        """Knowledge of ``count`` images: the types in ``codes`` exist; ``shape`` is (K, D)."""
        types = cls(torch.zeros(count, shape[0]), torch.zeros(count, *shape))
        for number, code in codes.items():
            types.exists[:, number] = 1
            types.codes[:, number] = torch.tensor(code, dtype=torch.float32)
        return types

    def kept(self, keep: Tensor) -> Types:
        """Knowledge without that where ``keep`` (B, K) is 0."""
        return Types(self.exists * keep, self.codes)


@final
class TypeWhitening(nn.Module):
    """Linear maps w = Lᵢ⁻¹ (z − mᵢ − Sᵢ cᵢ) of vectors of D elements, in turn for each type i that exists.

    They start as the identity; ``fit`` sets them.
    """

    means: Tensor
    slopes: Tensor
    factors: Tensor

    def __init__(self, count: int, code_dim: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(count, dim))
        self.register_buffer("slopes", torch.zeros(count, code_dim, dim))
        self.register_buffer("factors", torch.eye(dim).repeat(count, 1, 1))  # L, lower triangular

    def transform(self, z: Tensor, types: Types) -> tuple[Tensor, Tensor]:
        """z (B, D) → w (B, D) and the log-det (B,)."""
        for number in range(len(self.means)):
            z = torch.where(types.exists[:, number, None] > 0, self._whiten(z, types, number), z)
        return z, -types.exists @ self.factors.diagonal(dim1=1, dim2=2).log().sum(1)

    def invert(self, w: Tensor, types: Types) -> Tensor:
        """w (B, D) → z (B, D)."""
        for number in reversed(range(len(self.means))):
            z = w @ self.factors[number].T + self._mean(types, number)
            w = torch.where(types.exists[:, number, None] > 0, z, w)
        return w

    @torch.no_grad()
    def fit(self, z: Tensor, types: Types) -> None:
        """Mean given the code, and covariance, of the latents z (N, D) of each type.

        Covariances are shrunk as if D / 10 more latents were normal. A type of fewer than two examples stays.
        """
        for number in range(len(self.means)):
            rows = types.exists[:, number] > 0
            if rows.sum() > 1:
                self._fit_type(number, z[rows], types.codes[rows, number])
                z = torch.where(rows[:, None], self._whiten(z, types, number), z)

    def _fit_type(self, number: int, z: Tensor, code: Tensor) -> None:
        count, dim = z.shape
        centred = code - code.mean(0)
        slope = torch.linalg.lstsq(centred, z - z.mean(0), driver="gelsd").solution
        rest = z - z.mean(0) - centred @ slope
        prior = dim / 10
        covariance = (rest.T @ rest + prior * torch.eye(dim, dtype=z.dtype)) / (count + prior)
        self.means[number], self.slopes[number] = z.mean(0) - code.mean(0) @ slope, slope
        self.factors[number] = torch.linalg.cholesky(covariance)

    def _whiten(self, z: Tensor, types: Types, number: int) -> Tensor:
        centred = (z - self._mean(types, number)).T
        return torch.linalg.solve_triangular(self.factors[number], centred, upper=False).T

    def _mean(self, types: Types, number: int) -> Tensor:
        return self.means[number] + types.codes[:, number] @ self.slopes[number]


@final
class Knowledge(nn.Module):
    """``count`` types with codes of ``code_dim`` numbers over the flow of ``base``, which has one class.

    z are the base's whitened latents of all levels, joined to an image of the data's size.

    Args:
        config: the flow of z, as vectors of C · H · W elements; ``features`` is the length of h.

    Raises:
        ValueError: ``config`` is for vectors of another length, or has no features.
    """

    def __init__(self, base: Digits, count: int, code_dim: int, config: DensityConfig) -> None:
        super().__init__()
        size = math.prod(base.image_shape)
        if config.dim != size or not config.features:
            raise ValueError(f"dim {config.dim}, features {config.features}: needs {size} and at least 1")
        self.base, self.shape = base, (count, code_dim)
        self.whitening = TypeWhitening(count, code_dim, size)
        self.flow = DensityModel(config)
        self.existence = nn.Parameter(torch.randn(count, config.features))
        self.codes = nn.Parameter(torch.zeros(count, code_dim, config.features))

    def features(self, types: Types) -> Tensor:
        """h, (B, F)."""
        weights = types.exists[:, :, None] * types.codes
        return types.exists @ self.existence + torch.einsum("bkd,kdf->bf", weights, self.codes)

    def encode(self, images: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """z (B, C, H, W) of uint8 images dequantised by ``eps``, and log p(x), nothing known, nats (B,)."""
        condition = self._nothing_known(len(images))
        code = self.base.encode_images(images, eps, condition)
        z = self.base.flow.join(self.base.whiten(code, condition))
        return z, sum_terms(self.base.terms_of(condition, code))

    def log_ratio(self, z: Tensor, types: Types) -> Tensor:
        """log p(z | κ) − log p(z), nats (B,); 0 where nothing is known."""
        whitened, log_det = self.whitening.transform(z.flatten(1), types)
        known = self.flow.log_prob(whitened, self.features(types)) + log_det
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
        noise = temperature * noise
        whitened = self.flow.sample(noise.flatten(1), self.features(types))
        given = self.whitening.invert(whitened, types).view_as(noise)
        z = torch.where(types.exists.any(1)[:, None, None, None], given, noise)
        latents = self.base.flow.separate(z)
        return Sampled.of(self.base.generate(self._nothing_known(len(z)), latents, [1.0] * len(latents))[0])

    @torch.no_grad()
    def initialize(self, z: Tensor, types: Types) -> None:
        """Data-dependent start of linear maps and ActNorm, from latents z (B, C, H, W) and their types."""
        self.whitening.fit(z.flatten(1), types)
        whitened, _ = self.whitening.transform(z.flatten(1), types)
        self.flow.initialize(PointBatch(whitened, self.features(types)))

    def _nothing_known(self, count: int) -> Condition:
        label = torch.zeros(count, dtype=torch.int64, device=self.existence.device)
        return self.base.condition(self.base.features(label))
