"""ReLU by bits against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vflow.nn.relu import relu


def numbers() -> Tensor:
    """All there are in bfloat16, (2^16,): infinities, denormals and NaNs of both signs among them."""
    return torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.bfloat16)


@pytest.mark.parametrize("inplace", [False, True])
def test_it_is_torchs_for_every_number(inplace: bool) -> None:
    x = numbers()
    y = relu(x.clone(), inplace=inplace)
    torch.testing.assert_close(y, F.relu(x), rtol=0, atol=0, equal_nan=True)
    assert int(y.isnan().sum()) == int(x.isnan().sum()) > 0


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_its_gradient_is_torchs(inplace: bool, dtype: torch.dtype, memory: torch.memory_format) -> None:
    x = torch.randn(2, 3, 4, 5).to(dtype).contiguous(memory_format=memory)
    x[0, 0] = 0
    weight = torch.randn(2, 3, 4, 5).to(dtype)
    gradients = []
    for function in (lambda h: relu(h, inplace=inplace), F.relu):
        leaf = x.clone().requires_grad_()
        (function(leaf * 1) * weight).sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_out_of_place_it_leaves_its_argument() -> None:
    x = numbers()
    relu(x)
    assert torch.equal(x.view(torch.int16), numbers().view(torch.int16))


def test_a_gradient_spread_out_from_one_number_is_no_trouble() -> None:
    x = torch.randn(4, 6).bfloat16().requires_grad_()
    relu(x * 1).sum().backward()
    assert torch.equal(x.grad, (x > 0).bfloat16())
