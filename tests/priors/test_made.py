"""The autoregressive flow of a few numbers: a density, drawn number by number, that can learn dependence."""

from __future__ import annotations

import math

import pytest
import torch

from vflow.priors.made import MADEPrior


def example(size: int = 3, known: int = 4) -> tuple[MADEPrior, torch.Tensor]:
    """A prior with its weights moved away from their start, and features of five cases."""
    torch.manual_seed(0)
    prior = MADEPrior(known, size)
    with torch.no_grad():
        prior.linear_out.weight.mul_(10)
    return prior, torch.randn(5, known)


@pytest.mark.parametrize(("scale", "tail"), [(-4.0, -3.0), (0.0, 0.0), (0.0, 9.0), (1.0, 2.0)])
@torch.no_grad()
def test_the_density_integrates_to_one(scale: float, tail: float) -> None:
    prior, _ = example(1)
    prior.condition_out.bias.copy_(torch.tensor([0.3, scale, tail]))
    grid = 8 * torch.sinh(torch.linspace(-14, 14, 20_001).double())[:, None]  # dense at the middle, wide
    known = torch.zeros(1, 4).expand(len(grid), -1)
    p = prior.log_prob(grid.float(), known).double().exp()
    assert torch.trapezoid(p, grid[:, 0]).item() == pytest.approx(1, abs=2e-3)


@torch.no_grad()
def test_the_log_density_is_that_of_the_noise_by_the_change_of_variables() -> None:
    prior, known = example()
    eps = torch.randn(5, 3)
    z = prior.sample(known, eps)
    for row in range(5):
        jacobian = torch.autograd.functional.jacobian(
            lambda e, row=row: _sample_of(prior, known[row : row + 1], e), eps[row]
        )
        assert torch.equal(jacobian.triu(1), torch.zeros_like(jacobian))
        expected = -0.5 * (eps[row].square() + math.log(2 * math.pi)).sum() - jacobian.diag().log().sum()
        found = prior.log_prob(z[row : row + 1], known[row : row + 1])[0]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def _sample_of(prior: MADEPrior, known: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """``sample`` of one row, number by number without changing tensors in place."""
    z = [torch.zeros(())] * prior.size
    for i in range(prior.size):
        mean, scale, tail = prior._shape(torch.stack(z)[None], *prior._from_condition(known))
        z[i] = (mean + scale * torch.sinh(tail * eps) / tail)[0, i]
    return torch.stack(z)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_no_number_sees_itself_or_a_later_one(size: int) -> None:
    prior, known = example(size)
    z = 8 * torch.randn(5, size)
    for i in range(size):
        changed = z.clone()
        changed[:, i:] += 100
        before, after = (prior._shape(values, *prior._from_condition(known)) for values in (z, changed))
        for a, b in zip(before, after, strict=True):
            assert torch.equal(a[:, : i + 1], b[:, : i + 1])
            assert i + 1 == size or not torch.equal(a[:, i + 1 :], b[:, i + 1 :])


def test_whitening_finds_the_noise_again() -> None:
    prior, known = example()
    with torch.no_grad():
        eps = torch.randn(5, 3)
        z = prior.sample(known, eps)
        assert z.abs().max() > 1
        torch.testing.assert_close(prior.whiten(z, known), eps, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(prior.sample(known, prior.whiten(z, known)), z, rtol=1e-4, atol=1e-4)


def test_it_learns_what_numbers_have_to_do_with_each_other() -> None:
    """Two nearly equal numbers cost little more than one: apart they would cost twice as much."""
    torch.manual_seed(0)
    prior = MADEPrior(1, 2)
    optimizer = torch.optim.Adam(prior.parameters(), 3e-3)
    for _ in range(200):
        z = 8 * torch.randn(128, 1) + torch.rand(128, 2) - 0.5
        loss = -prior.log_prob(z, torch.zeros(128, 1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    alone = math.log(8 * math.sqrt(2 * math.pi * math.e))  # nats of the first, a normal density
    assert loss.item() < 1.5 * alone


def test_gradients_reach_everything_it_learns() -> None:
    prior, known = example()
    prior.log_prob(8 * torch.randn(5, 3), known).sum().backward()
    for name, parameter in prior.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name
