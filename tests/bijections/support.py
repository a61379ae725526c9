"""Derivatives of bijections, held against finite differences."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from vflow.bijections import Bijection, Inverse


def check_derivatives(bijection: Bijection, x: Tensor, context: Tensor | None = None) -> None:
    """Check first and second derivatives of both directions, with respect to x or z and all parameters."""
    z = bijection(x, context)[0].detach()
    for module, prefix, point in ((bijection, "", x), (Inverse(bijection), "bijection.", z)):
        parameters = {prefix + name: value for name, value in bijection.named_parameters()}

        run = partial(_run, module, list(parameters), context)
        inputs = [one.detach().clone().requires_grad_() for one in (point, *parameters.values())]
        assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
        assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True, atol=1e-4)


def _run(
    module: Bijection, names: list[str], context: Tensor | None, point: Tensor, *values: Tensor
) -> tuple[Tensor, ...]:
    named = dict(zip(names, values, strict=True))
    outputs = torch.func.functional_call(module, named, (point, context))
    return tuple(one for one in outputs if one.requires_grad)
