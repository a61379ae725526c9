"""Masked networks: what depends on what, by gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vflow.nn.masked import MADE, AutoregressiveNet, Masking, TiedAutoregressiveNet


def perturb(net: AutoregressiveNet) -> AutoregressiveNet:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return net.double()


def dependencies(run: object, dim: int) -> Tensor:
    """bool (D, D): outputs of element i change with element j, at any of a few inputs."""
    found = torch.zeros(dim, dim, dtype=torch.bool)
    for _ in range(20):
        x = torch.randn(1, dim, dtype=torch.float64)
        gradient = torch.autograd.functional.jacobian(lambda one: run(one)[0].abs().sum(1), x)[:, 0]
        found |= gradient != 0
    return found


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
@pytest.mark.parametrize("hidden", [[], [16], [16, 16]])
def test_outputs_depend_on_all_earlier_elements_and_no_others(order: list[int], hidden: list[int]) -> None:
    net = perturb(MADE(4, 2, hidden, order=order, activation="tanh"))
    rank = torch.tensor(order)
    assert torch.equal(dependencies(net, 4), rank[:, None] > rank)


@pytest.mark.parametrize("hidden", [[4], [4, 4], [5, 3]])
@pytest.mark.parametrize("features", [0, 2])
def test_narrow_networks_read_all_elements_but_the_last(hidden: list[int], features: int) -> None:
    net = perturb(MADE(9, 1, hidden, features=features, activation="tanh"))
    context = torch.randn(1, features, dtype=torch.float64) if features else None
    seen = dependencies(net.prepare(context), 9)
    assert seen.any(0).tolist() == [True] * 8 + [False]
    assert not bool(seen.triu().any())


def test_cyclic_degrees_read_the_first_elements() -> None:
    """As the checkpoints of configurations that do not name degrees have it."""
    seen = dependencies(perturb(MADE(9, 1, [4], masking=Masking(degrees="cyclic"), activation="tanh")), 9)
    assert seen.any(0).tolist() == [True] * 4 + [False] * 5


def test_each_of_several_masks_keeps_its_own_order() -> None:
    net = perturb(MADE(5, 1, [60], masking=Masking(3), activation="tanh"))
    assert len({tuple(order.tolist()) for order in net.orders}) == 3
    for mask in range(3):
        rank = net.orders[mask]
        seen = dependencies(net.prepare(mask=mask), 5)
        assert not bool((seen & (rank[:, None] <= rank)).any())
        assert int(seen.sum()) >= 8


def test_rnade_depends_on_all_earlier_elements_and_no_others() -> None:
    net = perturb(TiedAutoregressiveNet(4, 3, 16))
    rank = torch.arange(4)
    assert torch.equal(dependencies(net, 4), rank[:, None] > rank)


def test_rnade_follows_the_recursion_of_the_paper() -> None:
    net = perturb(TiedAutoregressiveNet(3, 2, 5))
    x = torch.randn(1, 3, dtype=torch.float64)
    activation, expected = net.bias_in, []
    for d in range(3):
        h = torch.relu(net.scale[d] * activation)
        expected.append(net.weight_out[d] @ h + net.bias_out[d])
        activation = activation + x[0, d] * net.weight_in[d]
    torch.testing.assert_close(net(x)[0], torch.stack(expected))


@pytest.mark.parametrize("dim", [1, 3])
def test_the_context_reaches_every_element(dim: int) -> None:
    net = perturb(MADE(dim, 2, [12], features=2, activation="tanh"))
    x, context = torch.randn(1, dim, dtype=torch.float64), torch.randn(1, 2, dtype=torch.float64)
    gradient = torch.autograd.functional.jacobian(lambda c: net(x, c)[0].sum(1), context)[:, 0]
    assert bool((gradient != 0).all())
    with pytest.raises(ValueError, match="context"):
        net(x)


def test_periodic_inputs_are_angles() -> None:
    net = perturb(MADE(3, 2, [12], periodic=True))
    x = torch.randn(2, 3, dtype=torch.float64)
    torch.testing.assert_close(net(x + 2 * torch.pi), net(x))


def test_the_network_starts_at_zero() -> None:
    assert float(MADE(3, 2, [8])(torch.randn(2, 3)).abs().max()) == 0


def test_an_order_must_be_a_permutation() -> None:
    with pytest.raises(ValueError, match="permutation"):
        MADE(3, 2, [8], order=[0, 0, 1])
