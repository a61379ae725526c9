"""Discrete flows: permutations of all vectors, and the tables of Tran et al. 2019."""

from __future__ import annotations

import argparse
import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from examples import discrete_flows as discrete
from examples.discrete_flows import (
    BASE,
    TABLE,
    XOR,
    BipartiteLSTM,
    CausalLSTM,
    DiscreteBase,
    DiscreteFlow,
    LSTMBase,
    ModuloLayer,
    ParameterNet,
    ZeroInflatedBase,
    add_modulo,
    autoregressive_ranks,
    bipartite_ranks,
    fit_discrete,
    masked_flow,
    potts,
    straight_through_one_hot,
    sums,
    vectors,
)


def one_hots(*values: int, classes: int = 5) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(values), classes).float()


@pytest.mark.parametrize("ranks", [autoregressive_ranks, bipartite_ranks])
@pytest.mark.parametrize(("dim", "classes"), [(2, 2), (3, 4), (4, 3), (3, 5), (2, 10)])
def test_layers_permute_all_vectors(ranks: object, dim: int, classes: int) -> None:
    torch.manual_seed(1)
    flow = masked_flow(dim, classes, ranks(dim, 3), hidden=8)  # type: ignore[operator]
    with torch.no_grad():
        flow.base.logits.normal_()
    every = vectors(dim, classes)
    latents = flow.encode(every)
    assert len({tuple(row) for row in latents.tolist()}) == classes**dim
    assert not torch.equal(latents, every)
    assert torch.equal(flow.decode(latents), every)
    assert float(flow(every).exp().sum().detach()) == pytest.approx(1, abs=1e-5)


SYMBOLS = 5


def conditional_flows() -> list[DiscreteFlow]:
    """Flows of three elements of 4 classes given symbols, of every network and base."""
    torch.manual_seed(1)
    nets: list[list[ParameterNet]] = [
        [],
        [CausalLSTM(3, 4, SYMBOLS, 8)],
        [BipartiteLSTM(ranks, 4, SYMBOLS, 8) for ranks in bipartite_ranks(3, 2)],
    ]
    for net in itertools.chain(*nets):
        with torch.no_grad():
            net.get_parameter("last.weight").mul_(20)  # or the biases decide
    bases: list[DiscreteBase] = [LSTMBase(4, SYMBOLS, 8, encode=encode) for encode in (True, False)]
    return [
        DiscreteFlow(base, [ModuloLayer(net) for net in some])
        for base in [*bases, ZeroInflatedBase(3, 4)]
        for some in nets
    ]


@pytest.mark.parametrize("flow", conditional_flows())
def test_conditional_flows_permute_all_vectors(flow: DiscreteFlow) -> None:
    every = vectors(3, 4)
    context = torch.tensor([[0, 3, 4]]).expand(len(every), -1)
    latents = flow.encode(every, context)
    assert len({tuple(row) for row in latents.tolist()}) == 4**3
    assert torch.equal(flow.decode(latents, context), every)
    assert float(flow(every, context).exp().sum().detach()) == pytest.approx(1, abs=1e-5)
    assert not flow.layers or not torch.equal(latents, flow.encode(every, (context + 1) % SYMBOLS))


def test_samples_follow_the_base() -> None:
    torch.manual_seed(0)
    flow = DiscreteFlow(LSTMBase(2, SYMBOLS, 8, encode=True))
    with torch.no_grad():
        flow.base.get_parameter("last.weight").mul_(8)
    every, context = vectors(2, 2), torch.tensor([[1, 2]])
    drawn = flow.sample(
        torch.rand(4000, 2, generator=torch.Generator().manual_seed(0)), context.expand(4000, 2)
    )
    share = (2 * drawn[:, 0] + drawn[:, 1]).bincount(minlength=4) / 4000
    assert torch.allclose(share, flow(every, context.expand(4, 2)).detach().exp(), atol=0.03)


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
        lambda: masked_flow(2, 2, [[0, 1]], hidden=8), vectors(2, 2), XOR, TABLE, range(6)
    )
    entropy = -float((XOR * XOR.log()).sum())
    assert nats == pytest.approx(entropy, abs=2e-4)
    assert torch.allclose(flow(vectors(2, 2)).detach().exp(), XOR, atol=2e-3)
    drawn = flow.sample(torch.rand(4000, 2, generator=torch.Generator().manual_seed(0)))
    share = (2 * drawn[:, 0] + drawn[:, 1]).bincount(minlength=4) / 4000
    assert torch.allclose(share, XOR, atol=0.03)


def test_without_a_layer_xor_costs_more() -> None:
    _, nats = fit_discrete(lambda: masked_flow(2, 2, []), vectors(2, 2), XOR, TABLE, range(1))
    first, second = torch.tensor([0.7, 0.3]), torch.tensor([0.66, 0.34])
    assert nats == pytest.approx(
        -float((first * first.log()).sum() + (second * second.log()).sum()), abs=1e-3
    )


def test_potts_neighbours_are_often_alike() -> None:
    weights = potts()
    assert float(weights.sum()) == pytest.approx(1, abs=1e-5)
    assert -float((weights * weights.log()).sum()) == pytest.approx(5.5024, abs=1e-3)
    assert weights[0] == weights.max(), "all sites alike"


def test_sums_are_those_of_the_numbers() -> None:
    columns, total = sums(20, 4, "test")

    def number(digits: torch.Tensor) -> list[int]:
        return [int("".join(map(str, row))) for row in digits.tolist()]

    added = zip(number(columns // BASE), number(columns % BASE), strict=True)
    assert number(total) == [(a + b) % 10**4 for a, b in added]


def test_rows_of_a_benchmark_join_those_of_the_same_settings_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def task(options: argparse.Namespace) -> tuple[str, list[dict[str, Any]], str]:
        ran.append(options.model)
        return "title", [{"model": name, "nats": len(ran)} for name in options.model.split()], "note"

    def run(words: str, model: str) -> list[tuple[str, int]]:
        monkeypatch.setattr("sys.argv", ["discrete", *words.split(), "--model", model, "--output", str(path)])
        discrete.main()
        return [(row["model"], row["nats"]) for row in json.loads(path.read_text())["rows"]]

    path = tmp_path / "rows.json"
    for name in ("potts", "addition"):
        monkeypatch.setitem(discrete.TASKS, name, task)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    assert run("potts", "entropy flow") == [("entropy", 1), ("flow", 1)]
    assert run("potts", "more entropy") == [("entropy", 2), ("flow", 1), ("more", 2)]
    for words in ("addition", "potts --seed 1"):
        with pytest.raises(SystemExit, match=r"its rows come from .*\.discrete_flows potts; give"):
            run(words, "flow")
    assert len(ran) == 2
