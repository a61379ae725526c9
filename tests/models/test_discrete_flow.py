"""Discrete flows: permutations of all vectors, and the tables of Tran et al. 2019."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from vflow.config import TrainingConfig
from vflow.models.discrete_flow import (
    DiscreteFlow,
    add_modulo,
    autoregressive_ranks,
    bipartite_ranks,
    straight_through_one_hot,
)
from vflow.training.discrete import fit_discrete

XOR = torch.tensor([0.63, 0.07, 0.03, 0.27])  # of (x₁, x₂) = 00, 01, 10, 11
TRAINING = TrainingConfig(max_steps=300, learning_rate=0.05, warmup_steps=0, ema=0.9)


def vectors(dim: int, classes: int) -> torch.Tensor:
    """All of them, int64 (K^D, D)."""
    return torch.tensor(list(itertools.product(range(classes), repeat=dim)))


def one_hots(*values: int, classes: int = 5) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(values), classes).float()


@pytest.mark.parametrize("ranks", [autoregressive_ranks, bipartite_ranks])
@pytest.mark.parametrize(("dim", "classes"), [(2, 2), (3, 4), (4, 3)])
def test_layers_permute_all_vectors(ranks: object, dim: int, classes: int) -> None:
    torch.manual_seed(1)
    flow = DiscreteFlow(dim, classes, ranks(dim, 3), hidden=8)  # type: ignore[operator]
    with torch.no_grad():
        flow.logits.normal_()
    every = vectors(dim, classes)
    latents = flow.encode(every)
    assert len({tuple(row) for row in latents.tolist()}) == classes**dim
    assert not torch.equal(latents, every)
    assert torch.equal(flow.decode(latents), every)
    assert float(flow(every).exp().sum().detach()) == pytest.approx(1, abs=1e-5)


def test_sums_are_modulo_the_number_of_classes() -> None:
    assert torch.equal(add_modulo(one_hots(3, 4), one_hots(1, 3)), one_hots(4, 2))


def test_one_hots_have_the_gradient_of_a_softmax() -> None:
    logits = torch.tensor([[0.1, 0.3]], requires_grad=True)
    hard = straight_through_one_hot(logits)
    assert hard.tolist() == [[0, 1]]
    hard[0, 1].backward()
    p = 1 / (1 + math.exp(2.0))
    assert logits.grad is not None and logits.grad[0, 1] == pytest.approx(p * (1 - p) / 0.1, rel=1e-4)


def test_xor_is_learned_exactly() -> None:
    """(0.63, 0.07; 0.03, 0.27) is (0.7, 0.3) × (0.9, 0.1) after x₂ ← x₁ xor x₂."""
    flow, nats = fit_discrete(
        lambda: DiscreteFlow(2, 2, [[0, 1]], hidden=8), vectors(2, 2), XOR, TRAINING, range(6)
    )
    entropy = -float((XOR * XOR.log()).sum())
    assert nats == pytest.approx(entropy, abs=2e-4)
    assert torch.allclose(flow(vectors(2, 2)).detach().exp(), XOR, atol=2e-3)
    drawn = flow.sample(torch.rand(4000, 2, generator=torch.Generator().manual_seed(0)))
    share = (2 * drawn[:, 0] + drawn[:, 1]).bincount(minlength=4) / 4000
    assert torch.allclose(share, XOR, atol=0.03)


def test_without_a_layer_xor_costs_more() -> None:
    _, nats = fit_discrete(lambda: DiscreteFlow(2, 2, []), vectors(2, 2), XOR, TRAINING, range(1))
    first, second = torch.tensor([0.7, 0.3]), torch.tensor([0.66, 0.34])
    assert nats == pytest.approx(
        -float((first * first.log()).sum() + (second * second.log()).sum()), abs=1e-3
    )
