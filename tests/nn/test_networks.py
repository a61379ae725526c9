"""Conditioners, temporal nets and history encoders: shapes, starts, causality, what masks hide."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vflow.config import EncoderConfig, PriorConfig
from vflow.nn.encoder import FrameEncoder, WindowEncoder
from vflow.nn.layers import Activate, Conditioner, NormConv2d, ZeroConv2d
from vflow.nn.temporal import CausalConv3d, TemporalNet

HISTORY = EncoderConfig(hidden=(4, 6), blocks=1)


@torch.no_grad()
def perturb(module: nn.Module, strength: float = 0.1) -> None:
    for parameter in module.parameters():
        parameter.add_(strength * torch.randn_like(parameter))


@pytest.mark.parametrize("features", [0, 3])
@pytest.mark.parametrize("activation", ["relu", "gatu"])
def test_conditioners_start_at_zero_and_learn(features: int, activation: str) -> None:
    net = Conditioner(2, 5, 7, activation, features)  # type: ignore[arg-type]
    x, context = torch.randn(2, 2, 4, 6), torch.randn(2, features, 4, 6) if features else None
    assert net(x, context).shape == (2, 5, 4, 6) and not net(x, context).any()
    perturb(net)
    net(x, context).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_gated_activation_is_bounded_and_relu_is_not_negative() -> None:
    x = 100 * torch.randn(2, 6, 3, 3)
    assert Activate(6, "gatu")(x).abs().max() <= 1
    assert Activate(6, "relu")(x).min() == 0


@pytest.mark.parametrize(
    "build", [lambda: NormConv2d(3, 4, 3), lambda: NormConv2d(3, 4, 1), lambda: ZeroConv2d(3, 4)]
)
def test_output_scale_is_exp_of_three_log_scales(build: type[NormConv2d]) -> None:
    conv, x = build(), torch.randn(2, 3, 5, 5)
    perturb(conv)
    with torch.no_grad():
        conv.log_scale.zero_()
        if isinstance(conv, NormConv2d):
            conv.shift.zero_()
        plain = conv(x)
        conv.log_scale.fill_(0.5)
        torch.testing.assert_close(conv(x), plain * torch.tensor(1.5).exp(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("frames", [1, 2, 4])
@pytest.mark.parametrize("dilation", [1, 2])
def test_convolution_over_time_is_causal(frames: int, dilation: int) -> None:
    conv, x = CausalConv3d(3, 4, frames, dilation), torch.randn(2, 3, frames, 6, 5)
    y = conv(x)
    assert y.shape == (2, 4, frames, 6, 5)
    for step in range(frames):
        changed = x.clone()
        changed[:, :, step] += 1
        differs = (conv(changed) != y).flatten(3).any(-1).any(0).any(0)
        assert differs.tolist() == [step <= t <= step + (frames > 1) for t in range(frames)]


def test_padding_is_told_from_zeros() -> None:
    conv = CausalConv3d(1, 1, 2, 1)
    y = conv(torch.zeros(1, 1, 2, 5, 5))
    assert y[0, 0, 1, 2, 2] == 0  # every tap falls inside, on zeros
    assert y[0, 0, 0, 2, 2] != 0 and y[0, 0, 1, 0, 0] != 0  # in front of the first step, and over the edge


@pytest.mark.parametrize(("size", "stacks"), [(2, 1), (3, 1), (5, 2), (8, 2), (9, 3), (16, 3)])
def test_dilations_that_do_not_fit_are_left_out(size: int, stacks: int) -> None:
    net = TemporalNet(3, 2, size, PriorConfig(blocks=2, dilations=(1, 2, 4)), 4)
    assert [len(block) for block in net.blocks] == [stacks] * 2
    assert net(torch.randn(2, 3, 2, size, size)).shape == (2, 3, size, size)


def test_temporal_net_starts_as_the_last_step() -> None:
    x = torch.randn(2, 3, 4, 6, 6)
    assert torch.equal(TemporalNet(3, 4, 6, PriorConfig(blocks=2), 4)(x), x[:, :, -1])


def pyramid(frames: int) -> tuple[Tensor, ...]:
    return torch.randn(2, frames, 4, 8, 12), torch.randn(2, frames, 6, 4, 6)


def test_frame_encoder_halves_the_size_per_level() -> None:
    features = FrameEncoder(3, HISTORY)(torch.randn(2, 3, 16, 24))
    assert [f.shape for f in features] == [(2, 4, 8, 12), (2, 6, 4, 6)]


def test_window_encoder_passes_coarse_features_down() -> None:
    encoder, windows, mask = WindowEncoder(3, HISTORY), pyramid(3), torch.ones(2, 3)
    fine, coarse = encoder(windows, mask)
    assert fine.shape == (2, 4, 8, 12) and coarse.shape == (2, 6, 4, 6)
    other_fine, other_coarse = encoder((windows[0], windows[1] + 1), mask)
    assert not torch.equal(other_fine, fine) and not torch.equal(other_coarse, coarse)
    other_fine, other_coarse = encoder((windows[0] + 1, windows[1]), mask)
    assert not torch.equal(other_fine, fine) and torch.equal(other_coarse, coarse)


def test_window_encoder_tells_absent_frames_from_black_ones() -> None:
    encoder, windows = WindowEncoder(2, HISTORY), tuple(torch.zeros_like(level) for level in pyramid(2))
    here, absent = encoder(windows, torch.ones(2, 2)), encoder(windows, torch.tensor([[0.0, 1.0]] * 2))
    assert all(not torch.equal(a, b) for a, b in zip(here, absent, strict=True))
