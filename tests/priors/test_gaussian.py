"""The bounded normal density."""

from __future__ import annotations

import math

import pytest
import torch

from vflow.priors.gaussian import LOG_SCALE_LIMIT, Gaussian


def example(dtype: torch.dtype = torch.float32) -> Gaussian:
    return Gaussian.bounded(torch.randn(2, 3, 4, 5, dtype=dtype), torch.randn(2, 3, 4, 5, dtype=dtype))


def test_log_density_is_the_normal_one_summed_over_channels() -> None:
    density, z = example(torch.float64), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    expected = torch.distributions.Normal(density.mean, density.log_scale.exp()).log_prob(z).sum(1)
    torch.testing.assert_close(density.log_prob(z), expected)


def test_sample_and_whiten_are_inverse() -> None:
    density, eps = example(), torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(density.whiten(density.sample(eps)), eps, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0])
def test_temperature_scales_the_noise(temperature: float) -> None:
    density, eps = example(), torch.randn(2, 3, 4, 5)
    expected = density.mean + temperature * density.log_scale.exp() * eps
    torch.testing.assert_close(density.sample(eps, temperature), expected)


def test_the_scale_is_bounded_smoothly_on_both_sides() -> None:
    raw = torch.tensor([-1e6, -1.0, 0.0, 1.0, 1e6], requires_grad=True)
    log_scale = Gaussian.bounded(torch.zeros(5), raw).log_scale
    log_scale.sum().backward()
    assert raw.grad is not None
    assert log_scale.abs().max() <= LOG_SCALE_LIMIT
    assert log_scale[2] == 0 and raw.grad[2] == 1
    assert math.isclose(log_scale[3].item(), LOG_SCALE_LIMIT * math.tanh(1 / LOG_SCALE_LIMIT), rel_tol=1e-6)
