from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vflow.bijections.discrete import BipartiteMap, LocationScale
from vflow.data.datasets.classes import (
    XOR,
    addition_examples,
    potts_entropy,
    potts_examples,
    xor_examples,
)
from vflow.models.discrete_flow import DiscreteFlow, DiscreteFlowConfig, MaskedNet, fit


def flow(maps: str, size: int = 3, classes: int = 4, scaled: bool = False) -> DiscreteFlow:
    torch.manual_seed(0)
    config = DiscreteFlowConfig.model_validate(
        {"maps": maps, "size": size, "classes": classes, "depth": 3, "hidden": 16, "scaled": scaled}
    )
    model = DiscreteFlow(config)
    nn.init.normal_(model.base)
    return model


def every(size: int, classes: int) -> Tensor:
    return torch.tensor(list(itertools.product(range(classes), repeat=size)))


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("maps", ["bipartite", "autoregressive"])
def test_all_vectors_are_permuted_and_come_back(maps: str, scaled: bool) -> None:
    model, x = flow(maps, scaled=scaled), every(3, 4)
    with torch.no_grad():
        y = model.encode(x).argmax(-1)
        assert len(torch.unique(y, dim=0)) == len(x)
        assert not torch.equal(x, y)
        assert torch.equal(model.decode(y), x)
        assert float(model(x).exp().sum()) == pytest.approx(1, abs=1e-5)


def test_outputs_of_a_position_see_earlier_ones_alone() -> None:
    net = MaskedNet(4, 3, 2, 32)
    x = torch.rand(1, 12, requires_grad=True)
    for position in range(4):
        (gradient,) = torch.autograd.grad(net(x)[0, 2 * position : 2 * position + 2].sum(), x)
        assert float(gradient[0, 3 * position :].abs().sum()) == 0
        assert position == 0 or float(gradient[0, : 3 * position].abs().sum()) > 0


class CopyFirst(nn.Module):
    """Location of the second of two classes: the first one's value."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :2].repeat(1, 2)


def test_the_paper_s_xor_table() -> None:
    """After x₂ ← x₁ xor x₂, p = ((0.63, 0.07), (0.03, 0.27)) is (0.7, 0.3) × (0.9, 0.1), exactly."""
    xor = BipartiteMap(CopyFirst(), LocationScale(2, False), torch.tensor([False, True]))
    model = DiscreteFlow(DiscreteFlowConfig(size=2, classes=2), [xor])
    with torch.no_grad():
        model.base.copy_(torch.tensor([[0.7, 0.3], [0.9, 0.1]]).log())
        assert model.encode(every(2, 2)).argmax(-1).tolist() == [[0, 0], [0, 1], [1, 1], [1, 0]]
        table = model(every(2, 2)).exp().view(2, 2)
    assert np.allclose(table.numpy(), XOR, atol=1e-7)


@pytest.mark.parametrize("maps", ["bipartite", "autoregressive"])
def test_xor_is_learned_from_examples(maps: str) -> None:
    examples = torch.from_numpy(xor_examples(4000))
    entropy = -float((XOR * np.log(XOR)).sum())
    independent = fit(flow("none", 2, 2), examples, steps=60, rate=0.05)
    best = min(fit(_seeded(maps, seed), examples, steps=100) for seed in range(2))
    assert independent > entropy + 0.25
    assert best < entropy + 0.03


def _seeded(maps: str, seed: int) -> DiscreteFlow:
    torch.manual_seed(seed)
    return DiscreteFlow(DiscreteFlowConfig.model_validate({"maps": maps, "depth": 2, "hidden": 16}))


def test_samples_follow_the_model() -> None:
    model = flow("bipartite", 2, 3)
    with torch.no_grad():
        drawn = model.sample(torch.rand(30_000, 2, generator=torch.Generator().manual_seed(0)))
        for x in every(2, 3):
            share = float((drawn == x).all(1).double().mean())
            assert share == pytest.approx(float(model(x[None]).exp()), abs=0.01)


def test_potts_examples_have_the_model_s_statistics() -> None:
    """Share of equal neighbours of a 2×2 grid with two states, against enumeration."""
    coupling = 0.7
    grids = np.array(list(itertools.product(range(2), repeat=4))).reshape(-1, 2, 2)
    pairs = (grids[:, 1:] == grids[:, :-1]).sum((1, 2)) + (grids[:, :, 1:] == grids[:, :, :-1]).sum((1, 2))
    p = np.exp(coupling * pairs) / np.exp(coupling * pairs).sum()
    drawn = potts_examples(20_000, side=2, states=2, coupling=coupling, sweeps=30).reshape(-1, 2, 2)
    found = (drawn[:, 1:] == drawn[:, :-1]).sum((1, 2)) + (drawn[:, :, 1:] == drawn[:, :, :-1]).sum((1, 2))
    assert found.mean() == pytest.approx(float((p * pairs).sum()), abs=0.03)
    assert potts_entropy(side=2, states=2, coupling=coupling) == pytest.approx(-float((p * np.log(p)).sum()))
    assert potts_entropy(side=2, states=3, coupling=0.0) == pytest.approx(4 * math.log(3))


def test_sums_are_right() -> None:
    examples = addition_examples(50, digits=10).reshape(50, 10, 3)
    first, second, total = ((examples[:, :, i] * 10 ** np.arange(10)).sum(1) for i in range(3))
    assert np.array_equal((first + second) % 10**10, total)
