"""Densities against quadrature, and their samples against their densities."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vflow.densities import (
    ENERGIES,
    NAMES,
    TARGETS,
    Density,
    Logistic,
    Normal,
    NormalMixture,
    SphereMixture,
    Uniform,
    UniformCircle,
    UniformSphere,
    VonMises,
    VonMisesFisherMixture,
    VonMisesMixture,
    plane_density,
    target,
)
from vflow.densities.base import von_mises_angles
from vflow.densities.named import target_entropy
from vflow.densities.plane import entropy_by_quadrature
from vflow.errors import ConfigError, InputError

SAMPLES = 4_000


def von_mises() -> VonMises:
    density = VonMises(2, 3.0)
    with torch.no_grad():
        density.location.copy_(torch.tensor([0.5, -1.0]))
    return density


def normal_mixture() -> NormalMixture:
    density = NormalMixture(2, 3)
    with torch.no_grad():
        density.weight.copy_(torch.tensor([0.3, -0.5, 0.8]))
        density.mean.copy_(torch.tensor([[-1.0, 2.0], [0.4, 0.3], [2.0, -1.0]]))
        density.log_scale.copy_(torch.tensor([[-0.3, 0.4], [0.2, -0.5], [-1.0, 0.0]]))
    return density


ON_THE_LINE: dict[str, tuple[Density, float, float]] = {
    "normal": (Normal(2), -9, 9),
    "normal-mixture": (normal_mixture(), -9, 9),
    "logistic": (Logistic(2), -40, 40),
    "uniform": (Uniform(2), 0, 1),
    "circle": (UniformCircle(2), -math.pi, math.pi),
    "von-mises": (von_mises(), -math.pi, math.pi),
    "torus": (VonMisesMixture(torch.tensor([[0.2, 2.8], [1.9, 6.2]]), 2.0), 0, 2 * math.pi),
}


def sphere_mixture() -> SphereMixture:
    density = SphereMixture(3)
    with torch.no_grad():
        density.weight.copy_(torch.tensor([0.5, 0.0, -0.5, -1.0]))
        density.mean.copy_(torch.tensor([[1.0, 0.2, 0.1], [-0.5, 2.0, 0.3], [0.0, -0.3, -1.0]]))
        density.log_precision.copy_(torch.tensor([1.5, 0.5, 1.0]))
        generator = torch.Generator().manual_seed(0)
        density.axes.copy_(torch.randn(3, 2, 3, generator=generator))
    return density.double()


@torch.no_grad()
def test_a_mixture_on_the_sphere_integrates_to_one_and_samples_follow_it() -> None:
    density = sphere_mixture()
    height = (torch.arange(600, dtype=torch.float64) + 0.5) / 300 - 1
    angle = 2 * math.pi * (torch.arange(600, dtype=torch.float64) + 0.5) / 600
    height, angle = torch.cartesian_prod(height, angle).T
    flat = (1 - height.square()).sqrt()
    grid = torch.stack([flat * angle.cos(), flat * angle.sin(), height], 1)
    mass = density.log_prob(grid).exp() * 4 * math.pi / len(grid)
    assert float(mass.sum()) == pytest.approx(1, abs=2e-3)
    x = density.sample(noise(density, 20_000))
    for statistic in (lambda p: p[:, 0], lambda p: p[:, 1] * p[:, 2], density.log_prob):
        mean, error = mean_and_error(statistic(x))
        assert abs(mean - float((statistic(grid) * mass).sum())) < 4 * error + 2e-3


@torch.no_grad()
def test_a_mixture_on_the_sphere_is_placed_on_a_thin_line_and_on_a_few_points() -> None:
    """Eight round components would give about 1 nat, the line itself 4.8."""
    angle = 0.5 * torch.randn(400, generator=torch.Generator().manual_seed(0))
    line = torch.stack([angle.cos(), angle.sin(), 1e-3 * torch.randn(400)], 1)
    line = torch.nn.functional.normalize(line, dim=1)
    density = SphereMixture(8)
    density.initialize(line)
    assert float(density.log_prob(line).mean()) > 2
    few = SphereMixture(64)
    few.initialize(line[:10])
    assert bool(few.log_prob(line).isfinite().all())


def noise(density: Density, count: int = SAMPLES) -> Tensor:
    return torch.randn(count, density.noise_dim, dtype=torch.float64)


def mean_and_error(values: Tensor) -> tuple[float, float]:
    return float(values.mean()), float(values.std() / len(values) ** 0.5)


@pytest.mark.parametrize("name", ON_THE_LINE)
def test_densities_integrate_to_one_and_samples_follow_them(name: str) -> None:
    """The mean of cos and sin of samples, and of log p, against sums over a grid."""
    density, low, high = ON_THE_LINE[name]
    density = density.double()
    step = (high - low) / 600
    axis = low + step * (torch.arange(600, dtype=torch.float64) + 0.5)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        mass = density.log_prob(grid).exp() * step**2
        assert abs(float(mass.sum()) - 1) < 1e-3
        x = density.sample(noise(density))
        for statistic in (lambda p: p[:, 0].cos(), lambda p: (p[:, 0] + p[:, 1]).sin(), density.log_prob):
            mean, error = mean_and_error(statistic(x))
            expected = float((statistic(grid) * mass).nan_to_num().sum())
            assert abs(mean - expected) < 4 * error + 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_plane_densities_have_the_entropy_of_their_samples(name: str) -> None:
    density = plane_density(name)
    points = density.points(SAMPLES, 1)
    mean, error = mean_and_error(-density.log_prob(points.double()))
    assert abs(mean - target_entropy(name)) < 4 * error + 1e-9
    assert float((points.abs() < density.extent).double().mean()) > 0.99


@pytest.mark.parametrize("name", [name for name in NAMES if name != "checkerboard"])
def test_plane_densities_integrate_to_one_and_their_entropy_has_converged(name: str) -> None:
    density = plane_density(name)
    axis = torch.linspace(-5.4, 5.4, 181, dtype=torch.float64)
    total = (
        sum(float(density.log_prob(torch.stack([x.expand_as(axis), axis], 1)).exp().sum()) for x in axis)
        * (10.8 / 180) ** 2
    )
    assert abs(total - 1) < 1e-4
    assert abs(entropy_by_quadrature(density, cells=180) - target_entropy(name)) < 1e-4


@pytest.mark.parametrize("kappa", [1e-12, 0.5, 6.0, 14.0, 15.0, 40.0, 1e3, 1e7, 1e13])
@torch.no_grad()
def test_von_mises_samples_are_as_wide_as_their_concentration_says(kappa: float) -> None:
    """E[κ (1 − cos)] = κ (1 − I₁(κ) / I₀(κ)), over evenly spaced quantiles."""
    density = VonMises(1, kappa).double()
    density.log_concentration.fill_(math.log(kappa))
    level = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    eps = torch.special.ndtri(level)[:, None]
    x = density.sample(eps)
    k = torch.tensor(kappa, dtype=torch.float64)
    exact = float(k * (1 - torch.special.i1e(k) / torch.special.i0e(k))) if kappa < 1e6 else 0.5
    assert float((2 * kappa * (0.5 * x).sin().square()).mean()) == pytest.approx(exact, rel=1e-4)
    assert torch.equal(density.sample(-eps), -x) and bool((x.diff(dim=0) > 0).all())
    ends = density.sample(torch.tensor([[math.nan], [0.0], [-40.0]]).double())
    assert ends.isnan().flatten().tolist() == [True, False, False]


def test_the_slope_of_a_concentrated_von_mises_density_is_right_in_float32() -> None:
    density = VonMises(1, 1e7)
    density.log_prob(torch.zeros(1, 1)).sum().backward()
    assert float(density.log_concentration.grad) == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("kappa", [0.01, 0.7, 6.0, 30.0, 1e6])
def test_von_mises_samples_have_the_implicit_gradient(kappa: float) -> None:
    """∂θ/∂κ = −(∂F/∂κ) / p, by quadrature."""
    eps = torch.tensor([[-3.0], [-1.2], [-0.1], [0.4], [2.0]], dtype=torch.float64)
    k = torch.tensor([kappa], dtype=torch.float64, requires_grad=True)
    theta = von_mises_angles(eps, k)
    gradient = torch.stack([torch.autograd.grad(one, k, retain_graph=True)[0] for one in theta[:, 0]])[:, 0]
    reach = min(math.pi, 12 / kappa**0.5)
    for angle, slope in zip(theta[:, 0].tolist(), gradient.tolist(), strict=True):
        whole = torch.linspace(-reach, reach, 400_001, dtype=torch.float64)
        part = torch.linspace(-reach, angle, 400_001, dtype=torch.float64)
        fall = 2 * (0.5 * whole).sin().square()
        total = torch.trapezoid((-kappa * fall).exp(), whole)
        mean = torch.trapezoid(fall * (-kappa * fall).exp(), whole) / total
        fall = 2 * (0.5 * part).sin().square()
        change = torch.trapezoid((mean - fall) * (-kappa * fall).exp(), part)
        exact = -float(change / (-2 * kappa * torch.tensor(0.5 * angle).double().sin().square()).exp())
        assert slope == pytest.approx(exact, rel=1e-4)
    inputs = (eps.requires_grad_(), k.detach().log().requires_grad_())
    assert torch.autograd.gradcheck(lambda e, log_k: von_mises_angles(e, log_k.exp()), inputs)
    assert torch.autograd.gradgradcheck(lambda e, log_k: von_mises_angles(e, log_k.exp()), inputs, rtol=1e-2)


def test_more_points_leave_the_first_as_they_are() -> None:
    density = plane_density("two-moons")
    assert torch.equal(density.points(20, 3)[:10], density.points(10, 3))
    assert not torch.equal(density.points(10, 4), density.points(10, 3))


def test_an_unknown_density_is_named() -> None:
    with pytest.raises(ConfigError, match=r"three-moons.*two-moons"):
        plane_density("three-moons")


def sphere_grid(cells: int = 300) -> tuple[Tensor, float]:
    """Points (N, 3) of equal area on S², and that area."""
    height = 2 * (torch.arange(cells, dtype=torch.float64) + 0.5) / cells - 1
    angle = 2 * math.pi * torch.arange(cells, dtype=torch.float64) / cells
    height, angle = height.repeat_interleave(cells), angle.repeat(cells)
    radius = (1 - height**2).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), height], 1), 4 * math.pi / cells**2


@pytest.mark.parametrize(
    "density",
    [
        UniformSphere(2),
        VonMisesFisherMixture(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)), 5.0),
    ],
)
def test_densities_on_the_sphere(density: Density) -> None:
    points, area = sphere_grid()
    mass = density.log_prob(points).exp() * area
    assert abs(float(mass.sum()) - 1) < 1e-3
    x = density.sample(noise(density))
    torch.testing.assert_close(x.norm(dim=1), torch.ones(len(x), dtype=x.dtype))
    for axis in range(3):
        mean, error = mean_and_error(x[:, axis])
        assert abs(mean - float((points[:, axis] * mass).sum())) < 4 * error + 1e-3


ALL: dict[str, Density] = {
    **{name: target(name) for name in TARGETS},
    "normal": Normal(2),
    "logistic": Logistic(2),
    "uniform": Uniform(2),
    "circle": UniformCircle(2),
    "von-mises": von_mises(),
    "uniform-sphere": UniformSphere(2),
}
ON_ANGLES = ("torus", "circle", "von-mises")


@pytest.mark.parametrize("name", ALL)
def test_points_of_another_width_are_refused_and_so_is_such_noise(name: str) -> None:
    density = ALL[name]
    for width in (density.dim - 1, density.dim + 1):
        with pytest.raises(InputError, match=rf"x must be a tensor \(B, {density.dim}\).*\(4, {width}\)"):
            density.log_prob(torch.zeros(4, width))
    with pytest.raises(InputError, match=r"floats; got .*int64"):
        density.log_prob(torch.zeros(4, density.dim, dtype=torch.int64))
    with pytest.raises(InputError, match=rf"eps must be a tensor \(B, {density.noise_dim}\)"):
        density.sample(torch.zeros(4, density.noise_dim + 1))


@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_what_is_no_number_has_no_density(name: str) -> None:
    density = ALL[name]
    for dtype in (torch.float32, torch.float64):
        x = density.sample(torch.randn(3, density.noise_dim, dtype=dtype))
        x[1, 0] = torch.nan
        assert density.log_prob(x).isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", [name for name in ALL if name not in ON_ANGLES])
def test_far_points_have_next_to_no_density(name: str, dtype: torch.dtype) -> None:
    density = ALL[name]
    for far in (178.0, 1e4, 1e30, math.inf):
        for point in ([far] + [0.0] * (density.dim - 1), [far] * density.dim, [-far] * density.dim):
            log_p = float(density.log_prob(torch.tensor([point], dtype=dtype)))
            assert log_p <= -0.5 * far, point


def test_float32_knows_the_pinwheel_far_out() -> None:
    x = torch.tensor([[12.0, 5.0], [19.0, -3.0], [178.0, 0.0]])
    pinwheel = target("pinwheel")
    torch.testing.assert_close(
        pinwheel.log_prob(x).double(), pinwheel.log_prob(x.double()), rtol=1e-2, atol=0
    )


@pytest.mark.parametrize("name", ["sphere", "uniform-sphere"])
def test_points_off_the_sphere_have_no_density(name: str) -> None:
    x = ALL[name].sample(torch.randn(5, 3))
    assert ALL[name].log_prob(x).isfinite().all() and ALL[name].log_prob(1.0009 * x).isfinite().all()
    assert ALL[name].log_prob(1.01 * x).tolist() == ALL[name].log_prob(0.99 * x).tolist() == [-math.inf] * 5


def test_energies_are_those_of_the_paper_and_proper() -> None:
    z = torch.tensor([[0.5, -0.3]], dtype=torch.float64)
    wave, bump = math.sin(math.pi / 4), 3 * math.exp(-0.5 * (0.5 / 0.6) ** 2)
    expected = -math.log(
        math.exp(-0.5 * ((-0.3 - wave) / 0.35) ** 2) + math.exp(-0.5 * ((-0.3 - wave + bump) / 0.35) ** 2)
    )
    assert float(ENERGIES["u3"](z)) == pytest.approx(expected)
    assert ENERGIES["u2"].log_normalizer() == pytest.approx(
        math.log(0.4 * math.sqrt(2 * math.pi) * (8 + 0.1 * math.sqrt(2 * math.pi))), abs=1e-3
    )
    for energy in ENERGIES.values():
        assert energy.log_normalizer(cells=700) == pytest.approx(energy.log_normalizer(), abs=1e-3)


def test_samples_of_a_normal_mixture_carry_the_gradient_of_every_parameter() -> None:
    """∂E f(x), by samples, against Σ f ∂p over a grid, for a function that ties the coordinates together."""
    density = normal_mixture().double()
    axis = torch.linspace(-9, 9, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)

    def value(x: Tensor) -> Tensor:
        return (x[:, 0] * x[:, 1]).sin() + x[:, 1].tanh() * x[:, 0]

    mass = density.log_prob(grid).exp() * (axis[1] - axis[0]) ** 2
    exact = torch.autograd.grad((value(grid) * mass).sum(), list(density.parameters()))
    torch.manual_seed(0)
    drawn = [
        torch.autograd.grad(value(density.sample(noise(density))).mean(), list(density.parameters()))
        for _ in range(24)
    ]
    for expected, *found in zip(exact, *drawn, strict=True):
        every = torch.stack(found)
        error = every.std(0) / len(drawn) ** 0.5
        assert bool(((every.mean(0) - expected).abs() < 4 * error + 1e-4).all())
        assert float(error.max()) < 0.2 * float(expected.abs().max())  # so that the bound says something


def test_points_belong_to_the_components_near_them() -> None:
    density = normal_mixture()
    share = density.responsibilities(density.mean.detach())
    assert share.argmax(1).tolist() == [0, 1, 2]
    assert torch.allclose(share.sum(1), torch.ones(3))


def test_a_normal_mixture_is_placed_on_the_clusters_of_a_batch_once() -> None:
    density = NormalMixture(2, 3)
    centre = torch.tensor([[-5.0, 0.0], [5.0, 5.0], [5.0, -5.0]])
    index = torch.arange(400) % 4 % 3  # the first has half of the points
    points = centre[index] + torch.tensor([0.5, 1.5]) * torch.randn(400, 2)
    density.initialize(torch.full((5, 2), math.inf))  # latents that overflowed place nothing
    assert not density.initialized
    density.initialize(torch.cat([points, torch.full((1, 2), math.nan)]))
    order = density.responsibilities(centre).argmax(1)
    assert order.sort().values.tolist() == [0, 1, 2]
    assert density.log_weight().exp()[order].tolist() == pytest.approx([0.5, 0.25, 0.25], abs=0.01)
    assert torch.allclose(density.mean[order], centre, atol=0.5)
    assert torch.allclose(density.log_scale.exp(), torch.tensor([0.5, 1.5]), rtol=0.3)
    before = density.mean.detach().clone()
    density.initialize(points + 9)
    assert torch.equal(density.mean, before)
