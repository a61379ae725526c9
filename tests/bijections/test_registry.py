"""The contract of bijections/base.py, held against autograd for every map."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from tests.bijections.support import BATCH, Case, check_derivatives, jacobian
from vflow.bijections import Bijection, sum_densities, upsample_density
from vflow.bijections.base import Context

close = torch.testing.assert_close


def head(context: Context) -> Context:
    return None if context is None else context[:1]


def test_inverse_and_log_det_are_exact(case: Case) -> None:
    """Both round trips, for latents that no data led to as well; log-dets, those of Jacobians, add up."""
    bijection, x, context = case.example()
    before = {name: value.clone() for name, value in bijection.state_dict().items()}
    z, ladj = bijection(x, context)
    back, inverse_ladj = bijection.inverse(z, context)
    close(back, x, rtol=1e-7, atol=1e-7)
    close(ladj + inverse_ladj, torch.zeros_like(ladj), rtol=0, atol=1e-6)
    assert z.dtype == ladj.dtype == inverse_ladj.dtype == torch.float64
    assert ladj.shape == inverse_ladj.shape == (BATCH,)
    near = z + 1e-3 * torch.randn_like(z)
    close(bijection(bijection.inverse(near, context)[0], context)[0], near, rtol=1e-7, atol=1e-7)
    matrix = jacobian(lambda one: bijection(one, head(context))[0], x)
    close(ladj[0], torch.linalg.slogdet(matrix)[1], rtol=1e-8, atol=1e-8)
    inverse = jacobian(lambda one: bijection.inverse(one, head(context))[0], z.detach())
    close(inverse @ matrix, torch.eye(len(matrix), dtype=x.dtype), rtol=0, atol=1e-6)
    there, back = bijection.transform(x, context)[1], bijection.invert(z, context)[1]
    for density, total in ((there, ladj), (back, inverse_ladj)):  # on the finer grid
        assert density.shape == (BATCH, max(x.shape[2], z.shape[2]), max(x.shape[3], z.shape[3]))
        close(density.sum((1, 2)), total)
    if case.local:
        check_blocks(matrix, there[0], x.shape[1])
    alone, ladj_alone = bijection(x[:1], head(context))  # examples of a batch do not mix
    close(alone, z[:1], rtol=1e-10, atol=1e-10)
    close(ladj_alone, ladj[:1], rtol=1e-10, atol=1e-10)
    assert all(torch.equal(value, before[name]) for name, value in bijection.state_dict().items())


def check_blocks(matrix: Tensor, density: Tensor, channels: int) -> None:
    """Where a map keeps the grid, position (h, w) owes its density to the block ∂z(h, w) / ∂x(h, w)."""
    blocks = matrix.reshape(channels, density.numel(), channels, density.numel())
    own = blocks.diagonal(dim1=1, dim2=3).permute(2, 0, 1)
    close(density.flatten(), torch.linalg.slogdet(own)[1], rtol=1e-8, atol=1e-8)


def test_derivatives_are_those_of_finite_differences_and_reach_all_parameters(case: Case) -> None:
    torch.manual_seed(3)  # no slope is so steep that differences say little
    bijection, x, context = case.example()
    check_derivatives(bijection, x, context)
    masked = "hidden.0.linear.weight" if x[0].numel() == 1 else "?"  # the only element sees no element
    parameters = {name: p for name, p in bijection.named_parameters() if not name.endswith(masked)}
    z = bijection(x, context)[0].detach()
    for out, ladj in (bijection(x, context), bijection.inverse(z, context)) if parameters else ():
        loss = out.square().sum() + ladj.sum()
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            assert gradient is not None and bool(gradient.isfinite().all()) and gradient.abs().sum() > 0, name


def has_network(bijection: Bijection) -> bool:
    networks = ("net.", "context_in.", "conv.")
    return any(network in name for name, _ in bijection.named_parameters() for network in networks)


def test_low_precision(case: Case) -> None:
    """Round trips in float32; autocast rounds networks alone; what is no number stays so without an error.

    Diverged weights end as a loss that is not finite, which the spike guard of training skips.
    """
    torch.manual_seed(1)
    bijection, x, context = case.example(torch.float32)
    plain = bijection(x, context)
    plain += bijection.inverse(plain[0], context)
    z, ladj, back, inverse_ladj = plain
    close(back, x, rtol=1e-4, atol=5e-4)
    close(inverse_ladj, -ladj, rtol=0, atol=5e-3)
    with torch.autocast("cpu", torch.bfloat16):
        rough = bijection(x, context)
        rough += bijection.inverse(rough[0], context)
    assert {part.dtype for part in (*plain, *rough)} == {torch.float32}
    if not has_network(bijection):
        assert all(torch.equal(found, expected) for found, expected in zip(rough, plain, strict=True))
    assert bijection(torch.full_like(x, torch.nan), context)[0].isnan().any()
    assert bijection.inverse(torch.full_like(z, torch.nan), context)[0].isnan().any()


def test_state_makes_the_map(case: Case) -> None:
    """Saved and loaded, initialised, and with what hangs on weights alone computed once: the same map."""
    bijection, x, context = case.example(torch.float32)
    z = bijection.initialize(x, context)
    close(z, bijection(x, context)[0])
    state = {name: value.contiguous() for name, value in bijection.state_dict().items()}
    torch.manual_seed(99)
    fresh = case.build().eval()
    fresh.load_state_dict(load(save(state)), strict=True)
    assert state.keys() == fresh.state_dict().keys()
    for name, value in fresh.state_dict().items():
        assert value.dtype == state[name].dtype and torch.equal(value, state[name]), name
    expected = (*bijection(x, context), *bijection.inverse(z, context))
    for other in (fresh, bijection.with_cached_inverse()):
        found = (*other(x, context), *other.inverse(z, context))
        assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))
    check_context(*case.example())


def check_context(bijection: Bijection, x: Tensor, context: Context) -> None:
    """A context matters where it is used, and is accepted elsewhere, but for networks: their inputs count."""
    if context is None and has_network(bijection):
        return
    other = torch.randn(BATCH, 3, *x.shape[2:], dtype=x.dtype) if context is None else context.roll(1, 0)
    moved = bijection(x, other)[0]
    assert torch.equal(moved, bijection(x, context)[0]) == (context is None)
    close(bijection.inverse(moved, other)[0], x, rtol=1e-7, atol=1e-7)


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
