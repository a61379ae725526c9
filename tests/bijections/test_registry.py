"""The contract of bijections/base.py, held against autograd for every map."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from tests.bijections.support import check_derivatives
from vflow.bijections import sum_densities, upsample_density


def jacobian(function: Any, x: Tensor) -> Tensor:
    """Jacobian of the first example of a map of batches, (C·H·W, C·H·W)."""
    outputs = torch.autograd.functional.jacobian(lambda one: function(one)[0], x[:1], vectorize=True)
    return outputs.reshape(x[0].numel(), x[0].numel())


def head(context: Tensor | None) -> Tensor | None:
    return None if context is None else context[:1]


def test_round_trip_float64(case: Any) -> None:
    bijection, x, context = case.example()
    z, ladj = bijection(x, context)
    back, inverse_ladj = bijection.inverse(z, context)
    torch.testing.assert_close(back, x, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(ladj + inverse_ladj, torch.zeros_like(ladj), rtol=0, atol=1e-6)
    assert z.dtype == ladj.dtype == inverse_ladj.dtype == torch.float64
    assert ladj.shape == inverse_ladj.shape == (len(x),)


def test_round_trip_float32(case: Any) -> None:
    bijection, x, context = case.example(torch.float32)
    z, ladj = bijection(x, context)
    back, inverse_ladj = bijection.inverse(z, context)
    torch.testing.assert_close(back, x, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(ladj + inverse_ladj, torch.zeros_like(ladj), rtol=0, atol=2e-3)
    assert z.dtype == ladj.dtype == inverse_ladj.dtype == torch.float32


def test_the_other_round_trip(case: Any) -> None:
    """Latents that no data led to come back as well."""
    bijection, x, context = case.example()
    z = bijection(x, context)[0]
    z = z + 0.01 * torch.randn_like(z)
    again = bijection(bijection.inverse(z, context)[0], context)[0]
    torch.testing.assert_close(again, z, rtol=1e-7, atol=1e-7)


def test_ladj_is_the_slogdet_of_the_jacobian(case: Any) -> None:
    bijection, x, context = case.example()
    z, ladj = bijection(x, context)
    matrix = jacobian(lambda one: bijection(one, head(context))[0], x)
    torch.testing.assert_close(ladj[0], torch.linalg.slogdet(matrix)[1], rtol=1e-8, atol=1e-8)
    inverse = jacobian(lambda one: bijection.inverse(one, head(context))[0], z.detach())
    torch.testing.assert_close(inverse @ matrix, torch.eye(len(matrix), dtype=x.dtype), rtol=0, atol=1e-6)


def test_densities_lie_on_the_finer_grid_and_sum_to_ladj(case: Any) -> None:
    bijection, x, context = case.example()
    z, density = bijection.transform(x, context)
    height, width = max(x.shape[2], z.shape[2]), max(x.shape[3], z.shape[3])
    assert density.shape == (len(x), height, width)
    torch.testing.assert_close(density.sum((1, 2)), bijection(x, context)[1])
    x, density = bijection.invert(z, context)
    assert density.shape == (len(x), height, width)
    torch.testing.assert_close(density.sum((1, 2)), bijection.inverse(z, context)[1])


def test_density_of_a_position_is_that_of_its_block(local_case: Any) -> None:
    """Where a map keeps the grid, position (h, w) owes its density to the block ∂z(h, w) / ∂x(h, w)."""
    bijection, x, context = local_case.example()
    channels, height, width = x.shape[1:]
    matrix = jacobian(lambda one: bijection(one, head(context))[0], x)
    blocks = matrix.reshape(channels, height, width, channels, height, width)
    density = bijection.transform(x, context)[1][0]
    for row in range(height):
        for column in range(width):
            block = blocks[:, row, column, :, row, column]
            torch.testing.assert_close(
                density[row, column], torch.linalg.slogdet(block)[1], rtol=1e-8, atol=1e-8
            )


def test_first_and_second_derivatives_are_those_of_finite_differences(case: Any) -> None:
    check_derivatives(*case.example())


def test_gradients_reach_all_parameters(trained_case: Any) -> None:
    bijection, x, context = trained_case.example()
    z, ladj = bijection(x, context)
    (z.square().sum() + ladj.sum()).backward()
    for name, parameter in bijection.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_context_matters(guided_case: Any) -> None:
    bijection, x, context = guided_case.example()
    other = context.roll(1, 2)
    assert not torch.equal(bijection(x, other)[0], bijection(x, context)[0])
    torch.testing.assert_close(bijection.inverse(bijection(x, other)[0], other)[0], x, rtol=1e-7, atol=1e-7)


def test_a_context_without_use_is_accepted(free_case: Any) -> None:
    bijection, x, _ = free_case.example()
    context = torch.randn(len(x), 3, *x.shape[2:], dtype=x.dtype)
    for given, free in zip(bijection(x, context), bijection(x), strict=True):
        assert torch.equal(given, free)
    z = bijection(x)[0]
    for given, free in zip(bijection.inverse(z, context), bijection.inverse(z), strict=True):
        assert torch.equal(given, free)


def test_examples_of_a_batch_do_not_mix(case: Any) -> None:
    bijection, x, context = case.example()
    z, ladj = bijection(x, context)
    alone, ladj_alone = bijection(x[:1], head(context))
    torch.testing.assert_close(alone, z[:1], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ladj_alone, ladj[:1], rtol=1e-10, atol=1e-10)


def test_what_is_no_number_stays_so_without_an_error(case: Any) -> None:
    """Diverged weights end as a loss that is not finite, which the spike guard of training skips."""
    bijection, x, context = case.example()
    nothing = torch.full_like(x, torch.nan)
    assert bijection(nothing, context)[0].isnan().any()
    assert bijection.inverse(torch.full_like(bijection(x, context)[0], torch.nan), context)[0].isnan().any()


def test_save_and_load(case: Any) -> None:
    bijection, x, context = case.example(torch.float32)
    bijection.initialize(x, context)
    state = {name: value.contiguous() for name, value in bijection.state_dict().items()}
    torch.manual_seed(99)
    fresh = case.build()
    fresh.load_state_dict(load(save(state)), strict=True)
    assert state.keys() == fresh.state_dict().keys()
    for name, value in fresh.state_dict().items():
        assert value.dtype == state[name].dtype and torch.equal(value, state[name]), name
    for before, after in zip(bijection(x, context), fresh(x, context), strict=True):
        assert torch.equal(before, after)


def test_initialize_returns_what_forward_returns(case: Any) -> None:
    bijection, x, context = case.example(torch.float32)
    z = bijection.initialize(x, context)
    torch.testing.assert_close(z, bijection(x, context)[0])


def test_fixed_is_the_same_map(case: Any) -> None:
    bijection, x, context = case.example(torch.float32)
    fixed = bijection.with_cached_inverse()
    z = bijection(x, context)[0]
    for one, other in zip(fixed(x, context), bijection(x, context), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(fixed.inverse(z, context), bijection.inverse(z, context), strict=True):
        assert torch.equal(one, other)


def test_forward_and_inverse_have_no_state(case: Any) -> None:
    bijection, x, context = case.example()
    before = {name: value.clone() for name, value in bijection.state_dict().items()}
    bijection.inverse(bijection(x, context)[0], context)
    assert all(torch.equal(value, before[name]) for name, value in bijection.state_dict().items())


@pytest.mark.parametrize("grids", [[(4, 8)], [(4, 8), (2, 4)], [(1, 2), (4, 8), (2, 4)], [(2, 2), (2, 4)]])
def test_total_keeps_the_sum_on_the_finest_grid(grids: list[tuple[int, int]]) -> None:
    densities = [torch.randn(3, *grid, dtype=torch.float64) for grid in grids]
    result = sum_densities(densities)
    assert result.shape == (3, max(h for h, _ in grids), max(w for _, w in grids))
    torch.testing.assert_close(result.sum((1, 2)), torch.stack([d.sum((1, 2)) for d in densities]).sum(0))


def test_spread_shares_each_position_equally() -> None:
    coarse = torch.tensor([[[4.0, 8.0]]])
    assert upsample_density(coarse, 2, 4).tolist() == [[[1, 1, 2, 2], [1, 1, 2, 2]]]
    assert upsample_density(coarse, 1, 2) is coarse
