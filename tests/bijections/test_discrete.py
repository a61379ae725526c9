from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional

from vflow.bijections.discrete import (
    LocationScale,
    add_modulo,
    divide_modulo,
    multiply_modulo,
    negate_modulo,
    one_hot_argmax,
    units,
)


def one_hot(values: list[int], classes: int) -> torch.Tensor:
    return functional.one_hot(torch.tensor(values), classes).double()


@pytest.mark.parametrize(
    ("classes", "wanted"), [(2, [1]), (6, [1, 5]), (7, [1, 2, 3, 4, 5, 6]), (10, [1, 3, 7, 9])]
)
def test_scales_are_coprime_to_the_number_of_classes(classes: int, wanted: list[int]) -> None:
    assert units(classes) == wanted


@pytest.mark.parametrize("classes", [2, 5, 6, 10])
def test_arithmetic_of_one_hots_is_that_of_numbers(classes: int) -> None:
    pairs = list(itertools.product(range(classes), repeat=2))
    x, y = (one_hot([pair[i] for pair in pairs], classes) for i in range(2))
    assert add_modulo(x, y).argmax(-1).tolist() == [(a + b) % classes for a, b in pairs]
    assert negate_modulo(x).argmax(-1).tolist() == [-a % classes for a, _ in pairs]
    for place, unit in enumerate(units(classes)):
        scale = one_hot([place] * len(pairs), len(units(classes)))
        scaled = multiply_modulo(x, scale)
        assert scaled.argmax(-1).tolist() == [unit * a % classes for a, _ in pairs]
        assert torch.equal(divide_modulo(scaled, scale), x)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("classes", [2, 6, 7])
def test_location_scale_permutes_the_classes(classes: int, scaled: bool) -> None:
    element = LocationScale(classes, scaled)
    x = one_hot(list(range(classes)), classes)[:, None]
    for seed in range(5):
        logits = torch.randn(1, 1, element.outputs, generator=torch.Generator().manual_seed(seed)).double()
        y = element(x, logits)
        assert sorted(y.argmax(-1)[:, 0].tolist()) == list(range(classes))
        assert torch.allclose(element.inverse(y, logits), x)


def test_argmax_is_hard_forward_and_soft_backward() -> None:
    logits = torch.tensor([[0.1, 0.3, 0.2]], requires_grad=True)
    hard = one_hot_argmax(logits)
    assert torch.allclose(hard, torch.tensor([[0.0, 1.0, 0.0]]))
    (hard * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    soft = torch.tensor([[0.1, 0.3, 0.2]], requires_grad=True)
    (torch.softmax(soft / 0.1, -1) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert logits.grad is not None
    assert soft.grad is not None
    assert torch.allclose(logits.grad, soft.grad)
