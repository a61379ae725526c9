from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from vflow.nn.exact import ACTIVATION_UNIT, ExactConv2d, is_exact, rounded_relu, straight_through_round


def layer(inputs: int = 24, outputs: int = 16, kernel: int = 3) -> ExactConv2d:
    torch.manual_seed(1)
    made = ExactConv2d(inputs, outputs, kernel)
    with torch.no_grad():
        made.bias.normal_()
    return made


def activations(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(2)) * ACTIVATION_UNIT


def test_float32_gives_what_float64_gives() -> None:
    conv, x = layer(), activations(2, 24, 20, 20)
    assert torch.equal(conv(x).double(), conv(x.double()))


def test_the_order_of_summation_changes_nothing() -> None:
    conv, x = layer(), activations(3, 24, 9, 11)
    whole = conv(x)
    weight, bias, _ = conv.rounded()
    order = torch.randperm(24)
    assert torch.equal(functional.conv2d(x[:, order], weight[:, order], bias), whole)
    assert torch.equal(conv(x.contiguous(memory_format=torch.channels_last)), whole)
    assert torch.equal(torch.cat([conv(one) for one in x.split(1)]), whole)


def test_an_ordinary_convolution_depends_on_the_order() -> None:
    """The test above can fail: weights that are not rounded give other sums in another order."""
    x, order = torch.randn(3, 24, 9, 11), torch.randperm(24)
    weight = torch.randn(16, 24, 3, 3)
    assert not torch.equal(
        functional.conv2d(x[:, order], weight[:, order]).double(),
        functional.conv2d(x.double(), weight.double()),
    )


def test_rounded_weights_stay_as_they_are() -> None:
    conv = layer()
    weight, bias, _ = conv.rounded()
    with torch.no_grad():
        conv.weight.copy_(weight)
        conv.bias.copy_(bias)
    again, bias_again, _ = conv.rounded()
    assert torch.equal(again, weight)
    assert torch.equal(bias_again, bias)
    assert not torch.equal(layer().weight, weight)


@pytest.mark.parametrize("scale", [2e-2, 1.0, 300.0])
def test_weights_have_eight_bits(scale: float) -> None:
    conv = layer()
    with torch.no_grad():
        conv.weight.mul_(scale)
    weight, _, unit = (part.detach() for part in conv.rounded())
    steps = weight / (unit / conv.input_unit)[:, None, None, None]
    assert torch.equal(steps, steps.round())
    assert 63 < float(steps.abs().amax((1, 2, 3)).min()) <= float(steps.abs().max()) <= 127


def test_small_weights_under_a_bias_have_exact_sums() -> None:
    conv = layer()
    with torch.no_grad():
        conv.weight.mul_(1e-4)
        conv.bias.fill_(7.5)
    x = activations(2, 24, 9, 9)
    assert is_exact(conv) and torch.equal(conv(x).double(), conv(x.double()))


def test_sums_too_large_for_float32_are_noticed() -> None:
    conv = layer()
    assert is_exact(conv)
    with torch.no_grad():
        conv.bias[3] = 1e6
    assert not is_exact(conv)


def test_rounded_relu_rounds_down_and_clips() -> None:
    x = torch.tensor([-1.0, 0.0, 0.04, 1.0, 7.99, 9.0], requires_grad=True)
    y = rounded_relu(x)
    assert y.tolist() == [0.0, 0.0, 0.03125, 1.0, 7.96875, 7.96875]
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 0, 1, 1, 1, 0]


def test_rounding_passes_gradients_straight_through() -> None:
    x = torch.tensor([0.4, 0.6], requires_grad=True)
    straight_through_round(3 * x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [3, 3]


def test_training_reaches_the_weights() -> None:
    conv = layer()
    rounded_relu(conv(activations(1, 24, 5, 5))).sum().backward()
    assert conv.weight.grad is not None
    assert float(conv.weight.grad.abs().sum()) > 0
