"""Networks that change no faster than a bound."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vflow.nn.lipschitz import LipschitzMLP, norm_bound


def network(scale: float = 1.0, **settings: int) -> LipschitzMLP:
    """A network away from its start, in float64."""
    net = LipschitzMLP(3, [16, 8], lipschitz=0.9, **settings).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(scale * torch.randn_like(parameter))
    return net


def rows(count: int, width: int = 3) -> Tensor:
    return 3 * torch.randn(count, width, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(64, 64), (2, 32), (32, 2), (1, 1), (5, 8)])
def test_the_norm_is_bounded_from_above_and_closely(shape: tuple[int, int]) -> None:
    for weight in (
        torch.randn(shape),
        torch.eye(*shape),
        1e4 * torch.randn(shape),
        1e-4 * torch.randn(shape),
    ):
        norm = torch.linalg.matrix_norm(weight, 2)
        assert norm * (1 - 1e-5) <= norm_bound(weight) <= norm * min(shape) ** (1 / 32) * (1 + 1e-5)


def test_the_norm_of_nothing_has_a_finite_gradient() -> None:
    weight = torch.zeros(4, 3, requires_grad=True)
    weight_gradient = torch.autograd.grad((weight / norm_bound(weight).clamp_min(1)).sum(), weight)[0]
    assert torch.equal(weight_gradient, torch.ones(4, 3))


def test_the_norm_of_wide_layers_neither_underflows_nor_has_an_infinite_gradient() -> None:
    for weight in (torch.eye(1024), 1e-12 * torch.eye(256), 2000 * torch.randn(512, 512) / 32):
        leaf = weight.clone().requires_grad_()
        bound = norm_bound(leaf)
        gradient = torch.autograd.grad(bound, leaf)[0]
        norm = float(torch.linalg.matrix_norm(weight, 2))
        assert norm * 0.9999 <= float(bound.detach()) <= norm * len(weight) ** (1 / 32) * 1.0001
        assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_no_two_points_are_further_apart_after_than_the_bound_allows(scale: float) -> None:
    net = network(scale)
    x, y = rows(2000), rows(2000)
    net.requires_grad_(False)
    for other in (y, x + 1e-3 * y):
        apart = (net(x) - net(other)).norm(dim=1) / (x - other).norm(dim=1)
        assert float(apart.max()) <= 0.9
    jacobian = net.bounded().at(None).with_jacobian(x)[1]
    assert 0.01 < float(torch.linalg.matrix_norm(jacobian, 2).max()) <= 0.9 or scale == 0.1


def test_the_jacobian_is_that_of_autograd() -> None:
    net, context = network(features=2), rows(5, 2)
    field, x = net.bounded().at(context, scale=-0.5), rows(5)
    value, jacobian = field.with_jacobian(x)
    torch.testing.assert_close(value, field.value(x))
    torch.testing.assert_close(value, -0.5 * net(x, context))
    expected = torch.autograd.functional.jacobian(lambda one: field.value(one).sum(0), x).movedim(1, 0)
    torch.testing.assert_close(jacobian, expected)


def test_it_starts_at_0_and_needs_its_context() -> None:
    net = LipschitzMLP(2, [4], lipschitz=0.5, features=1)
    assert torch.equal(net(torch.randn(3, 2), torch.randn(3, 1)), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="conditional"):
        net(torch.randn(3, 2))
