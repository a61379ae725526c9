"""Importance sampling with flows as proposals."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vflow.bijections import ActNorm
from vflow.densities import ENERGIES, Normal
from vflow.errors import InputError
from vflow.models import Flow
from vflow.models.importance import ImportanceSample, importance_sample


def narrow(x: Tensor) -> Tensor:
    """Energy of N(0.5, 0.8²) in both coordinates, without its normaliser."""
    return 0.5 * ((x - 0.5) / 0.8).square().sum(1)


def flow() -> Flow:
    """The standard normal density, of a layer with parameters that changes nothing."""
    return Flow([ActNorm(2)], Normal(2))


def test_normaliser_mean_and_effective_share() -> None:
    found = importance_sample(flow(), narrow, 40_000, seed=3)
    assert found.points.shape == (40_000, 2) and found.log_weights.dtype == torch.float64
    assert found.log_normalizer == pytest.approx(math.log(2 * math.pi * 0.8**2), abs=0.02)
    assert found.mean(found.points).tolist() == pytest.approx([0.5, 0.5], abs=0.02)
    event = torch.distributions.Normal(0.5, 0.8).cdf(torch.tensor(0.0)).item()
    assert found.mean(found.points[:, 0] < 0).item() == pytest.approx(event, abs=0.01)
    assert found.mean(torch.full((40_000,), 7)).item() == pytest.approx(7)
    assert found.mean(found.points[:, 0].square()).item() == pytest.approx(0.25 + 0.64, abs=0.03)
    # E[w]² / E[w²] of weights N(0.5, v) / N(0, 1), v = 0.64: √(2 − v) √v exp(−0.25 / (2 − v)) a coordinate
    share = math.sqrt(1.36 * 0.64) * math.exp(-0.25 / 1.36)
    assert found.effective_share == pytest.approx(share**2, abs=0.02)


def test_a_proposal_that_is_the_target_has_even_weights() -> None:
    found = importance_sample(flow(), lambda x: 0.5 * x.square().sum(1), 500)
    assert found.effective_share == pytest.approx(1, abs=1e-6)
    assert found.log_normalizer == pytest.approx(math.log(2 * math.pi), abs=1e-5)


def test_samples_are_a_function_of_the_seed_and_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    first = importance_sample(flow(), ENERGIES["u1"], 4500, seed=1, progress=lambda *n: told.append(n))
    again, other = (importance_sample(flow(), ENERGIES["u1"], 4500, seed=seed) for seed in (1, 2))
    assert torch.equal(first.points, again.points) and not torch.equal(first.points, other.points)
    assert told == [(2000, 4500), (4000, 4500), (4500, 4500)]


def test_what_has_no_finite_weight_counts_for_nothing() -> None:
    points = torch.tensor([[1.0], [3.0], [50.0], [60.0]])
    weights = torch.tensor([0.0, math.log(3), -math.inf, math.nan], dtype=torch.float64)
    found = ImportanceSample(points, weights)
    assert found.mean(points).item() == pytest.approx(2.5)
    assert found.log_normalizer == pytest.approx(0)
    assert found.effective_share == pytest.approx(16 / 10 / 4)
    nothing = ImportanceSample(points, torch.full((4,), math.nan, dtype=torch.float64))
    assert (nothing.effective_share, nothing.log_normalizer) == (0, -math.inf)
    with pytest.raises(InputError, match="no sample has a finite weight"):
        nothing.mean(points)
    with pytest.raises(InputError, match="2 values for 4 samples"):
        found.mean(points[:2])


def test_arguments_that_do_not_suit() -> None:
    with pytest.raises(InputError, match="count 0: must be at least 1"):
        importance_sample(flow(), narrow, 0)
    with pytest.raises(InputError, match=r"energy of 5 points must be a tensor \(5,\); got \(5, 2\)"):
        importance_sample(flow(), lambda x: x.square(), 5)
    with pytest.raises(InputError, match=r"must be a tensor \(5,\); got float"):
        importance_sample(flow(), lambda x: 1.0, 5)
    one = Flow([ActNorm(2)], Normal(2), features=3)
    for wrong in (torch.zeros(1, 3), torch.zeros(2), [0.0, 0.0, 0.0]):
        with pytest.raises(InputError, match=r"condition must be one row, a tensor \(3,\); got"):
            importance_sample(one, lambda x, y: narrow(x), 5, condition=wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the density takes no condition"):
        importance_sample(flow(), lambda x, y: narrow(x), 5, condition=torch.zeros(1))
