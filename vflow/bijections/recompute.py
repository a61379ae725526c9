"""Chains that keep no activations: the gradient rebuilds them from the output, inverting layer by layer.

Gomez et al. 2017, *The Reversible Residual Network*. One tensor per chain is kept, its output: the anchor
from which inversion starts, so that errors of low precision do not build up from chain to chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vflow.bijections.actnorm import awaits_first_batch
from vflow.bijections.base import Bijection, Chain, Context, sum_densities


@dataclass
class _Tape:
    """The one activation that is kept: the input of ``layer``; both go back with the gradient."""

    z: Tensor
    layer: int

    def rewind(self, layer: int) -> Tensor:
        """The output of ``layer``. RuntimeError: the gradient went this way before."""
        if self.layer != layer + 1:
            raise RuntimeError(
                "memory 'recompute' allows one backward pass per forward pass; run the model again"
            )
        return self.z


def transform_recomputed(chain: Chain, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
    """``chain.transform(x, context)``: same values, gradients up to rounding, memory of one layer."""
    if awaits_first_batch(chain):  # below, layers run without gradients, as no training step does
        z = x
        for layer in chain.layers:
            z = layer.transform(z.detach(), context)[0]
    tape, densities = _Tape(x, 0), []
    for index, layer in enumerate(chain.layers):
        parameters = [p for p in layer.parameters() if p.requires_grad]
        x, density = _Layer.apply(tape, index, layer, x, context, *parameters)
        densities.append(density)
    return x, sum_densities(densities)


class _Layer(torch.autograd.Function):
    """One layer; backward passes its input on to the layer before by way of the tape."""

    @staticmethod
    def forward(
        ctx: Any, tape: _Tape, index: int, layer: Bijection, x: Tensor, context: Context, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        z, density = layer.transform(x, context)
        tape.z, tape.layer = z.detach(), index + 1
        device = x.device.type
        ctx.autocast = device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        ctx.tape, ctx.index, ctx.layer = tape, index, layer
        ctx.save_for_backward(context)
        return z, density

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_z: Tensor, grad_density: Tensor) -> tuple[Tensor | None, ...]:
        (context,) = ctx.saved_tensors
        if context is not None:
            context = context.detach().requires_grad_(ctx.needs_input_grad[4])
        seen = [context] if ctx.needs_input_grad[4] else []
        own = [p for p in ctx.layer.parameters() if p.requires_grad]
        with torch.enable_grad(), torch.autocast(*ctx.autocast):
            rebuilt = ctx.layer.recompute_from_output(ctx.tape.rewind(ctx.index), context)
        outputs = [(rebuilt.z, grad_z), (rebuilt.density, grad_density)]
        outputs = [(out, grad) for out, grad in outputs if out.requires_grad]
        grads = torch.autograd.grad(
            [out for out, _ in outputs],
            [*rebuilt.parts, *seen, *own],
            [grad for _, grad in outputs],
            allow_unused=True,
        )
        count = len(rebuilt.parts)
        with torch.no_grad():
            ctx.tape.z, ctx.tape.layer = rebuilt.join(*rebuilt.parts).detach(), ctx.index
            grad_x = rebuilt.join(*grads[:count])
        return None, None, None, grad_x, grads[count] if seen else None, *grads[count + len(seen) :]
