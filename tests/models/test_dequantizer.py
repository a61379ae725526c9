"""Learned dequantisation noise: in its bin, of the density it says, uniform at first, narrow if it pays."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vflow.bijections import AnchoredDequantizer, GaussianDequantizer, UniformDequantizer
from vflow.bijections.dequantize import MARGIN, WIDTH
from vflow.models.dequantizer import VariationalDequantizer, build_dequantizer


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
    kinds = [type(build_dequantizer(kind, 3)) for kind in ("uniform", "gaussian", "anchored", "learned")]
    assert kinds == [UniformDequantizer, GaussianDequantizer, AnchoredDequantizer, VariationalDequantizer]


@pytest.mark.parametrize("with_mode", [True, False])
def test_it_stays_inside_the_bin(with_mode: bool) -> None:
    x, eps, mode = pictures(channels=3, side=8)
    for noise in (eps, torch.full_like(eps, torch.inf), torch.full_like(eps, -100.0)):
        y, weight = learned(3)(x, noise, mode if with_mode else None)
        assert torch.equal(y.floor(), x) and y.shape == weight.shape == x.shape
        assert torch.isfinite(weight).all()
        assert y.dtype == weight.dtype == torch.float32


def test_weight_is_minus_the_log_of_the_density() -> None:
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


def test_it_starts_as_uniform_noise() -> None:
    torch.manual_seed(0)
    noise = VariationalDequantizer(1)
    x, eps, mode = pictures(side=16, count=64)
    y, weight = noise(x, eps, mode)
    u = (y - x).detach().flatten().sort().values
    assert (u - torch.linspace(0, 1, len(u))).abs().max() < 0.02
    assert torch.allclose(weight.sum((1, 2, 3)), torch.tensor(256 * math.log1p(-2 * MARGIN)), atol=1e-2)


def test_it_learns_to_be_narrow_here_and_uniform_there() -> None:
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
