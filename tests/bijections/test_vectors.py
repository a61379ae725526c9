"""What single bijections of vectors (B, D, 1, 1) promise beyond the contract."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.bijections.vectors import ELEMENTS, PERIODIC, VECTORS, batchnorm
from vflow.bijections import ActNorm, ActNormLinear, Bijection, Chain, Inverse, marginals
from vflow.bijections.autoregressive import Elementwise
from vflow.bijections.batchnorm import BatchNorm
from vflow.bijections.bumps import RadialBumps
from vflow.bijections.circle import MobiusSum
from vflow.bijections.element import MixtureLogit
from vflow.bijections.marginals import ParetoMarginals
from vflow.bijections.monotone import MonotoneNetwork
from vflow.bijections.permutation import Permutation
from vflow.bijections.planar import Planar, Radial
from vflow.bijections.sigmoid import SigmoidLayer
from vflow.bijections.sphere import Rotation
from vflow.bijections.spline import LogitSpline, RationalQuadraticSpline
from vflow.config import DensityConfig
from vflow.errors import InputError


def test_numerical_inverses_have_derivatives_of_every_mode() -> None:
    bijection, point = Planar(2).double(), torch.randn(2, dtype=torch.float64)

    def total(z: Tensor) -> Tensor:
        x, ladj = bijection.inverse(z[None, :, None, None])
        return x.sum() + ladj.sum()

    gradient = torch.autograd.functional.jacobian(total, point)
    second = torch.autograd.functional.hessian(total, point)
    with torch.autograd.forward_ad.dual_level():
        dual = total(torch.autograd.forward_ad.make_dual(point, torch.ones_like(point)))
        tangent = torch.autograd.forward_ad.unpack_dual(dual).tangent
    torch.testing.assert_close(tangent, gradient.sum())
    torch.testing.assert_close(torch.func.grad(total)(point), gradient)
    torch.testing.assert_close(torch.func.jacrev(torch.func.grad(total))(point), second)


@pytest.mark.parametrize(
    "name", [name for name in ELEMENTS if name not in ("gated", "normals", "laplacians", "mobius")]
)
def test_elements_start_as_the_identity(name: str) -> None:
    element, inputs = ELEMENTS[name]
    x = inputs((5, 4)).double()
    z, log_slope = element.forward(x, torch.zeros(5, 4, element.count, dtype=x.dtype))
    torch.testing.assert_close(z, x)
    torch.testing.assert_close(log_slope, torch.zeros_like(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted(PERIODIC))
def test_maps_of_the_circle_are_periodic_and_keep_one_point(name: str) -> None:
    element = ELEMENTS[name][0]
    h = torch.randn(40, element.count, dtype=torch.float64)
    x = torch.linspace(-9, 9, 40, dtype=torch.float64)
    z, log_slope = element.forward(x, h)
    turned, log_slope_turned = element.forward(x + 2 * math.pi, h)
    torch.testing.assert_close(turned, z + 2 * math.pi)
    torch.testing.assert_close(log_slope_turned, log_slope)
    fixed = torch.full_like(x, 0.0 if name == "mobius" else -math.pi)
    torch.testing.assert_close(element.forward(fixed, h)[0], fixed)


def test_circular_splines_have_one_slope_at_the_seam() -> None:
    element = RationalQuadraticSpline(5, -math.pi, math.pi, "circular")
    h = torch.randn(1, element.count, dtype=torch.float64)
    seam = torch.tensor([math.pi], dtype=torch.float64)
    left, right = element.forward(seam - 1e-9, h)[1], element.forward(seam + 1e-9, h)[1]
    torch.testing.assert_close(left, right, rtol=0, atol=1e-6)


def test_splines_are_inverted_where_rounding_leaves_a_bin() -> None:
    element = RationalQuadraticSpline(8)
    h, z = 10 * torch.randn(200_000, element.count), 10 * torch.rand(200_000) - 5
    x, log_slope = element.inverse(z, h)
    assert bool(log_slope.isfinite().all()) and bool((x.abs() <= 5).all())


@pytest.mark.parametrize(
    "wrong", [{"bins": 0}, {"bins": 1_000}, {"low": 1.0, "high": -1.0}, {"low": -math.inf}, {"ends": "bogus"}]
)
def test_splines_refuse_what_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RationalQuadraticSpline(**wrong)


def test_a_mobius_map_is_the_one_of_the_paper() -> None:
    """(1 − |ω|²) / |z − ω|² · (z − ω) − ω in complex numbers, turned so that angle 0 stays."""
    element = MobiusSum(1)
    h = torch.randn(1, 3, dtype=torch.float64)
    centre = 0.99 * torch.complex(h[:, 1], h[:, 2]) / (1 + h[:, 1] ** 2 + h[:, 2] ** 2).sqrt()

    def image(point: Tensor) -> Tensor:
        return (1 - centre.abs() ** 2) / (point - centre).abs() ** 2 * (point - centre) - centre

    theta = torch.linspace(0.1, 6, 7, dtype=torch.float64)
    expected = image(torch.polar(torch.ones_like(theta), theta)) / image(
        torch.ones(1, dtype=torch.complex128)
    )
    z = element.forward(theta, h.expand(7, 3))[0]
    torch.testing.assert_close(torch.polar(torch.ones_like(z), z), expected)


def test_mixture_logit_is_the_cdf_of_its_mixture() -> None:
    for kind, component in (("normal", torch.distributions.Normal), ("laplace", torch.distributions.Laplace)):
        element = MixtureLogit(2, kind, spread=1.0)
        h = torch.randn(1, 6, dtype=torch.float64)
        weight, mean, scale = element._mixture(h)
        x = torch.tensor([[-30.0], [0.3], [30.0]], dtype=torch.float64)
        parts = component(mean, scale.exp())
        cdf = (weight.exp() * parts.cdf(x)).sum(-1)
        z, log_slope = element.forward(x[:, 0], h.expand(3, 6))
        torch.testing.assert_close(z[1], torch.logit(cdf[1]))
        density = torch.logsumexp(weight + parts.log_prob(x), -1)
        logistic = -z - 2 * torch.nn.functional.softplus(-z)
        torch.testing.assert_close(logistic + log_slope, density)
        assert bool(z.isfinite().all()) and bool((z.abs()[[0, 2]] > 15).all())


@pytest.mark.parametrize("kind", ["normal", "laplace"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_mixture_logit_is_inverted_where_tails_underflow(kind: Any, dtype: torch.dtype) -> None:
    for components in (1, 4):
        element = MixtureLogit(components, kind)
        x = torch.tensor([38.5, 41.0, 100.0, 800.0], dtype=dtype)
        x = torch.cat([-x, x])
        h = 0.2 * torch.randn(len(x), element.count, dtype=dtype)
        z, log_slope = element.forward(x, h)
        back, inverse_slope = element.inverse(z, h)
        torch.testing.assert_close(back, x, rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=0)
        rounding = (
            4 * torch.finfo(dtype).eps * float(z.abs().max())
        )  # the slope is a difference of such numbers
        torch.testing.assert_close(inverse_slope, -log_slope, rtol=0, atol=rounding)


def test_batchnorm_in_training_normalises_by_the_batch_and_moves_its_averages() -> None:
    bijection = batchnorm().double().train()
    mean, variance = bijection.mean.clone(), bijection.variance.clone()
    x = 2 + 3 * torch.randn(50, 3, 1, 1, dtype=torch.float64)
    z, ladj = bijection(x)
    torch.testing.assert_close(z.mean(0).flatten(), torch.zeros(3, dtype=x.dtype), rtol=0, atol=1e-9)
    batch = x.var(0, correction=0).flatten()
    torch.testing.assert_close(ladj, (-0.5 * (batch + 1e-5).log()).sum().expand(50))
    torch.testing.assert_close(bijection.mean, 0.9 * mean + 0.1 * x.mean(0).flatten())
    torch.testing.assert_close(bijection.variance, 0.9 * variance + 0.1 * batch)
    bijection.eval()
    torch.testing.assert_close(bijection.inverse(bijection(x)[0])[0], x)


def test_batchnorm_starts_from_the_batch_it_is_given() -> None:
    bijection = BatchNorm(3).eval()
    z = bijection.initialize(5 + 2 * torch.randn(400, 3, 1, 1))
    torch.testing.assert_close(z.std(0).flatten(), torch.ones(3), rtol=0, atol=0.01)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ActNorm(3),
        lambda: ActNormLinear(3),
        lambda: BatchNorm(3),
        lambda: Chain([BatchNorm(3), Inverse(Rotation(3)), Inverse(ActNorm(3)), ActNorm(3)]),
        lambda: Inverse(Chain([ActNorm(3), Permutation.reverse(3)])),
    ],
)
def test_an_inverse_starts_from_the_batch_it_is_given(make: Callable[[], Bijection]) -> None:
    bijection = Inverse(make()).eval()
    x = 5 + 3 * torch.randn(400, 3, 1, 1)
    z = bijection.initialize(x)
    torch.testing.assert_close(bijection(x)[0], z)
    flat = z.flatten(1)
    torch.testing.assert_close(flat.mean(0), torch.zeros(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(flat.std(0), torch.ones(3), rtol=0, atol=0.01)
    torch.testing.assert_close(bijection.initialize(2 * x), bijection(2 * x)[0])
    torch.testing.assert_close(bijection(x)[0], z)


def test_bumps_inside_an_inverse_are_refused() -> None:
    layers = [{"kind": "repeat", "times": 2, "layers": [{"kind": "bumps"}]}]
    with pytest.raises(ValueError, match="bumps inside an inverse"):
        DensityConfig(layers=[{"kind": "inverse", "layers": layers}])


@pytest.mark.parametrize("make", [lambda: ParetoMarginals(3, 4), lambda: BatchNorm(3), lambda: ActNorm(3)])
def test_initialize_leaves_what_was_loaded(make: Callable[[], Bijection]) -> None:
    first, second = make().eval(), Chain([make().eval()])
    first.initialize(2 + torch.randn(100, 3, 1, 1))
    second.load_state_dict({f"layers.0.{name}": value for name, value in first.state_dict().items()})
    x = 1 - 3 * torch.randn(100, 3, 1, 1)
    torch.testing.assert_close(second.initialize(x), first(x)[0])
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[f"layers.0.{name}"], value), name


@pytest.mark.parametrize("make", [lambda: ParetoMarginals(3, 4), lambda: BatchNorm(3), lambda: ActNorm(3)])
def test_a_state_that_was_never_initialised_leaves_that_to_the_first_batch(
    make: Callable[[], Bijection],
) -> None:
    fresh, loaded = make().eval(), make().eval()
    loaded.load_state_dict(fresh.state_dict())
    x = 1 - 3 * torch.randn(100, 3, 1, 1)
    torch.testing.assert_close(loaded.initialize(x), fresh.initialize(x))


@pytest.mark.parametrize("kind", ["normal", "laplace"])
def test_steep_mixtures_are_inverted_in_float32_with_a_gradient_as_without(kind: Any) -> None:
    element = MixtureLogit(8, kind)
    h = 6 * torch.randn(4000, element.count)
    z = torch.randn(4000)
    for target in (z, z.clone().requires_grad_()):
        x = element.inverse(target, h)[0]
        assert float((element.forward(x.detach(), h)[0] - z).abs().max()) < 1e-3


def test_planar_and_radial_stay_invertible_whatever_their_parameters() -> None:
    for make in (Planar, Radial):
        bijection = make(2).double()
        with torch.no_grad():
            bijection.parameters_of_map.value.copy_(20 * torch.randn_like(bijection.parameters_of_map.value))
        x = 5 * torch.randn(200, 2, 1, 1, dtype=torch.float64)
        z, ladj = bijection(x)
        assert bool(ladj.isfinite().all())
        torch.testing.assert_close(bijection.inverse(z)[0], x, rtol=0, atol=1e-6)


def test_planar_and_radial_have_a_density_where_float32_would_round_their_slope_to_0() -> None:
    planar, radial = Planar(2), Radial(2)
    with torch.no_grad():
        planar.parameters_of_map.value.copy_(torch.tensor([-40.0, 0, 1, 0, 0]))  # wᵀu = −40
        radial.parameters_of_map.value.copy_(torch.tensor([0.0, 0, 3, -40]))  # β = −40
    for bijection in (planar, radial):
        _, ladj = bijection(torch.zeros(1, 2, 1, 1))
        assert bool(ladj.isfinite().all()) and float(ladj) < -10


def test_bumps_start_on_points_far_from_0() -> None:
    bumps = RadialBumps(2, 4).eval()
    z = bumps.initialize(100 * torch.randn(50, 2, 1, 1))
    assert bool(z.isfinite().all()) and float(bumps.log_width.detach().max().exp()) == pytest.approx(3.0)


def test_a_point_at_the_centre_of_a_radial_map_has_finite_gradients() -> None:
    bumps = RadialBumps(2, 1)
    bumps.place(0, torch.zeros(2), 1.0, 0.5)
    x = torch.zeros(1, 2, 1, 1, requires_grad=True)
    z, ladj = bumps(x)
    (z.sum() + ladj.sum()).backward()
    assert x.grad is not None and bool(x.grad.isfinite().all())
    torch.testing.assert_close(ladj, torch.tensor([2 * math.tanh(0.5)]), rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_gaussian_copula_keeps_normal_marginals() -> None:
    bijection = VECTORS["gaussian-copula"].example()[0]
    eps = torch.randn(20_000, 3, 1, 1, dtype=torch.float64)
    x = bijection.inverse(eps)[0].flatten(1)
    torch.testing.assert_close(x.var(0), torch.ones(3, dtype=x.dtype), rtol=0, atol=0.05)
    assert float(torch.corrcoef(x.T).tril(-1).abs().max()) > 0.1


@torch.no_grad()
def test_pareto_marginals_are_continuous_distribution_functions() -> None:
    bijection = ParetoMarginals(1, 6).double()
    bijection.body.add_(torch.randn_like(bijection.body))
    bijection.raw_index.add_(torch.randn_like(bijection.raw_index))
    x = torch.linspace(-300, 300, 400_001, dtype=torch.float64)[:, None, None, None]
    z, ladj = bijection(x)
    u, density = torch.sigmoid(z), ladj + (F.logsigmoid(z) + F.logsigmoid(-z)).flatten()
    assert bool((u[1:] >= u[:-1]).all()) and float(u[0]) < 0.02 and float(u[-1]) > 0.98
    for threshold in bijection.threshold.flatten():
        sides = (threshold + torch.tensor([-1e-9, 1e-9], dtype=torch.float64))[:, None, None, None]
        torch.testing.assert_close(*bijection(sides)[1], rtol=0, atol=1e-6)
        torch.testing.assert_close(*bijection(sides)[0], rtol=0, atol=1e-6)
    mass = torch.trapezoid(density.exp(), x.flatten())
    torch.testing.assert_close(mass, (u[-1] - u[0]).squeeze(), rtol=0, atol=1e-4)


def test_pareto_marginals_refuse_columns_of_ties() -> None:
    bijection, x = ParetoMarginals(3, 6), torch.randn(100, 3, 1, 1)
    x[2:98, 1] = 2.0
    with pytest.raises(InputError, match="column 2: 90% of its values are equal"):
        bijection.initialize(x)
    x[2:20, 1] = 3.0
    assert bool(bijection.initialize(x).isfinite().all())


def test_pareto_marginals_start_on_the_device_of_their_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marginals, "_refuse_ties", lambda threshold: None)  # nor can that
    bijection = ParetoMarginals(2, 6).to("meta")
    bijection.initialized = torch.tensor(False)  # what is on "meta" cannot be read
    assert bijection.initialize(torch.zeros(8, 2, 1, 1, device="meta")).device.type == "meta"


@torch.no_grad()
def test_heavy_tails_keep_their_mass_in_float32() -> None:
    """Round trips of 10⁶ on both sides, with log-dets alike and as in float64; splines in between as well."""
    marginals = ParetoMarginals(2, 6)
    marginals.body.add_(0.3 * torch.randn_like(marginals.body))
    bijection = Chain([marginals, Elementwise(LogitSpline(6), 2)])
    bijection.layers[1].h.add_(0.3 * torch.randn_like(bijection.layers[1].h))
    x = torch.tensor([[-1e6, 1e6], [-1e3, 1e3], [1e6, -1e6], [-2.0, 0.5]])[:, :, None, None]
    for index in (-6.0, -2.0, 0.0):  # ξ from 0.003 to 0.7: masses beyond 10⁶ from e⁻³⁰⁰⁰ to e⁻²²
        marginals.raw_index.fill_(index)
        z, ladj = bijection.float()(x)
        back, inverse_ladj = bijection.inverse(z)
        exact, exact_ladj = bijection.double()(x.double())
        torch.testing.assert_close(back, x, rtol=2e-3 if index == -6 else 1e-4, atol=1e-5)
        torch.testing.assert_close(inverse_ladj, -ladj, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(z.double(), exact, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ladj.double(), exact_ladj, rtol=1e-5, atol=1e-3)


@torch.no_grad()
def test_logit_splines_are_splines_of_the_unit_interval() -> None:
    element, h = LogitSpline(5), torch.randn(200, 16, dtype=torch.float64)
    x = 3 * torch.randn(200, dtype=torch.float64)
    z, log_slope = element.forward(x, h)
    u, log_inner = element.spline.forward(torch.sigmoid(x), h)
    torch.testing.assert_close(torch.sigmoid(z), u)
    logs = F.logsigmoid(x) + F.logsigmoid(-x) - F.logsigmoid(z) - F.logsigmoid(-z)
    torch.testing.assert_close(log_slope, log_inner + logs)


def test_inverses_of_sigmoids_come_as_close_to_0_and_1_as_their_type_allows() -> None:
    bijection = SigmoidLayer(1).double()
    levels = torch.tensor([0.0, 1e-40, 1e-12, 1 - 1e-12, 1.0], dtype=torch.float64)[:, None, None, None]
    x = bijection.inverse(levels)[0]
    assert bool(x.isfinite().all())
    torch.testing.assert_close(bijection(x)[0][1:4], levels[1:4], rtol=1e-10, atol=0)
    assert bool(bijection.float().inverse(levels.float())[0].isfinite().all())


def test_monotone_networks_are_distribution_functions() -> None:
    bijection = MonotoneNetwork(2, 8).double()
    far = torch.tensor([-400.0, 400.0], dtype=torch.float64)[:, None, None, None].expand(-1, 2, -1, -1)
    level = torch.sigmoid(bijection(far)[0]).flatten()
    torch.testing.assert_close(level, torch.tensor([0, 0, 1, 1], dtype=far.dtype))


@pytest.mark.parametrize("raw", [0.0, -1.0, -2.0, -6.0])
def test_monotone_networks_with_wide_units_are_inverted_far_out(raw: float) -> None:
    """Units that are still rising where the broad component has long saturated."""
    for dtype, reach in ((torch.float64, 2000.0), (torch.float32, 300.0)):
        bijection = MonotoneNetwork(1, 16).to(dtype)
        with torch.no_grad():
            bijection.first.fill_(raw)
        x = torch.linspace(-reach, reach, 201, dtype=dtype)[:, None, None, None]
        z, ladj = bijection(x)
        assert bool((z.diff(dim=0) > 0).all())
        back, inverse_ladj = bijection.inverse(z)
        error, tolerance = (back - x).abs().flatten(), torch.finfo(dtype).eps ** 0.5
        # where z is flat its own rounding matters
        room = 8 * torch.finfo(dtype).eps * (1 + z.abs()).flatten() * (-ladj).exp()
        assert bool((error <= tolerance * (1 + x.abs().flatten()) + room).all())
        torch.testing.assert_close(inverse_ladj, -ladj, rtol=0, atol=1e-6 if dtype == torch.float64 else 0.05)
        x.requires_grad_()
        slope = torch.autograd.grad(bijection(x)[0].sum(), x)[0]
        torch.testing.assert_close(slope.flatten().log(), ladj, rtol=1e-4, atol=1e-4)


def test_a_monotone_network_fitted_to_the_empirical_cdf_has_the_density_of_the_data() -> None:
    """The paper's way: regression of F on the shares below each point, no likelihood."""
    points = torch.cat([torch.randn(300, 1) * 0.4 - 1, torch.randn(300, 1) * 0.4 + 1])
    network, targets = MonotoneNetwork(1, 8), (points.argsort(0).argsort(0) + 1) / 601
    optimizer = torch.optim.Adam(network.parameters(), 0.05)
    for _ in range(150):
        loss = (torch.sigmoid(network.logit_cdf(points)[0]) - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = torch.tensor([[-1.0], [0.0], [1.0]])
    logit, log_slope = network.logit_cdf(x)
    density = torch.sigmoid(logit) * torch.sigmoid(-logit) * log_slope.exp()
    true = sum(torch.distributions.Normal(m, 0.4).log_prob(x).exp() / 2 for m in (-1.0, 1.0))
    torch.testing.assert_close(density, true, rtol=0, atol=0.12)


def test_permutation_refuses_what_is_none() -> None:
    with pytest.raises(ValueError, match="permutation"):
        Permutation([0, 0, 1])
