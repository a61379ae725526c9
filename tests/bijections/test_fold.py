"""Folds: densities of a mixture over sides."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vflow.bijections.fold import Fold


def fold() -> Fold:
    layer = Fold(2, (8,)).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return layer


def points(count: int) -> Tensor:
    return 1.5 * torch.randn(count, 2, 1, 1, dtype=torch.float64)


def log_density(layer: Fold, x: Tensor) -> Tensor:
    """Under a logistic base."""
    z, density = layer.transform(x)
    base = torch.nn.functional.logsigmoid(z) + torch.nn.functional.logsigmoid(-z)
    return base.flatten(1).sum(1) + density.flatten()


def test_the_noise_that_picks_a_side_gives_the_point_back() -> None:
    layer, x = fold(), points(50)
    z, density = layer.transform(x)
    sides = [layer.invert(z, torch.full((50,), eps, dtype=x.dtype)) for eps in (-30.0, 30.0)]
    right = x[:, 0, 0, 0] > 0
    back = torch.where(right[:, None, None, None], sides[0][0], sides[1][0])
    ladj = torch.where(right[:, None, None], sides[0][1], sides[1][1])
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(ladj, -density)


def test_the_densities_of_both_sides_sum_to_the_log_det() -> None:
    """Gates sum to 1, so what is left is |det J|, here by autograd, at the bound of the other layers."""
    layer = fold()
    for x in points(20):
        jacobian = torch.autograd.functional.jacobian(lambda y: layer.transform(y[None])[0][0], x).view(2, 2)
        z, _ = layer.transform(x[None])
        left, right = (-layer.invert(z, torch.full((1,), eps, dtype=x.dtype))[1] for eps in (30.0, -30.0))
        total, wanted = torch.logaddexp(left, right).squeeze(), torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(total, wanted, rtol=0, atol=1e-8)


def test_both_sides_have_one_latent_and_share_its_density() -> None:
    """The gates of the two preimages of a latent sum to 1."""
    layer, x = fold(), points(20)
    mirror = x * torch.tensor([-1.0, 1.0], dtype=x.dtype)[:, None, None]
    (z, density), (other, other_density) = layer.transform(x), layer.transform(mirror)
    torch.testing.assert_close(z, other)
    log_slope = -torch.log(-torch.expm1(-x[:, 0].abs()))
    total = torch.logaddexp(density, other_density).flatten()
    torch.testing.assert_close(total, log_slope.flatten())


@pytest.mark.parametrize("slope", [0.7, 1.0, 1.3])
def test_the_tail_of_the_latent_decides_the_density_on_the_border(slope: float) -> None:
    """Under a logistic base of z · slope, p(x) ~ v^(slope − 1) at a distance v, the same on both sides."""
    layer = fold()
    distance = torch.logspace(-12, -6, 7, dtype=torch.float64)
    sides = []
    for side in (-1, 1):
        x = torch.stack([side * distance, torch.full_like(distance, 0.3)], 1)[:, :, None, None]
        z, density = layer.transform(x)
        first = slope * z[:, 0].flatten()
        base = torch.nn.functional.logsigmoid(first) + torch.nn.functional.logsigmoid(-first)
        sides.append(base + density.flatten())
    torch.testing.assert_close(*sides, rtol=0, atol=1e-4)
    exponent = (sides[0][-1] - sides[0][0]) / (distance[-1] / distance[0]).log()
    torch.testing.assert_close(float(exponent.detach()), slope - 1, rtol=0, atol=1e-4)


def test_the_density_under_a_logistic_base_is_continuous_on_the_border_and_integrates_to_one() -> None:
    layer = fold()
    height = torch.linspace(-3, 3, 9, dtype=torch.float64)
    left, right = (
        log_density(layer, torch.stack([torch.full_like(height, side), height], 1)[:, :, None, None])
        for side in (-1e-7, 1e-7)
    )
    torch.testing.assert_close(left, right, rtol=0, atol=1e-5)
    axis = torch.linspace(-30, 30, 1200, dtype=torch.float64)
    mass = log_density(layer, torch.cartesian_prod(axis, axis)[:, :, None, None]).exp().sum()
    assert abs(float(mass) * (60 / 1199) ** 2 - 1) < 1e-3


def test_samples_follow_the_density() -> None:
    layer = fold()
    base = torch.distributions.Uniform(0.0, 1.0).sample((20_000, 2)).double().clamp(1e-9, 1 - 1e-9)
    x = layer.invert(torch.logit(base)[:, :, None, None], torch.randn(20_000, dtype=torch.float64))[
        0
    ].flatten(1)
    axis = torch.linspace(-25, 25, 1000, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    mass = log_density(layer, grid[:, :, None, None]).exp() * (50 / 999) ** 2
    for statistic in (lambda p: torch.tanh(p[:, 0]), lambda p: torch.tanh(p[:, 0] * p[:, 1])):
        values = statistic(x)
        error = 4 * float(values.std()) / len(values) ** 0.5
        assert abs(float(values.mean()) - float((statistic(grid) * mass).sum())) < error + 1e-3
