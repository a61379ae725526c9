from __future__ import annotations

import itertools

import pytest
import torch

from examples.integer_flow import ChannelPermutation, ExactDenseNet, IntegerCoupling
from vflow.bijections.base import Chain
from vflow.bijections.reshape import Squeeze


def coupling(channels: int, seed: int = 0) -> IntegerCoupling:
    torch.manual_seed(seed)
    changed = max(1, channels // 4)
    net = ExactDenseNet(channels - changed, changed, layers=2, growth=6)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return IntegerCoupling(net, channels)


@pytest.mark.parametrize("channels", [2, 3, 4, 8, 13])
def test_whole_numbers_come_back_exactly(channels: int) -> None:
    layer = coupling(channels)
    x = torch.randint(-400, 400, (5, channels, 4, 6)).float()
    z, log_det = layer(x)
    assert torch.equal(z, z.round())
    assert not torch.equal(z, x)
    assert torch.equal(log_det, torch.zeros(5))
    assert torch.equal(layer.inverse(z)[0], x)


def test_three_quarters_of_the_channels_stay() -> None:
    x = torch.randint(0, 256, (2, 8, 4, 4)).float()
    z = coupling(8)(x)[0]
    assert torch.equal(z[:, :6], x[:, :6])
    assert not torch.equal(z[:, 6:], x[:, 6:])


def test_gradients_pass_the_rounding() -> None:
    layer = coupling(4)
    x = torch.randint(0, 256, (2, 4, 4, 4)).float().requires_grad_()
    layer(x)[0].square().sum().backward()
    assert x.grad is not None
    assert float(x.grad[:, :3].abs().sum()) > 0
    assert all(p.grad is not None for name, p in layer.named_parameters() if "label" not in name)


def test_every_pair_of_bytes_has_a_place_of_its_own() -> None:
    """All 65,536 images of 1×2 uint8 pixels (two channels of one pixel), there and back."""
    layer = Chain([coupling(2, 1), ChannelPermutation(2, 3), coupling(2, 2)])
    pairs = torch.tensor(list(itertools.product(range(256), repeat=2))).float()[:, :, None, None]
    with torch.no_grad():
        z = layer(pairs)[0]
        assert torch.equal(layer.inverse(z)[0], pairs)
    assert len(torch.unique(z.flatten(1), dim=0)) == len(pairs)


def test_every_coarse_pattern_of_four_pixels_comes_back() -> None:
    """All 2×2 images of seven grey levels between 0 and 255, squeezed to four channels."""
    layer = Chain(
        [Squeeze(), *[part for s in range(3) for part in (ChannelPermutation(4, s), coupling(4, s))]]
    )
    levels = (0, 1, 2, 127, 128, 254, 255)
    x = torch.tensor(list(itertools.product(levels, repeat=4))).float().view(-1, 1, 2, 2)
    with torch.no_grad():
        z = layer(x)[0]
        assert torch.equal(layer.inverse(z)[0], x)
    assert len(torch.unique(z.flatten(1), dim=0)) == len(x)


def test_permutations_are_fixed_by_their_seed() -> None:
    x = torch.randn(1, 8, 2, 2)
    assert torch.equal(ChannelPermutation(8, 5)(x)[0], ChannelPermutation(8, 5)(x)[0])
    assert not torch.equal(ChannelPermutation(8, 5)(x)[0], ChannelPermutation(8, 6)(x)[0])
    assert torch.equal(ChannelPermutation(8, 5).inverse(ChannelPermutation(8, 5)(x)[0])[0], x)
