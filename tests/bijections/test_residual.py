"""Residual and continuous flows beyond the contract of every bijection."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from vflow.bijections import ActNorm, Bijection, Chain, ContinuousFlow, Inverse, Residual
from vflow.bijections.residual import _solve
from vflow.densities import Normal
from vflow.models import Flow

MAKE = [lambda: Residual(2, [16, 16]), lambda: ContinuousFlow(2, [16, 16], steps=4)]


def moved(bijection: Bijection, scale: float = 1.0) -> Bijection:
    """The map in float64 with weights and biases drawn anew."""
    bijection = bijection.double()
    with torch.no_grad():
        for parameter in bijection.parameters():
            parameter.copy_(scale * torch.randn_like(parameter))
    return bijection


def points(count: int, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(count, 2, 1, 1, dtype=torch.float64)


def bent(bijection: Any, sharpness: float = 50.0) -> Any:
    """The map in float64 with weights at their bound in all directions, and sharp bends."""
    network = bijection.network
    with torch.no_grad():
        for layer in (*network.hidden, network.linear_out):
            layer.weight.copy_(10 * torch.nn.init.orthogonal_(torch.empty_like(layer.weight)))
            layer.bias.normal_()
        network.raw_sharpness.fill_(sharpness)
    return bijection.double()


@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("change", [moved, bent])
def test_they_are_inverted_whatever_their_weights(make: Any, change: Any) -> None:
    bijection = change(make())
    x = torch.cat([points(500), points(20, 1e4)])
    z, ladj = bijection(x)
    back, inverse_ladj = bijection.inverse(z)
    torch.testing.assert_close(back, x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(inverse_ladj, -ladj, rtol=0, atol=1e-6)


@torch.no_grad()
def test_newton_steps_that_go_astray_are_caught() -> None:
    """Without steps that always converge, or with five steps at most, some rows are not inverted."""
    for seed in range(20):
        torch.manual_seed(seed)
        bijection, x = bent(Residual(2, [2])), points(200)
        torch.testing.assert_close(bijection.inverse(bijection(x)[0])[0], x, rtol=0, atol=1e-9)


@torch.no_grad()
def test_a_row_is_solved_the_same_in_any_company() -> None:
    field, target = bent(Residual(2, [16, 16])).network.bounded().at(None), points(200).flatten(1)
    alone = torch.cat([_solve(field, one)[0] for one in target.split(1)])
    torch.testing.assert_close(_solve(field, target)[0], alone, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("make", "error"),
    [(lambda: Residual(2, [2]), 2e-4), (lambda: ContinuousFlow(2, [16, 16], steps=4), 3e-5)],
    ids=["residual", "continuous"],
)
def test_gradients_of_the_inverse_have_the_digits_of_float32(make: Any, error: float) -> None:
    """Half of the digits would be lost if the step that carries them started from half of them."""
    torch.manual_seed(0)
    bijection, z = bent(make(), sharpness=20.0), points(400)
    gradients = []
    for dtype in (torch.float64, torch.float32):
        leaf = z.to(dtype).requires_grad_()
        x, ladj = bijection.to(dtype).inverse(leaf)
        gradients.append(torch.autograd.grad(x.square().sum() + ladj.sum(), leaf)[0].double().flatten(1))
    relative = (gradients[1] - gradients[0]).norm(dim=1) / gradients[0].norm(dim=1)
    assert float(relative.max()) < error


@pytest.mark.parametrize("make", MAKE)
def test_what_is_not_finite_comes_out_so_and_leaves_others_alone(make: Any) -> None:
    bijection, z = moved(make()), points(4)
    expected = bijection.inverse(z)[0]
    z[1, 0] = math.nan
    x, ladj = bijection.inverse(z)
    assert bool(x[1].isnan().any()) and bool(ladj[1].isnan())
    torch.testing.assert_close(x[[0, 2, 3]], expected[[0, 2, 3]], rtol=0, atol=1e-12)


@pytest.mark.parametrize("make", MAKE)
def test_densities_integrate_to_1(make: Any) -> None:
    flow = Flow([moved(make(), 2.0)], Normal(2))
    side = torch.linspace(-25, 25, 101, dtype=torch.float64)
    with torch.no_grad():
        mass = flow.log_prob(torch.cartesian_prod(side, side)).exp().sum() * (50 / 100) ** 2
    assert float(mass) == pytest.approx(1, abs=1e-3)


@torch.no_grad()
def test_a_continuous_flow_with_many_steps_solves_its_equation() -> None:
    """Beside Runge–Kutta steps of x and of the trace: errors of the midpoint rule fall with the square."""
    flow, x = moved(ContinuousFlow(2, [8], steps=4), 0.7), points(20)
    network = flow.network.bounded()

    def slope(state: Tensor, time: float) -> Tensor:
        velocity, jacobian = network.at(state.new_full((len(state), 1), time)).with_jacobian(state[:, :2])
        return torch.cat([velocity, jacobian.diagonal(dim1=1, dim2=2).sum(1)[:, None]], 1)

    state, h = torch.cat([x.flatten(1), torch.zeros(20, 1)], 1), 1 / 200
    for index in range(200):
        first = slope(state, index * h)
        second = slope(state + h / 2 * first, (index + 0.5) * h)
        third = slope(state + h / 2 * second, (index + 0.5) * h)
        fourth = slope(state + h * third, (index + 1) * h)
        state = state + h / 6 * (first + 2 * second + 2 * third + fourth)
    errors = []
    for steps in (4, 16, 64):
        flow.steps = steps
        z, ladj = flow(x)
        errors.append(float((torch.cat([z.flatten(1), ladj[:, None]], 1) - state).abs().max()))
    assert errors[2] < 1e-3 and errors[1] < errors[0] / 8 and errors[2] < errors[1] / 8


def test_stages_of_a_continuous_flow_are_its_steps() -> None:
    flow = Flow([moved(ContinuousFlow(2, [8], steps=5))], Normal(2))
    eps = torch.randn(7, 2, dtype=torch.float64)
    stages = flow.stages(eps)
    assert len(stages) == 6
    torch.testing.assert_close(stages[-1], flow.sample(eps))
    inner = ActNorm(2).double()
    other = Flow([inner, Inverse(Chain([*flow.flows[0].layers, inner]))], Normal(2))
    stages = other.stages(eps)
    assert len(stages) == 1 + 5 + 1 + 1
    torch.testing.assert_close(stages[-1], other.sample(eps))


@pytest.mark.parametrize("lipschitz", [0.0, 1.0])
def test_a_map_that_may_fold_is_refused(lipschitz: float) -> None:
    with pytest.raises(ValueError, match="lipschitz"):
        Residual(2, [4], lipschitz=lipschitz)


def test_maps_without_features_ignore_the_context_of_others_and_those_with_need_it() -> None:
    x, context = torch.randn(4, 2, 1, 1), torch.randn(4, 3, 1, 1)
    for plain, conditional in (
        (Residual(2, [4]), Residual(2, [4], features=3)),
        (ContinuousFlow(2, [4]), ContinuousFlow(2, [4], features=3)),
    ):
        torch.testing.assert_close(plain(x, context), plain(x))
        with pytest.raises(ValueError, match="conditional: pass its context"):
            conditional(x)


def test_sizes_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="steps 0"):
        ContinuousFlow(2, [4], steps=0)
    with pytest.raises(ValueError, match="hidden"):
        Residual(2, [])
