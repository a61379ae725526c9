"""Invertible 1×1 convolutions in PLU form, alone and with ActNorm folded in."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.actnorm import ActNorm, constant_density
from vflow.bijections.base import Bijection, Context
from vflow.errors import CheckpointError


def random_rotation(size: int) -> Tensor:
    """An orthogonal matrix (size, size), float64."""
    return torch.linalg.qr(torch.randn(size, size, dtype=torch.float64))[0]


def haar(channels: int) -> Tensor:
    """The Haar transform of 2×2 pixels as ``squeeze`` orders them, orthogonal (4C, 4C): means first."""
    signs = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]).double()
    return torch.kron(signs / 2, torch.eye(channels, dtype=torch.float64))


def detail_rotation(channels: int) -> Tensor:
    """A random rotation (4C, 4C) of all but the first C channels, the means."""
    return torch.block_diag(torch.eye(channels, dtype=torch.float64), random_rotation(3 * channels))


@final
class PLU(nn.Module):
    """A square matrix W = P L (U + diag(sign · exp(log_s))), with P fixed (Kingma & Dhariwal 2018, 3.2).

    Starts as a random rotation, or as the matrix ``start`` (size, size).
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, size: int, start: Tensor | None = None) -> None:
        super().__init__()
        rotation = random_rotation(size) if start is None else start.double()
        permutation, lower, upper = torch.linalg.lu(rotation)
        diagonal, dtype = upper.diagonal(), torch.get_default_dtype()
        self.register_buffer("permutation", permutation.argmax(1))
        self.register_buffer("sign", diagonal.sign().to(dtype))
        self.lower = nn.Parameter(lower.tril(-1).to(dtype))
        self.upper = nn.Parameter(upper.triu(1).to(dtype))
        self.log_diagonal = nn.Parameter(diagonal.abs().log().to(dtype))

    def matrix(self) -> Tensor:
        """W, (C, C)."""
        identity = torch.eye(len(self.sign), dtype=self.lower.dtype, device=self.lower.device)
        lower = self.lower.tril(-1) + identity
        upper = self.upper.triu(1) + torch.diag(self.sign * self.log_diagonal.exp())
        with full_precision(lower):
            return (lower @ upper)[self.permutation]


@final
class Invertible1x1(Bijection):
    """z = W x at each position, W in PLU form."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.plu = PLU(channels)

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return pointwise(x, self.plu.matrix()), constant_density(x, self.plu.log_diagonal.sum())

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return pointwise(z, inverted(self.plu.matrix())), constant_density(z, -self.plu.log_diagonal.sum())


@final
class ActNormLinear(Bijection):
    """ActNorm, then a PLU 1×1 convolution, folded into one pass: z = W · scale · (x + shift)."""

    def __init__(self, channels: int, start: Tensor | None = None) -> None:
        super().__init__()
        self.actnorm = ActNorm(channels)
        self.plu = PLU(channels, start)

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        self.actnorm.ensure_initialized(x)
        shift, scale, log_scale = self.actnorm.affine_parameters()
        matrix = self.plu.matrix() * scale
        bias = (matrix * shift).sum(1)
        return pointwise(x, matrix, bias), constant_density(x, self._log_det(log_scale))

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        if self.actnorm.starts:
            self.actnorm.ensure_initialized(pointwise(z, inverted(self.plu.matrix())), inverse=True)
        return self.with_cached_inverse().invert(z)

    def with_cached_inverse(self) -> CachedLinear:
        """The map with its inverse worked out; it does not follow later changes of the weights."""
        shift, scale, log_scale = self.actnorm.affine_parameters()
        rotation = self.plu.matrix()
        matrix, inverse = rotation * scale, inverted(rotation) / scale[:, None]
        bias = (matrix * shift).sum(1)
        return CachedLinear((matrix, bias), (inverse, -shift), self._log_det(log_scale))

    def _log_det(self, log_scale: Tensor) -> Tensor:
        return log_scale.sum() + self.plu.log_diagonal.sum()

    def initialize(self, x: Tensor, context: Context = None) -> Tensor:
        self.actnorm.calibrate(x)
        return self.transform(x)[0]

    def initialize_inverse(self, z: Tensor, context: Context = None) -> Tensor:
        self.actnorm.calibrate(pointwise(z, inverted(self.plu.matrix())), inverse=True)
        return self.invert(z)[0]


@final
class CachedLinear(Bijection):
    """z = W x + b at each position, W⁻¹ given and not computed: what sampling makes of ``ActNormLinear``."""

    def __init__(self, there: tuple[Tensor, Tensor], back: tuple[Tensor, Tensor], log_det: Tensor) -> None:
        super().__init__()
        self.there, self.back, self.log_det = there, back, log_det

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return pointwise(x, *self.there), constant_density(x, self.log_det)

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return pointwise(z, *self.back), constant_density(z, -self.log_det)


def inverted(matrix: Tensor) -> Tensor:
    """W⁻¹ of a small matrix W (C, C), from a float64 solve on the CPU.

    Raises:
        CheckpointError: W is singular.
    """
    try:
        return torch.linalg.inv(matrix.double().cpu()).to(matrix)
    except torch.linalg.LinAlgError as error:
        raise CheckpointError(
            "the model cannot be inverted; if training diverged, use an earlier checkpoint"
        ) from error


def pointwise(x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """``matrix`` applied to the channels of x (B, C, H, W); one product over channels-last memory.

    Stays in the type of ``x`` under autocast: the arithmetic of the flow is never rounded to bfloat16.
    """
    with full_precision(x):
        return F.linear(x.permute(0, 2, 3, 1), matrix, bias).permute(0, 3, 1, 2)


def full_precision(x: Tensor) -> torch.autocast:
    """No autocast inside: for the few products outside conditioner networks."""
    return torch.autocast(x.device.type, enabled=False)
