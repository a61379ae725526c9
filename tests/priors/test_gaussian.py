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


def test_mass_between_bounds() -> None:
    density = Gaussian(torch.tensor([0.0, 1.0, 0.0, 0.0]), torch.tensor([0.0, 0.7, 0.0, 0.0]))
    low, high = torch.tensor([-1.0, -1e4, 9.0, -9.5]), torch.tensor([1.0, 2.0, 9.5, -9.0])
    normal = torch.distributions.Normal(density.mean.double(), density.log_scale.exp().double())
    plain = normal.cdf(high.double()) - normal.cdf(low.double())
    mass = density.log_mass(low, high).exp().double()
    torch.testing.assert_close(mass[:2], plain[:2], rtol=1e-6, atol=0)
    torch.testing.assert_close(mass[2], mass[3], rtol=1e-6, atol=0)  # both tails keep their digits
    assert 0.9 < mass[2] / 1.1285e-19 < 1.0


def test_gradients_of_the_mass_are_finite_where_it_vanishes() -> None:
    mean = torch.tensor([0.0, 0.0, 0.0], requires_grad=True)
    scale = torch.full((3,), -6.0, requires_grad=True)
    mass = Gaussian(mean, scale).log_mass(torch.tensor([1.0, -1e4, -0.5]), torch.tensor([1e4, -1.0, 0.5]))
    mass.sum().backward()
    assert mass.isfinite().all() and mean.grad is not None and scale.grad is not None
    assert mean.grad.isfinite().all() and scale.grad.isfinite().all()
    assert mean.grad[0] > 0 > mean.grad[1] and abs(mass[2]) < 1e-6
