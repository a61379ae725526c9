"""Dequantisation noise, fixed and learned: inside its bin, and of the density it says."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vflow.models.dequantizer import (
    MARGIN,
    WIDTH,
    Dequantizer,
    GaussianDequantizer,
    UniformDequantizer,
    VariationalDequantizer,
    build_dequantizer,
    gaussian_noise,
    uniform_noise,
)

ALL: dict[str, Callable[[], Dequantizer]] = {
    "uniform": UniformDequantizer,
    "gaussian": GaussianDequantizer,
}
EXTREME = torch.tensor([-torch.inf, -100.0, -8.0, -6.0, -5.9, 0.0, 5.9, 6.0, 8.0, 100.0, torch.inf])


@pytest.fixture(params=ALL.values(), ids=ALL.keys())
def fixed(request: pytest.FixtureRequest) -> Dequantizer:
    return request.param()


def every_value(eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All 256 values × all ``eps``, and a mode that half of the values have."""
    x = torch.arange(256.0)[:, None].expand(256, len(eps))
    return x, eps[None].expand_as(x), torch.where(x % 2 == 0, x, 77.0)


def test_fixed_noise_stays_inside_the_bin(fixed: Dequantizer) -> None:
    for eps in (torch.randn(2000), EXTREME):
        x, eps, mode = every_value(eps)
        y, weight = fixed(x, eps, mode)
        assert torch.equal(y.floor(), x)
        assert (y - x).min() >= MARGIN / 2 and (y - x).max() < 1
        assert weight.shape == x.shape and torch.isfinite(weight).all()
        assert y.dtype == weight.dtype == torch.float32


def test_uint8_values_are_taken_as_they_are(fixed: Dequantizer) -> None:
    x, eps, mode = every_value(torch.randn(5))
    for one, other in zip(
        fixed(x.to(torch.uint8), eps, mode.to(torch.uint8)), fixed(x, eps, mode), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("source", [uniform_noise, gaussian_noise])
def test_fixed_weight_is_minus_the_log_of_the_density(
    source: Callable[[Tensor], tuple[Tensor, Tensor]],
) -> None:
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


def test_weights_integrate_functions_over_the_bin(fixed: Dequantizer) -> None:
    """E_q[f(x + u) / q(u)] = ∫ f: exact enough by quadrature over ε."""
    eps = torch.linspace(-5.99, 5.99, 20_001, dtype=torch.float64)
    density = torch.distributions.Normal(0.0, 1.0).log_prob(eps).exp()
    for value, mode in ((3.0, 3.0), (3.0, 4.0)):
        x = torch.full_like(eps, value)
        y, weight = fixed(x, eps, torch.full_like(eps, mode))
        bump = torch.exp(-((y - value - 0.4) ** 2) / (2 * 0.05**2)) / (0.05 * math.sqrt(2 * math.pi))
        integral = torch.trapezoid(density * weight.exp() * bump, eps)
        assert math.isclose(integral.item(), 1, abs_tol=1e-5)


def learned(channels: int = 1, roughness: float = 0.1) -> VariationalDequantizer:
    """With every weight moved from where it starts."""
    torch.manual_seed(0)
    noise = VariationalDequantizer(channels)
    with torch.no_grad():
        for parameter in noise.parameters():
            parameter.add_(roughness * torch.randn_like(parameter))
    return noise


def pictures(channels: int = 1, side: int = 4, count: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures, noise, and most likely values that half of the pixels have."""
    x = torch.randint(0, 256, (count, channels, side, side)).float()
    return x, torch.randn_like(x), torch.where(torch.rand_like(x) < 0.5, x, 9.0)


def test_names() -> None:
    kinds = [type(build_dequantizer(kind, 3)) for kind in ("uniform", "gaussian", "learned")]
    assert kinds == [UniformDequantizer, GaussianDequantizer, VariationalDequantizer]


@pytest.mark.parametrize("with_mode", [True, False])
def test_learned_noise_stays_inside_the_bin(with_mode: bool) -> None:
    x, eps, mode = pictures(channels=3, side=8)
    for noise in (eps, torch.full_like(eps, torch.inf), torch.full_like(eps, -100.0)):
        y, weight = learned(3)(x, noise, mode if with_mode else None)
        assert torch.equal(y.floor(), x) and y.shape == weight.shape == x.shape
        assert torch.isfinite(weight).all()
        assert y.dtype == weight.dtype == torch.float32


def test_learned_weight_is_minus_the_log_of_the_density() -> None:
    """−log q(u) = log |det du/dε| − log φ(ε), the determinant from automatic differentiation."""
    noise = learned().double()
    x, eps, mode = (t.double()[:1] for t in pictures())

    def continuous(flat: Tensor) -> Tensor:
        return noise(x, flat.view_as(x), mode)[0].flatten()

    jacobian = torch.autograd.functional.jacobian(continuous, eps.flatten())
    log_normal = torch.distributions.Normal(0.0, 1.0).log_prob(eps).sum()
    expected = torch.linalg.slogdet(jacobian).logabsdet - log_normal
    weight = noise(x, eps, mode)[1].sum()
    torch.testing.assert_close(weight, expected, rtol=0, atol=1e-9)


def test_learned_noise_starts_as_uniform_noise() -> None:
    torch.manual_seed(0)
    noise = VariationalDequantizer(1)
    x, eps, mode = pictures(side=16, count=64)
    y, weight = noise(x, eps, mode)
    u = (y - x).detach().flatten().sort().values
    assert (u - torch.linspace(0, 1, len(u))).abs().max() < 0.02
    assert torch.allclose(weight.sum((1, 2, 3)), torch.tensor(256 * math.log1p(-2 * MARGIN)), atol=1e-2)


def test_learned_noise_learns_to_be_narrow_here_and_uniform_there() -> None:
    """Maximising E[log p − log q] under a density that is Gaussian in the bins of some pixels only."""
    torch.manual_seed(0)
    noise = VariationalDequantizer(1)
    optimizer = torch.optim.Adam(noise.parameters(), 1e-2)
    still = torch.distributions.Normal(0.5, WIDTH)
    gains = []
    for _ in range(200):
        x, eps, mode = pictures(side=8, count=16)
        y, weight = noise(x, eps, mode)
        gain = (torch.where(x == mode, still.log_prob(y - x), 0.0) + weight).mean()
        optimizer.zero_grad()
        (-gain).backward()
        optimizer.step()
        gains.append(float(gain.detach()))
    assert gains[0] < -2 and sum(gains[-10:]) / 10 > -0.25  # 0: q is that density


def test_pictures_can_be_bytes() -> None:
    noise = learned()
    x, eps, mode = pictures()
    for one, other in zip(noise(x.byte(), eps, mode.byte()), noise(x, eps, mode), strict=True):
        assert torch.equal(one, other)
