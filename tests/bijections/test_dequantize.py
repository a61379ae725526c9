"""Dequantisation noise: inside its bin, and of the density it says."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vflow.bijections import AnchoredDequantizer, Dequantizer, GaussianDequantizer, UniformDequantizer
from vflow.bijections.dequantize import MARGIN, WIDTH, gaussian_noise, uniform_noise

ALL: dict[str, Callable[[], Dequantizer]] = {
    "uniform": UniformDequantizer,
    "gaussian": GaussianDequantizer,
    "anchored": AnchoredDequantizer,
}
EXTREME = torch.tensor([-torch.inf, -100.0, -8.0, -6.0, -5.9, 0.0, 5.9, 6.0, 8.0, 100.0, torch.inf])


@pytest.fixture(params=ALL.values(), ids=ALL.keys())
def noise(request: pytest.FixtureRequest) -> Dequantizer:
    return request.param()


def every_value(eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All 256 values × all ``eps``, and a mode that half of the values have."""
    x = torch.arange(256.0)[:, None].expand(256, len(eps))
    return x, eps[None].expand_as(x), torch.where(x % 2 == 0, x, 77.0)


def test_noise_stays_inside_the_bin(noise: Dequantizer) -> None:
    for eps in (torch.randn(2000), EXTREME):
        x, eps, mode = every_value(eps)
        y, weight = noise(x, eps, mode)
        assert torch.equal(y.floor(), x)
        assert (y - x).min() >= MARGIN / 2 and (y - x).max() < 1
        assert weight.shape == x.shape and torch.isfinite(weight).all()
        assert y.dtype == weight.dtype == torch.float32


def test_uint8_values_are_taken_as_they_are(noise: Dequantizer) -> None:
    x, eps, mode = every_value(torch.randn(5))
    for one, other in zip(
        noise(x.to(torch.uint8), eps, mode.to(torch.uint8)), noise(x, eps, mode), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("source", [uniform_noise, gaussian_noise])
def test_weight_is_minus_the_log_of_the_density(source: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
    """q(u) = φ(ε) / |du/dε|."""
    eps = torch.linspace(-5.5, 5.5, 2001, dtype=torch.float64, requires_grad=True)
    u, weight = source(eps)
    (slope,) = torch.autograd.grad(u.sum(), eps)
    log_q = torch.distributions.Normal(0.0, 1.0).log_prob(eps.detach()) - slope.log()
    torch.testing.assert_close(-weight.detach(), log_q, rtol=0, atol=1e-9)


@pytest.mark.parametrize("source", [uniform_noise, gaussian_noise])
def test_density_integrates_to_the_share_of_draws(source: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
    """∫ q du up to u(ε) is Φ(ε), and 1 over the bin."""
    eps = torch.linspace(-9, 9, 40_001, dtype=torch.float64)
    u, weight = source(eps)
    mass = torch.cumulative_trapezoid((-weight).exp(), u)
    torch.testing.assert_close(mass, torch.special.ndtr(eps[1:]), rtol=0, atol=1e-6)
    assert math.isclose(mass[-1].item(), 1, abs_tol=1e-6)


def test_moments() -> None:
    eps = torch.randn(200_000, generator=torch.Generator().manual_seed(1))
    for source, deviation in ((uniform_noise, math.sqrt(1 / 12)), (gaussian_noise, WIDTH)):
        u = source(eps)[0]
        assert abs(u.mean() - 0.5) < 3e-3 and abs(u.std() / deviation - 1) < 0.01


def test_weights_integrate_functions_over_the_bin(noise: Dequantizer) -> None:
    """E_q[f(x + u) / q(u)] = ∫ f: exact enough by quadrature over ε."""
    eps = torch.linspace(-5.99, 5.99, 20_001, dtype=torch.float64)
    density = torch.distributions.Normal(0.0, 1.0).log_prob(eps).exp()
    for value, mode in ((3.0, 3.0), (3.0, 4.0)):
        x = torch.full_like(eps, value)
        y, weight = noise(x, eps, torch.full_like(eps, mode))
        bump = torch.exp(-((y - value - 0.4) ** 2) / (2 * 0.05**2)) / (0.05 * math.sqrt(2 * math.pi))
        integral = torch.trapezoid(density * weight.exp() * bump, eps)
        assert math.isclose(integral.item(), 1, abs_tol=1e-5)


def test_anchored_noise_is_narrow_where_a_pixel_stands_still() -> None:
    x, eps = torch.tensor([4.0, 4.0, 9.0]), torch.randn(3)
    y, weight = AnchoredDequantizer()(x, eps, torch.tensor([4.0, 5.0, 9.0]))
    narrow, flat = GaussianDequantizer()(x, eps), UniformDequantizer()(x, eps)
    for got, still, moved in zip((y, weight), narrow, flat, strict=True):
        assert torch.equal(got, torch.stack([still[0], moved[1], still[2]]))


def test_anchored_noise_asks_for_its_anchor() -> None:
    with pytest.raises(ValueError, match="needs each pixel's most likely value"):
        AnchoredDequantizer()(torch.zeros(2), torch.zeros(2))
