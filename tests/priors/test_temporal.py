"""The temporal prior: where it starts, what it sees, and the paper's skip."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vflow.config import PriorConfig
from vflow.priors.temporal import TemporalPrior

SIZE = {"shape": (4, 6, 8), "history": 4, "hidden": 5}


def prior(
    *, above: int = 4, frames: int = 3, skip: bool = True, mixtures: int = 1, strength: float = 0.1
) -> TemporalPrior:
    config = PriorConfig(blocks=2, dilations=(1, 2))
    module = TemporalPrior(above=above, frames=frames, config=config, skip=skip, mixtures=mixtures, **SIZE)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(strength * torch.randn_like(parameter))
    return module


def window(frames: int = 3) -> Tensor:
    return torch.randn(2, frames, 4, 6, 8)


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("above", [4, 0])
def test_it_starts_standard_around_the_frame_before(skip: bool, above: int) -> None:
    past = window()
    density = prior(above=above, skip=skip, strength=0.0)(past, torch.randn(2, 4, 6, 8) if above else None)
    expected = past[:, -1] if skip else torch.zeros_like(past[:, -1])
    assert torch.equal(density.mean, expected) and not density.log_scale.any()


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_every_step_of_the_window_counts(frames: int) -> None:
    """Two blocks of two convolutions over two steps each reach back four frames and more."""
    module, past, above = prior(frames=frames), window(frames), torch.randn(2, 4, 6, 8)
    plain = module(past, above)
    assert plain.mean.shape == plain.log_scale.shape == (2, 4, 6, 8)
    for step in range(frames):
        changed = past.clone()
        changed[:, step] += 1
        other = module(changed, above)
        assert not torch.equal(other.mean, plain.mean) and not torch.equal(other.log_scale, plain.log_scale)


def test_the_half_from_above_counts() -> None:
    module, past, above = prior(), window(), torch.randn(2, 4, 6, 8)
    assert not torch.equal(module(past, above).mean, module(past, above + 1).mean)


def test_one_block_sees_two_steps_back_at_most() -> None:
    """With one block of two kernels of two steps, the fourth frame from the end does not count."""
    short = TemporalPrior(above=0, frames=4, config=PriorConfig(dilations=(1,)), skip=False, **SIZE)
    with torch.no_grad():
        for parameter in short.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    past = window(4)
    changed = past.clone()
    changed[:, 0] += 1
    assert torch.equal(short(past, None).mean, short(changed, None).mean)


def test_a_mixture_starts_spread_about_the_frame_before() -> None:
    past = window()
    density = prior(mixtures=3, strength=0.0)(past, torch.randn(2, 4, 6, 8)).elements
    torch.testing.assert_close(density.mean.mean(-1), past[:, -1])
    assert (density.mean.diff(dim=-1) > 0).all()  # else all components would learn the same
    torch.testing.assert_close(density.log_weight.exp(), torch.full((2, 4, 6, 8, 3), 1 / 3))


def test_noise_and_latents_of_a_mixture_are_one_to_one() -> None:
    density, z = prior(mixtures=3)(window(), torch.randn(2, 4, 6, 8)), torch.randn(2, 4, 6, 8)
    torch.testing.assert_close(density.sample(density.whiten(z)), z, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mixtures", [1, 3])
def test_gradients_reach_all_parameters(mixtures: int) -> None:
    module = prior(mixtures=mixtures)
    module(window(), torch.randn(2, 4, 6, 8)).log_prob(torch.randn(2, 4, 6, 8)).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_densities_stay_in_float32_under_autocast() -> None:
    module, past, above = prior(), window(), torch.randn(2, 4, 6, 8)
    exact = module(past, above)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = module(past, above)
    assert rough.mean.dtype == rough.log_scale.dtype == torch.float32
    torch.testing.assert_close(rough.mean, exact.mean, rtol=0.1, atol=0.05)
