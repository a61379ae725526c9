"""Gradients that come from rebuilt activations are those of plain autograd."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vflow.bijections import (
    ActNormLinear,
    AdditiveCoupling,
    AffineCoupling,
    Chain,
    ChannelPartition,
    Haar,
    MixtureCoupling,
    Squeeze,
)
from vflow.bijections.base import Bijection
from vflow.bijections.recompute import transform_recomputed
from vflow.nn.layers import Conditioner

Transform = Callable[..., tuple[Tensor, Tensor]]


def coupling(kind: str, channels: int, features: int = 0, hidden: int = 6) -> Bijection:
    half = channels // 2
    outputs = {"affine": 2, "additive": 1, "mixture": MixtureCoupling.parameters_per_channel(2)}[kind] * half
    net = Conditioner(channels - half, outputs, hidden, "relu", features)
    if kind == "mixture":
        return MixtureCoupling(net, ChannelPartition(), 2)
    return {"affine": AffineCoupling, "additive": AdditiveCoupling}[kind](net, ChannelPartition())


@torch.no_grad()
def chain(*layers: Bijection, strength: float = 0.1) -> Chain:
    """The layers, every parameter moved off its start."""
    torch.manual_seed(3)
    made = Chain(layers)
    for parameter in made.parameters():
        parameter.add_(strength * torch.randn_like(parameter))
    return made


def steps(kind: str, channels: int, depth: int, features: int = 0, hidden: int = 6) -> Chain:
    pairs = [(ActNormLinear(channels), coupling(kind, channels, features, hidden)) for _ in range(depth)]
    return chain(*(layer for pair in pairs for layer in pair))


def gradients(
    transform: Transform, bijection: nn.Module, x: Tensor, context: Tensor | None = None
) -> list[Tensor]:
    """Of a loss that weighs latents and single densities: with respect to x, context and parameters."""
    leaves = [t.detach().clone().requires_grad_() for t in (x, context) if t is not None]
    z, density = transform(bijection, *leaves)
    generator = torch.Generator().manual_seed(1)
    weigh = [torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in (z, density)]
    loss = (z.square() * weigh[0]).sum() + (density * weigh[1]).sum()
    return list(torch.autograd.grad(loss, [*leaves, *bijection.parameters()]))


@pytest.mark.parametrize("kind", ["affine", "additive", "mixture"])
@pytest.mark.parametrize("features", [0, 3])
def test_gradients_equal_plain_autograd_in_float64(kind: str, features: int) -> None:
    bijection = steps(kind, 4, 4, features).double()
    x = torch.randn(3, 4, 6, 4, dtype=torch.float64)
    context = torch.randn(3, features, 6, 4, dtype=torch.float64) if features else None
    plain = gradients(Chain.transform, bijection, x, context)
    rebuilt = gradients(transform_recomputed, bijection, x, context)
    for one, other in zip(plain, rebuilt, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-7, atol=1e-9)


def test_grids_may_change_on_the_way() -> None:
    bijection = chain(Squeeze(), ActNormLinear(4), coupling("affine", 4), Haar(4), ActNormLinear(16)).double()
    x = torch.randn(2, 1, 8, 4, dtype=torch.float64)
    plain = gradients(Chain.transform, bijection, x)
    for one, other in zip(plain, gradients(transform_recomputed, bijection, x), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-8, atol=1e-10)


def test_values_are_the_same() -> None:
    """To the last bit where nothing is differentiated; torch has other kernels for where something is."""
    bijection, x = steps("affine", 4, 3), torch.randn(3, 4, 6, 4)
    for one, other in zip(bijection.transform(x), transform_recomputed(bijection, x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        for one, other in zip(bijection.transform(x), transform_recomputed(bijection, x), strict=True):
            assert torch.equal(one, other)


def test_frozen_parameters_and_inputs_without_gradient() -> None:
    """As at the first level, whose input is data; and what is frozen stays without a gradient."""
    bijection, x = steps("affine", 4, 3), torch.randn(3, 4, 6, 4)
    frozen = bijection.layers[2].requires_grad_(False)
    z, density = transform_recomputed(bijection, x)
    (z.square().sum() + density.sum()).backward()
    rebuilt = {name: p.grad for name, p in bijection.named_parameters() if p.requires_grad}
    bijection.zero_grad()
    z, density = bijection.transform(x)
    (z.square().sum() + density.sum()).backward()
    assert rebuilt and all(p.grad is None for p in frozen.parameters())
    for name, gradient in rebuilt.items():
        torch.testing.assert_close(gradient, bijection.get_parameter(name).grad, rtol=1e-3, atol=1e-4)


def test_a_first_training_step_initialises_as_plain_layers_do() -> None:
    plain = steps("affine", 4, 3)
    rebuilt = copy.deepcopy(plain)
    x = torch.randn(8, 4, 6, 4) * 5 + 2
    plain.transform(x)
    transform_recomputed(rebuilt, x)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(rebuilt.state_dict()[name], value, rtol=1e-4, atol=1e-4)


def test_bfloat16_conditioners_keep_the_direction() -> None:
    """Eight steps with one anchor, their output; ActNorms set from data, couplings as in early training."""
    torch.manual_seed(3)
    layers = [layer for _ in range(8) for layer in (ActNormLinear(12), coupling("affine", 12, hidden=32))]
    bijection, x = Chain(layers), torch.randn(4, 12, 16, 16)
    for name, parameter in bijection.named_parameters():
        if name.endswith("leave.weight"):
            torch.nn.init.normal_(parameter, 0, 0.2 / parameter[0].numel() ** 0.5)
    bijection.initialize(x)
    with torch.autocast("cpu", torch.bfloat16):
        sides = [gradients(t, bijection, x) for t in (Chain.transform, transform_recomputed)]
    plain, rebuilt = (torch.cat([g.flatten().double() for g in side]) for side in sides)
    assert not torch.equal(plain, rebuilt)
    assert torch.cosine_similarity(plain, rebuilt, 0) >= 0.999


def saved_bytes(run: Callable[[], Any]) -> int:
    """Of distinct tensors that the graph of ``run`` keeps for the gradient."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()
    del result
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_what_is_kept_does_not_grow_with_depth() -> None:
    x, context = torch.randn(3, 4, 6, 4), torch.randn(3, 2, 6, 4)
    shallow, deep = steps("affine", 4, 2, 2), steps("affine", 4, 8, 2)
    for made in (shallow, deep):
        made.initialize(x, context)
    kept = [saved_bytes(lambda c=c: transform_recomputed(c, x, context)) for c in (shallow, deep)]
    assert kept[0] == kept[1] <= context.nbytes
    assert saved_bytes(lambda: deep.transform(x, context)) > 3 * saved_bytes(
        lambda: shallow.transform(x, context)
    )


def test_a_second_backward_pass_is_refused() -> None:
    bijection = steps("affine", 4, 2)
    z, _ = transform_recomputed(bijection, torch.randn(3, 4, 6, 4))
    loss = z.square().sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="run the model again"):
        loss.backward()
