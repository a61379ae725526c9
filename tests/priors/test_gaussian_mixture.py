"""Elementwise mixtures of normal densities as flows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vflow.priors.gaussian import Gaussian
from vflow.priors.gaussian_mixture import GaussianMixture

ELEMENTS, COMPONENTS = 2000, 5


@pytest.fixture
def mixture() -> GaussianMixture:
    torch.manual_seed(0)
    mean, log_scale = 3 * torch.randn(ELEMENTS, COMPONENTS), 1.5 * torch.randn(ELEMENTS, COMPONENTS) - 2
    return GaussianMixture.broadened(mean, log_scale, (4 * torch.randn(ELEMENTS, COMPONENTS)).log_softmax(1))


def normal(count: int = ELEMENTS) -> Tensor:
    return torch.randn(count, dtype=torch.float64)


def test_noise_and_values_are_one_to_one(mixture: GaussianMixture) -> None:
    eps = 1.5 * normal()
    torch.testing.assert_close(mixture.whiten(mixture.sample(eps)), eps, rtol=0, atol=1e-8)


def test_one_component_is_a_gaussian(mixture: GaussianMixture) -> None:
    mean, log_scale = mixture.mean[:, 0], mixture.log_scale[:, 0]
    one = GaussianMixture(mean[:, None], log_scale[:, None], torch.zeros(ELEMENTS, 1))
    gaussian, eps = Gaussian(mean.double(), log_scale.double()), 5 * normal()
    z = gaussian.sample(eps)
    torch.testing.assert_close(one.sample(eps), z)
    torch.testing.assert_close(one.whiten(z), eps)
    torch.testing.assert_close(one.whiten(z + 1e4), gaussian.whiten(z + 1e4), rtol=1e-6, atol=0)
    torch.testing.assert_close(one.log_mass(z, z + 0.1), gaussian.log_mass(z, z + 0.1))
    within, level = torch.special.ndtr(eps), torch.rand(ELEMENTS, dtype=torch.float64)
    above = torch.special.ndtr(gaussian.whiten(z + 0.1))
    drawn = torch.special.ndtr(one.draw_within(z, z + 0.1, level))
    torch.testing.assert_close(drawn, within + level * (above - within))


def test_noise_whose_tail_underflows(mixture: GaussianMixture) -> None:
    eps = torch.linspace(30, 120, ELEMENTS, dtype=torch.float64) * normal().sign()
    one = GaussianMixture(*(field[:, :1] for field in mixture))._replace(log_weight=torch.zeros(ELEMENTS, 1))
    gaussian = Gaussian(one.mean[:, 0].double(), one.log_scale[:, 0].double())
    torch.testing.assert_close(one.sample(eps), gaussian.sample(eps))
    torch.testing.assert_close(one.whiten(gaussian.sample(eps)), eps, rtol=1e-13, atol=0)
    torch.testing.assert_close(mixture.whiten(mixture.sample(eps)), eps, rtol=1e-12, atol=0)


def test_masses_are_integrals_of_the_density(mixture: GaussianMixture) -> None:
    """Of an interval, by the CDF of each component; and of all intervals together, 1."""
    edges = torch.linspace(-400, 400, 801, dtype=torch.float64)
    low, high = (part[:, None].expand(-1, ELEMENTS) for part in (edges[:-1], edges[1:]))
    mass = mixture.log_mass(low, high).exp()
    torch.testing.assert_close(mass.sum(0), torch.ones(ELEMENTS), rtol=0, atol=1e-5)
    shares = [
        torch.special.ndtr((edge[..., None] - mixture.mean) * (-mixture.log_scale.double()).exp())
        for edge in (high[400], low[400])
    ]
    expected = ((shares[0] - shares[1]) * mixture.log_weight.exp()).sum(-1)
    torch.testing.assert_close(mass[400].double(), expected, rtol=1e-4, atol=1e-9)


def test_noise_within_bounds_leads_into_them(mixture: GaussianMixture) -> None:
    """Also between modes, where only the broad component has mass, and far in the tails."""
    for offset in (0.0, 2.0, -5.0, 60.0):
        low = mixture.mean[:, 0].double() + offset
        z = mixture.sample(mixture.draw_within(low, low + 0.5, torch.rand(ELEMENTS)))
        assert ((z > low - 1e-3) & (z < low + 0.5 + 1e-3)).all(), offset


def test_noise_of_cut_densities_is_normal_over_draws(mixture: GaussianMixture) -> None:
    """z drawn, put into a bin of width 1, and its noise there drawn anew: standard normal again."""
    low = mixture.sample(normal()).floor()
    eps = mixture.draw_within(low, low + 1, torch.rand(ELEMENTS))
    quantiles = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    torch.testing.assert_close(torch.special.ndtr(eps.quantile(quantiles)), quantiles, rtol=0, atol=0.03)


def test_a_sample_does_not_depend_on_its_neighbours(mixture: GaussianMixture) -> None:
    eps = normal()
    alone = GaussianMixture(*(field[7:8] for field in mixture)).sample(eps[7:8])
    assert torch.equal(alone, mixture.sample(eps)[7:8])


def test_draws_in_both_tails_stay_within_their_bounds() -> None:
    density = GaussianMixture(torch.zeros(4, 1), torch.zeros(4, 1), torch.zeros(4, 1))
    low, high = torch.tensor([9.0, -9.5, 50.0, -60.0]), torch.tensor([9.5, -9.0, 60.0, -50.0])
    eps = density.draw_within(low, high, torch.tensor([0.25, 0.75, 0.5, 0.5]))
    assert (eps >= low).all() and (eps <= high).all()
    assert 9.02 < eps[0] < 9.04 and abs(eps[1] + eps[0]) < 1e-12
    assert 50 <= eps[2] < 50.1 and -50.1 < eps[3] <= -50, "near the edge next to the mean"


def test_a_temperature_of_one_gaussian_scales_it() -> None:
    mean, log_scale, eps = normal(), normal(), normal()
    one = GaussianMixture(mean[:, None], log_scale[:, None], torch.zeros(ELEMENTS, 1, dtype=torch.float64))
    heat = torch.linspace(0.1, 1.5, ELEMENTS, dtype=torch.float64)
    torch.testing.assert_close(one.tempered(heat).sample(eps), mean + heat * log_scale.exp() * eps)


def test_a_temperature_makes_rare_modes_rarer_and_leaves_even_ones_even() -> None:
    """Of 0.49, 0.02 and 0.49 at T = ½ the rare one keeps 0.02⁴ of 2 · 0.49⁴, by counts of draws."""
    torch.manual_seed(0)
    mean = torch.tensor([-10.0, 0.0, 10.0], dtype=torch.float64).expand(100_000, 3)
    weight = torch.tensor([0.49, 0.02, 0.49], dtype=torch.float64).log().expand_as(mean)
    mixture, eps = GaussianMixture(mean, torch.zeros_like(mean), weight), normal(100_000)
    half = torch.full((100_000,), 0.5)
    before, after = mixture.sample(eps), mixture.tempered(half).sample(eps)
    assert 0.017 < (before.abs() < 5).double().mean() < 0.023
    assert (after.abs() < 5).double().mean() < 1e-4, "1.4e-6 is expected"
    assert 0.49 < (after < 0).double().mean() < 0.51
    assert abs(float((after.abs() - 10).std()) - 0.5) < 0.01


def test_temperatures_one_and_zero(mixture: GaussianMixture) -> None:
    eps = normal()
    torch.testing.assert_close(
        mixture.tempered(torch.ones(ELEMENTS)).sample(eps), mixture.sample(eps), rtol=0, atol=1e-9
    )
    assert torch.equal(mixture.tempered(torch.full((ELEMENTS,), 1.5)).log_weight, mixture.log_weight.double())
    coldest = mixture.tempered(torch.zeros(ELEMENTS))
    spread = coldest.sample(eps) - coldest.sample(-eps)
    assert (spread.abs() < 0.1 * mixture.log_scale.exp().amax(1)).all()
    nearest = (coldest.sample(eps)[:, None] - mixture.mean).abs().amin(1)
    assert (nearest < 0.1 * mixture.log_scale.exp().amax(1)).all(), "at a mode"
    most = mixture.log_scale.exp().amax(1)
    assert ((coldest.sample(0 * eps) - mixture.mode()).abs() < 0.1 * most).all(), "that of the heaviest"
