"""The prior of whole-number codes: a distribution, drawn number by number, that can learn dependence."""

from __future__ import annotations

import pytest
import torch

from vflow.priors.made import MADEPrior, log_mass


def example(size: int = 3, known: int = 4) -> tuple[MADEPrior, torch.Tensor]:
    """A prior with its weights moved away from their start, and features of five cases."""
    torch.manual_seed(0)
    prior = MADEPrior(known, size)
    with torch.no_grad():
        prior.linear_out.weight.mul_(10)
    return prior, torch.randn(5, known)


def test_bins_sum_to_one_wherever_the_mean_lies() -> None:
    k = torch.arange(-400.0, 400.0)[:, None]
    for shape in ((0.3, 0.08, 0.02), (-7.5, 1.0, 0.1), (12.0, 18.0, 0.02), (0.5, 0.06, 0.9)):
        log_p = log_mass(k, *(torch.tensor([[value]]) for value in shape))
        assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)
        assert torch.isfinite(log_p).all()


@pytest.mark.parametrize("size", [1, 2, 5])
def test_no_number_sees_itself_or_a_later_one(size: int) -> None:
    prior, known = example(size)
    k = 8 * torch.randn(5, size)
    for i in range(size):
        changed = k.clone()
        changed[:, i:] += 100
        before, after = (prior._shape(values, *prior._from_condition(known)) for values in (k, changed))
        for a, b in zip(before, after, strict=True):
            assert torch.equal(a[:, : i + 1], b[:, : i + 1])
            assert i + 1 == size or not torch.equal(a[:, i + 1 :], b[:, i + 1 :])


def test_frequencies_of_draws_are_the_probabilities() -> None:
    """Pairs of numbers too: the second is drawn given the first."""
    prior, known = example(2)
    with torch.no_grad():
        prior.condition_out.bias[2:4] -= 3  # narrower, so that few pairs have most of the mass
        k = prior.sample(known[:1].expand(40_000, -1), torch.randn(40_000, 2))
        pairs, counts = k.unique(dim=0, return_counts=True)
        p = prior.log_prob(pairs, known[:1].expand(len(pairs), -1)).exp()
    assert len(pairs) > 20
    assert (counts / len(k) - p).abs().max() < 0.01 and p.sum() > 0.97


def test_whitening_finds_the_noise_that_draws_the_same_numbers() -> None:
    prior, known = example()
    with torch.no_grad():
        k = prior.sample(known, torch.randn(5, 3))
        assert torch.equal(k, k.round()) and k.any()
        assert torch.equal(prior.sample(known, prior.whiten(k, known)), k)


def test_it_learns_what_numbers_have_to_do_with_each_other() -> None:
    """Two equal numbers cost little more than one: apart from each other they would cost twice as much."""
    torch.manual_seed(0)
    prior = MADEPrior(1, 2)
    optimizer = torch.optim.Adam(prior.parameters(), 3e-3)
    for _ in range(200):
        k = (8 * torch.randn(128, 1)).round().expand(-1, 2)
        loss = -prior.log_prob(k, torch.zeros(128, 1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    alone = log_mass(k[:, :1], torch.zeros(1), torch.tensor(8.0), torch.tensor(0.02)).mean().item()
    assert loss.item() < -1.5 * alone


def test_gradients_reach_everything_it_learns() -> None:
    prior, known = example()
    prior.log_prob(8 * torch.randn(5, 3), known).sum().backward()
    for name, parameter in prior.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name
