"""Residual flows, and continuous flows by implicit steps: maps that change a point by a contraction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import final

import torch
from torch import Tensor

from vflow.bijections.base import Context
from vflow.bijections.linear import full_precision
from vflow.bijections.root import with_higher_order
from vflow.bijections.vector import VectorBijection
from vflow.nn.lipschitz import Field, LipschitzMLP

STEPS = 100
CONTRACTION = 0.9
"""Lipschitz constant of half a step of a continuous flow."""


@final
class Residual(VectorBijection):
    """z = x + g(x) with a contraction g (i-ResNet, Behrmann et al. 2019; activation of Chen et al. 2019).

    log |det J| = log det(I + ∂g/∂x) from the Jacobian itself, D times the work of g, in place of the papers'
    estimates for images: exact, for vectors of a few elements. The inverse is found by Newton steps, with the
    papers' fixed-point steps where these do not help, which always converge.

    Args:
        dim: D.
        hidden: widths of the hidden layers of g.
        lipschitz: bound below 1 of how fast g changes.
        features: F of a context that g reads; 0 for none.
    """

    def __init__(
        self, dim: int, hidden: Sequence[int], *, lipschitz: float = 0.97, features: int = 0
    ) -> None:
        super().__init__()
        if not 0 < lipschitz < 1:
            raise ValueError(f"lipschitz {lipschitz}: must be above 0 and below 1, for an inverse")
        self.network = LipschitzMLP(dim, hidden, lipschitz=lipschitz, features=features)

    def transform_vectors(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            value, jacobian = self.network.bounded().at(context).with_jacobian(x)
            return x + value, log_det(jacobian)

    def invert_vectors(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            x, jacobian = invert_contraction(self.network.bounded().at(context), z)
            return x, -log_det(jacobian)


@final
class ContinuousFlow(VectorBijection):
    """z = x(1) of dx/dt = v(x, t) from x(0) = x (Chen et al. 2018; FFJORD, Grathwohl et al. 2019).

    By the implicit midpoint rule: x' = x + h v(m, t) with m = (x + x') / 2, h = 1 / steps. A step back is one
    with −h, and log |det ∂x'/∂x| = log det(I + h/2 ∂v/∂m) − log det(I − h/2 ∂v/∂m). So inverse and density
    are exact for the steps as they are taken, however far these are from the equation's solution. h/2 v is a
    contraction, so m exists and is unique; it is found like the inverse of ``Residual``.

    Args:
        dim: D.
        hidden: widths of the hidden layers of v.
        steps: from t = 0 to 1; v changes by at most 1.8 · steps times the distance of two points.
        features: F of a context that v reads beside x and t; 0 for none.
    """

    def __init__(self, dim: int, hidden: Sequence[int], *, steps: int = 8, features: int = 0) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"steps {steps}: must be at least 1")
        self.steps, self.features = steps, features
        bound = 2 * CONTRACTION * steps  # so that half a step is a contraction
        self.network = LipschitzMLP(dim, hidden, lipschitz=bound, features=features + 1)

    def transform_vectors(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        return self._run(x, context, range(self.steps), 1)

    def invert_vectors(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        return self._run(z, context, reversed(range(self.steps)), -1)

    def transform_step(self, index: int, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        """Step from t = ``index`` / steps to the next; ``transform`` is all such steps."""
        return self._one_step(x, context, index, 1)

    def invert_step(self, index: int, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        """Step back to t = ``index`` / steps; ``invert`` is all such steps."""
        return self._one_step(z, context, index, -1)

    def _one_step(self, x: Tensor, context: Context, index: int, sign: int) -> tuple[Tensor, Tensor]:
        given = None if context is None else context.flatten(1)
        x, ladj = self._run(x.flatten(1), given, [index], sign)
        return x[:, :, None, None], ladj[:, None, None]

    def _given(self, x: Tensor, context: Context) -> Tensor:
        """Context that v reads, (B, F), or nothing, (B, 0)."""
        if not self.features:
            return x[:, :0]
        if context is None:
            raise ValueError("this map is conditional: pass its context")
        return context

    def _run(self, x: Tensor, context: Context, order: Iterable[int], sign: int) -> tuple[Tensor, Tensor]:
        given = self._given(x, context)
        ladj = torch.zeros_like(x[:, 0])
        with full_precision(x):
            network = self.network.bounded()
            for index in order:
                time = x.new_full((len(x), 1), (index + 0.5) / self.steps)
                field = network.at(torch.cat([time, given], 1), -0.5 * sign / self.steps)
                middle, jacobian = invert_contraction(field, x)
                x = 2 * middle - x
                ladj = ladj + log_det(-jacobian) - log_det(jacobian)
        return x, ladj


def log_det(jacobian: Tensor) -> Tensor:
    """log det(I + J), (B,), of Jacobians (B, D, D) of contractions."""
    return torch.linalg.slogdet(_plus_identity(jacobian))[1]


def _plus_identity(jacobian: Tensor) -> Tensor:
    return jacobian + torch.eye(jacobian.shape[-1], dtype=jacobian.dtype, device=jacobian.device)


def invert_contraction(field: Field, target: Tensor) -> tuple[Tensor, Tensor]:
    """x with x + g(x) = ``target``, (B, D), of a contraction g, and the Jacobian of g there, (B, D, D).

    Newton steps; where one does not halve what is left, x − (x + g(x) − target) if that is better, which
    shrinks it by g's Lipschitz constant. A row that has converged stays, so its value does not depend on
    others in its batch. Both outputs have first and second derivatives, as those of ``invert_increasing`` do.
    """
    with torch.no_grad():
        x, jacobian = _solve(field, target)
        x = x + _newton(jacobian, target - x - field.value(x))
        jacobian = field.with_jacobian(x)[1]
    if not torch.is_grad_enabled():
        return x, jacobian
    x = x + _newton(jacobian, target - x - field.value(x))  # carries first derivatives
    value, jacobian = field.with_jacobian(x)
    if not jacobian.requires_grad:
        return x, jacobian
    step = _newton(jacobian, target - x - value)
    return with_higher_order((x, jacobian), (step, field.with_jacobian(x + step)[1] - jacobian))


def _newton(jacobian: Tensor, left: Tensor) -> Tensor:
    return torch.linalg.solve(_plus_identity(jacobian), left[:, :, None])[:, :, 0]


def _solve(field: Field, target: Tensor) -> tuple[Tensor, Tensor]:
    """x to half of the digits, which one more Newton step completes, and the Jacobian of g there."""
    tolerance = 0.1 * torch.finfo(target.dtype).eps ** 0.5 * (1 + target.norm(dim=1))
    x = target
    value, jacobian = field.with_jacobian(x)
    left = -value
    size = left.norm(dim=1)
    open_ = size > tolerance  # not where it is NaN
    for _ in range(STEPS):
        if not bool(open_.any()):
            break
        tried = x + _newton(jacobian, left)
        value, tried_jacobian = field.with_jacobian(tried)
        tried_left = target - tried - value
        tried_size = tried_left.norm(dim=1)
        slow = open_ & ~(tried_size <= 0.5 * size)
        if bool(slow.any()):
            plain = x + left
            value, plain_jacobian = field.with_jacobian(plain)
            plain_left = target - plain - value
            plain_size = plain_left.norm(dim=1)
            slow &= ~(tried_size <= plain_size)
            tried = torch.where(slow[:, None], plain, tried)
            tried_left = torch.where(slow[:, None], plain_left, tried_left)
            tried_size = torch.where(slow, plain_size, tried_size)
            tried_jacobian = torch.where(slow[:, None, None], plain_jacobian, tried_jacobian)
        better = open_ & (tried_size < size)  # else rounding is all that is left
        x = torch.where(better[:, None], tried, x)
        left = torch.where(better[:, None], tried_left, left)
        jacobian = torch.where(better[:, None, None], tried_jacobian, jacobian)
        size = torch.where(better, tried_size, size)
        open_ = better & (size > tolerance)
    return x, jacobian
