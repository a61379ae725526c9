"""A bijection to test, and its derivatives held against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from vflow.bijections import Bijection, Inverse

BATCH, FEATURES = 3, 2


@dataclass(frozen=True)
class Case:
    """One bijection: how to build it, the shape it takes, and what its context looks like.

    ``local``: output position (h, w) belongs to input position (h, w), and its density is its own.
    """

    build: Callable[[], Bijection]
    shape: tuple[int, int, int]
    inputs: Callable[[tuple[int, ...]], Tensor] = torch.randn
    context: Callable[[], Tensor] | None = None
    local: bool = True

    def example(self, dtype: torch.dtype = torch.float64) -> tuple[Bijection, Tensor, Tensor | None]:
        """A map away from its starting point, in evaluation mode, an input (B, C, H, W) and a context."""
        bijection = perturb(self.build()).eval().to(dtype)
        context = None if self.context is None else self.context().to(dtype)
        return bijection, self.inputs((BATCH, *self.shape)).to(dtype), context


@torch.no_grad()
def perturb(module: Bijection) -> Bijection:
    """Move every parameter off its initial value: with zero-initialised layers a test sees the identity."""
    for parameter in module.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    for name, buffer in module.named_buffers():
        if name.split(".")[-1] == "initialized":  # else the first step would set what was moved
            buffer.fill_(True)
    return module


def jacobian(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Jacobian of the first example of a map of batches, (C·H·W, C·H·W)."""
    outputs = torch.autograd.functional.jacobian(lambda one: function(one)[0], x[:1], vectorize=True)
    return outputs.reshape(x[0].numel(), x[0].numel())


def check_derivatives(bijection: Bijection, x: Tensor, context: Tensor | None = None) -> None:
    """Check first and second derivatives of both directions, with respect to x or z and all parameters.

    All of these are one vector, and all outputs one random projection: a derivative that is wrong anywhere
    is wrong there, too, and a map is run a few times instead of once for each pair of tensors.
    """
    z = bijection(x, context)[0].detach()
    for module, prefix, point in ((bijection, "", x), (Inverse(bijection), "bijection.", z)):
        named = {prefix + name: value.detach() for name, value in bijection.named_parameters()}
        weights = [torch.randn_like(one) for one in module(point, context)]
        run = partial(_projected, module, context, point, named, weights)
        flat = torch.cat([one.flatten() for one in (point, *named.values())]).requires_grad_()
        assert torch.autograd.gradcheck(run, flat, fast_mode=True)
        assert torch.autograd.gradgradcheck(run, flat, fast_mode=True, atol=1e-4)


def _projected(
    module: Bijection,
    context: Tensor | None,
    point: Tensor,
    named: dict[str, Tensor],
    weights: list[Tensor],
    flat: Tensor,
) -> Tensor:
    """Weighted sum of a map's outputs where ``flat`` holds its input and its parameters."""
    tensors = [point, *named.values()]
    parts = flat.split([one.numel() for one in tensors])
    given, *values = (part.view_as(one) for part, one in zip(parts, tensors, strict=True))
    outputs = torch.func.functional_call(module, dict(zip(named, values, strict=True)), (given, context))
    return sum((w * one).sum() for w, one in zip(weights, outputs, strict=True))
