"""Density models: every preset is a density, and its samples follow it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from vflow.config.base import parse
from vflow.config.density import READING, Bijective, DensityConfig, nested
from vflow.config.presets import load_preset, preset_names
from vflow.densities import ENERGIES, plane_density
from vflow.errors import ConfigError, InputError
from vflow.models.density import DensityModel, build_chain
from vflow.models.flow import PointBatch

PRESETS = [name for name in preset_names() if load_preset(name).model.family == "density"]
TORI = ("circular-spline", "mobius")
HEAVY = ("copula", "marginal-tails")
WIDE = ("deep-density",)  # away from data its stack is as wide as its leaks make it
SPHERES = ("sphere", "earth")
PLANE = [name for name in PRESETS if name not in (*TORI, *SPHERES, *HEAVY, *WIDE)]


def density_config(name: str) -> DensityConfig:
    config = load_preset(name).model
    assert isinstance(config, DensityConfig)
    return config


def perturbed(name: str) -> DensityModel:
    """The model of a preset away from its starting point, in float64."""
    config = density_config(name)
    model = DensityModel(config).double().eval()
    if name not in (*TORI, *SPHERES):
        model.initialize(PointBatch(1.5 * torch.randn(500, 2, dtype=torch.float64)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    return model


def build(**entries: Any) -> DensityConfig:
    return parse(DensityConfig, entries, "test")


def noise(model: DensityModel, count: int) -> Tensor:
    return torch.randn(count, model.noise_dim, dtype=torch.float64)


def grid(low: float, high: float, cells: int) -> tuple[Tensor, float]:
    """Middles (cells², 2) of the cells of a square, and the area of a cell."""
    axis = low + (high - low) / cells * (torch.arange(cells, dtype=torch.float64) + 0.5)
    return torch.cartesian_prod(axis, axis), ((high - low) / cells) ** 2


@pytest.mark.parametrize("name", PRESETS)
@torch.no_grad()
def test_samples_come_with_the_density_that_the_model_gives_them(name: str) -> None:
    model = perturbed(name)
    x, log_prob = model.sample_with_log_prob(noise(model, 20))
    assert x.shape == (20, model.config.dim) and bool(x.isfinite().all())
    torch.testing.assert_close(model.log_prob(x), log_prob, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [*PLANE, *TORI])
@torch.no_grad()
def test_densities_integrate_to_one(name: str) -> None:
    torch.manual_seed(1)
    model = perturbed(name)
    points, area = grid(-math.pi, math.pi, 60) if name in TORI else grid(-10, 10, 100)
    log_prob = model.log_prob(points)
    assert float(log_prob.exp().sum() * area) == pytest.approx(1, abs=0.05)
    assert float(log_prob.max() - log_prob.min()) > 0.1


@torch.no_grad()
def test_sigmoid_layers_are_a_density_on_the_plane() -> None:
    layers = [{"kind": "sigmoid", "leak": 0.3}, {"kind": "actnorm"}, {"kind": "sigmoid"}]
    model = DensityModel(build(base="uniform", layers=layers)).double()
    model.initialize(PointBatch(torch.randn(500, 2, dtype=torch.float64)))
    for parameter in model.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    points, area = grid(-60, 60, 200)
    assert float(model.log_prob(points).exp().sum() * area) == pytest.approx(1, abs=0.01)


@torch.no_grad()
def test_samples_follow_the_density() -> None:
    model = perturbed("realnvp")
    x = model.sample(noise(model, 10_000))
    points, area = grid(-10, 10, 100)
    mass = model.log_prob(points).exp() * area
    for statistic in (lambda p: torch.tanh(p[:, 0]), lambda p: torch.tanh(p[:, 0] * p[:, 1])):
        values = statistic(x)
        error = 4 * float(values.std()) / len(values) ** 0.5
        assert abs(float(values.mean()) - float((statistic(points) * mass).sum())) < error + 1e-3


@torch.no_grad()
def test_nice_scales_volume_alike_everywhere() -> None:
    model = perturbed("nice")
    x = torch.randn(200, 2, 1, 1, dtype=torch.float64)
    *couplings, scaling = model.flows[0].layers[1:]
    for layer in couplings:
        x, ladj = layer(x)
        assert float(ladj.abs().max()) == 0
    ladj = scaling(x)[1]
    assert float(ladj.std()) < 1e-12 and float(ladj[0]) != 0


@torch.no_grad()
def test_stages_lead_from_the_base_to_the_sample() -> None:
    model = perturbed("rad")
    eps = noise(model, 5)
    stages = model.stages(eps)
    assert torch.equal(stages[0], model.base.sample(eps[:, :2]))
    assert torch.equal(stages[-1], model.sample(eps))
    assert len(stages) == 1 + sum(len(flow.layers) for flow in model.flows) + len(model.folds)


@torch.no_grad()
def test_a_condition_changes_the_density_and_each_one_integrates_to_one() -> None:
    layers = [{"kind": "autoregressive", "hidden": [8]}, {"kind": "coupling", "hidden": [8]}]
    model = DensityModel(build(features=1, layers=layers)).double()
    for parameter in model.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    points, area = grid(-10, 10, 100)
    first, second = (model.log_prob(points, torch.full_like(points[:, :1], c)) for c in (-1.0, 1.0))
    assert not torch.equal(first, second)
    for log_prob in (first, second):
        assert float(log_prob.exp().sum() * area) == pytest.approx(1, abs=0.01)


@torch.no_grad()
def test_bumps_placed_on_a_batch_raise_its_likelihood() -> None:
    points = plane_density("two-moons").points(1000, 0)
    layers: list[dict[str, Any]] = [{"kind": "actnorm"}]
    values = []
    for extra in ([], [{"kind": "bumps", "count": 20}], [{"kind": "bumps", "count": 60}]):
        model = DensityModel(build(layers=[*layers, *extra]))
        model.initialize(PointBatch(points))
        values.append(float(model.log_prob(points).mean()))
    assert values[0] + 0.1 < values[1] < values[2]


AFFINE: dict[str, Any] = {"kind": "elementwise"}
CALLS: dict[str, Callable[[DensityModel, Tensor, Tensor | None], Any]] = {
    "log_prob": DensityModel.log_prob,
    "forward": lambda model, rows, condition: model(PointBatch(rows, condition)),
    "initialize": lambda model, rows, condition: model.initialize(PointBatch(rows, condition)),
    "reconstruct": lambda model, rows, condition: model.reconstruct(PointBatch(rows, condition)),
    "sample": DensityModel.sample,
    "sample_with_log_prob": DensityModel.sample_with_log_prob,
    "stages": DensityModel.stages,
    "energy": lambda model, rows, condition: model(PointBatch(rows, condition, ENERGIES["u1"])),
    "initialize-energy": lambda model, rows, condition: model.initialize(
        PointBatch(rows, condition, ENERGIES["u1"])
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_points_and_noise_of_another_shape_or_type_are_refused(call: str) -> None:
    model = DensityModel(build(layers=[AFFINE, {"kind": "fold"}, AFFINE]))
    of_noise = call in ("sample", "sample_with_log_prob", "stages", "energy", "initialize-energy")
    width = model.noise_dim if of_noise else model.config.dim
    assert (width == 3) is of_noise
    CALLS[call](model, torch.randn(4, width), None)
    faulty: tuple[tuple[Any, str], ...] = (
        (torch.zeros(4, width - 1), rf"\(4, {width - 1}\), float32"),
        (torch.zeros(4, width + 1), rf"\(4, {width + 1}\), float32"),
        (torch.zeros(width), rf"\({width},\), float32"),
        (torch.zeros(4, width).double(), rf"\(4, {width}\), float64"),
        (torch.zeros(4, width).long(), rf"\(4, {width}\), int64"),
        (torch.zeros(4, width).numpy(), "ndarray"),
    )
    name = "eps" if of_noise else "points"
    for rows, got in faulty:
        with pytest.raises(InputError, match=rf"{name} must be a tensor \(B, {width}\), float32; got {got}"):
            CALLS[call](model, rows, None)
    CALLS[call](model.double(), torch.zeros(4, width).double(), None)


@pytest.mark.parametrize("kind", sorted(READING))
def test_a_conditional_model_needs_its_condition_and_another_takes_none(kind: str) -> None:
    conditional, plain = (DensityModel(build(features=n, layers=[{"kind": kind}])) for n in (3, 0))
    rows, condition = torch.randn(4, 2), torch.randn(4, 3)
    faulty: tuple[tuple[Any, str], ...] = (
        (None, r"needs a condition: a tensor \(4, 3\)"),
        (condition[:, :2], r"condition must be a tensor \(B, 3\), float32; got \(4, 2\), float32"),
        (condition.double(), r"condition must be a tensor \(B, 3\), float32; got \(4, 3\), float64"),
        (condition[0], r"condition must be a tensor \(B, 3\), float32; got \(3,\), float32"),
        (condition[:1], "1 condition for 4"),
    )
    for call in CALLS.values():
        call(conditional, rows, condition)
        call(plain, rows, None)
        for given, message in faulty:
            with pytest.raises(InputError, match=message):
                call(conditional, rows, given)
        with pytest.raises(InputError, match="takes no condition"):
            call(plain, rows, condition)


LEAVES = {layer.model_fields["kind"].default for layer in get_args(Bijective)} - {
    "sphere",
    "inverse",
    "repeat",
}


@pytest.mark.parametrize("kind", sorted(LEAVES))
@torch.no_grad()
def test_layers_that_read_a_condition_are_those_that_a_configuration_with_one_needs(kind: str) -> None:
    layer = build(layers=[{"kind": kind}], base="uniform" if kind == "sigmoid" else "normal").layers[0]
    chain = build_chain([layer], 2, 1).eval()  # type: ignore[list-item]
    for parameter in chain.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.randn(20, 2, 1, 1)
    (z, ladj), (other, other_ladj) = (chain(x, torch.full((20, 1, 1, 1), value)) for value in (-1.0, 1.0))
    assert (not torch.equal(z, other) or not torch.equal(ladj, other_ladj)) is (kind in READING)


MARGINALS: dict[str, Any] = {"kind": "marginals"}
SIGMOID: dict[str, Any] = {"kind": "sigmoid"}


def _spline(low: float) -> dict[str, Any]:
    return {"kind": "spline", "low": low, "high": 1.0, "ends": "free"}


COPULA: dict[str, Any] = {"kind": "elementwise", "element": _spline(0)}
TURN = {"kind": "mobius"}
HEIGHT: dict[str, Any] = {
    "kind": "coupling",
    "keep": "first",
    "element": {"kind": "spline", "low": -1.0, "high": 1.0, "ends": "free"},
}


def _angles(**changes: Any) -> dict[str, Any]:
    spline = {"kind": "spline", "low": -math.pi, "high": math.pi, "ends": "circular", **changes}
    return {"kind": "elementwise", "element": spline}


def _sphere(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "sphere", "layers": list(layers)}


def _inverse(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "inverse", "layers": list(layers)}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"dim": 1, "layers": [{"kind": "coupling"}]}, "dim 1: a layer of kind coupling"),
        (
            {"dim": 1, "layers": [{"kind": "inverse", "layers": [{"kind": "coupling"}]}]},
            "dim 1: a layer of kind coupling",
        ),
        ({"layers": [{"kind": "repeat", "times": 2, "layers": [{"kind": "fold"}]}]}, "fold"),
        ({"layers": [{"kind": "coupling", "residual": True, "hidden": [8, 4]}]}, "one width"),
        ({"layers": [{"kind": "coupling", "width": 8}]}, "unknown key"),
        ({"features": 3, "layers": [{"kind": "actnorm"}]}, "features 3: no layer reads a condition"),
        ({"features": 1}, "features 1: no layer reads a condition"),
        (
            {"base": "sphere", "dim": 4, "layers": [_sphere(_sphere({"kind": "permutation"}))]},
            "inside a sphere",
        ),
        (
            {"base": "sphere", "dim": 3, "layers": [{"kind": "actnorm"}]},
            "over base: sphere leads off the sphere",
        ),
        (
            {"base": "sphere", "dim": 3, "layers": [_inverse({"kind": "planar"})]},
            "kind planar over base: sphere",
        ),
        ({"base": "sphere", "dim": 3, "layers": [_sphere(MARGINALS)]}, "kind marginals inside a sphere"),
        ({"base": "sphere", "dim": 3, "layers": [_sphere(_inverse(MARGINALS))]}, "inside a sphere"),
        (
            {"base": "sphere", "dim": 3, "layers": [_sphere({"kind": "actnorm"})]},
            "kind actnorm inside a sphere",
        ),
        (
            {
                "base": "sphere",
                "dim": 3,
                "layers": [_sphere({"kind": "coupling", "keep": "first", "periodic": True})],
            },
            "kind coupling inside a sphere",
        ),
        ({"base": "sphere", "dim": 3, "layers": [_sphere(HEIGHT)]}, "periodic: true"),
        ({"base": "sphere", "dim": 3, "layers": [_sphere({"kind": "permutation"})]}, "leave the angle"),
        ({"base": "circle", "layers": [{"kind": "actnorm"}]}, "kind actnorm over base: circle is no density"),
        ({"base": "von-mises", "layers": [_inverse({"kind": "elementwise"})]}, "over base: von-mises"),
        ({"base": "circle", "layers": [{"kind": "fold"}]}, "kind fold over base: circle"),
        ({"base": "circle", "layers": [{"kind": "autoregressive", "element": TURN}]}, "periodic: true"),
        ({"base": "circle", "layers": [_angles(high=3.0)]}, "period 2π"),
        ({"base": "circle", "layers": [_angles(ends="linear")]}, "period 2π"),
        ({"dim": 3, "layers": [_inverse(_sphere({"kind": "permutation"}))]}, "base: sphere"),
        ({"base": "uniform", "layers": [MARGINALS]}, "logit-spline"),
        ({"base": "uniform", "layers": [MARGINALS, COPULA]}, "logit-spline"),
        ({"base": "uniform", "layers": [{"kind": "repeat", "times": 2, "layers": [MARGINALS]}]}, "logistic"),
        ({"base": "uniform", "layers": [_inverse(MARGINALS)]}, "lead away"),
        ({"layers": [_inverse(SIGMOID, SIGMOID)]}, "no longer lie on the unit cube"),
        ({"layers": [_inverse(SIGMOID, MARGINALS)]}, "no longer lie on the unit cube"),
        ({"layers": [SIGMOID, _inverse(SIGMOID), SIGMOID]}, "base: uniform"),
        ({"layers": [SIGMOID]}, "base: uniform"),
        ({"base": "logistic", "layers": [{"kind": "actnorm"}, SIGMOID]}, "base: uniform"),
        ({"base": "uniform", "layers": [SIGMOID, SIGMOID]}, "a layer of kind sigmoid after one"),
        ({"base": "uniform", "layers": [SIGMOID, MARGINALS]}, "kind marginals leads off"),
        ({"base": "uniform", "layers": [_inverse(SIGMOID)]}, "lead away"),
        ({"base": "uniform", "layers": [SIGMOID, {"kind": "elementwise"}]}, "kind elementwise leads off"),
        ({"base": "uniform", "layers": [SIGMOID, _inverse({"kind": "actnorm"})]}, "kind actnorm leads off"),
        ({"base": "uniform", "layers": [SIGMOID, {**COPULA, "element": _spline(-1)}]}, "leads off"),
        ({"base": "uniform", "layers": [SIGMOID, {"kind": "sigmoid", "leak": 0.5}]}, "sigmoid leads off"),
        ({"base": "mixture"}, "base: Input should be 'normal'"),
        ({"base": {"kind": "mixture"}}, "base"),
        ({"base": {"kind": "normal-mixture", "component": 3}}, "did you mean 'base.components'"),
        ({"dim": 2, "base": {"kind": "sphere-mixture"}}, "dim 2"),
        ({"base": {"kind": "normal-mixture"}, "layers": [SIGMOID]}, "base: uniform"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(entries: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build(**entries)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "onto, between", [(MARGINALS, {**COPULA, "element": {"kind": "logit-spline"}}), (SIGMOID, COPULA)]
)
@torch.no_grad()
def test_layers_onto_the_cube_and_their_inverse_are_a_density(
    onto: dict[str, Any], between: dict[str, Any]
) -> None:
    build(dim=1, layers=[_inverse(onto)])  # of points on the unit cube, or of any
    turned = [{**between, "kind": "coupling"}, {"kind": "permutation"}, {**between, "kind": "autoregressive"}]
    build(base="logistic" if onto is MARGINALS else "uniform", layers=[onto, *turned, _inverse(*turned)])
    model = DensityModel(build(dim=1, layers=[onto, between, _inverse(onto)])).double()
    for parameter in model.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    points = (torch.arange(4000, dtype=torch.float64) + 0.5)[:, None] / 50 - 40
    assert float(model.log_prob(points).exp().sum() / 50) == pytest.approx(1, abs=0.02)


def test_a_mixture_as_base_is_placed_on_a_batch_and_fits_clusters_better() -> None:
    """Against the density that moves and scales the same points alone."""
    target = plane_density("eight-gaussians")
    points = target.points(2_000, 1)
    nats = {}
    for base in ("normal", {"kind": "normal-mixture", "components": 8}):
        model = DensityModel(build(base=base, layers=[{"kind": "actnorm"}]))
        model.initialize(PointBatch(points))
        with torch.no_grad():
            nats[str(base)] = -float(model.log_prob(target.points(2_000, 2)).mean())
            x, log_p = model.sample_with_log_prob(torch.randn(500, model.noise_dim))
            assert torch.allclose(model.log_prob(x), log_p, atol=1e-4)
    plain, mixture = nats.values()
    assert mixture < target.entropy() + 0.1 < plain - 0.5


def test_only_batch_norm_uses_statistics_of_the_batch() -> None:
    assert density_config("realnvp").uses_batch_statistics
    assert not density_config("maf").uses_batch_statistics


def test_degrees_of_narrow_networks_are_what_the_configuration_says() -> None:
    """A configuration that names none has those of its time; presets spread them."""
    layer = {"kind": "autoregressive", "hidden": [4]}
    for degrees, read in (({}, 4), ({"degrees": "spread"}, 8)):
        model = DensityModel(build(dim=9, layers=[{**layer, **degrees}]))
        mask = model.flows[0].layers[0].net.hidden[0].mask
        assert int(mask.flatten(0, -2).any(0).sum()) == read
    named = [layer for layer in nested(density_config("maf").layers) if layer.kind == "autoregressive"]
    assert [layer.degrees for layer in named] == ["spread"]


@torch.no_grad()
def test_layers_that_are_let_through_over_angles_and_inside_spheres_are_a_density() -> None:
    turn, half = {"kind": "permutation"}, {**HEIGHT, "keep": "last", "element": TURN}
    layers = [
        turn,
        {**half, "keep": "even", "periodic": True},
        turn,
        _inverse(_angles()),
        {"kind": "elementwise", "element": TURN},
    ]
    points, area = grid(-math.pi, math.pi, 200)
    torus = DensityModel(build(base="circle", layers=layers)).double()
    heights = {**HEIGHT, "periodic": True}
    ball = DensityModel(
        build(dim=3, base="sphere", layers=[_sphere(turn, {**heights, "keep": "last"}, turn, half)])
    ).double()
    for parameter in [*torus.parameters(), *ball.parameters()]:
        parameter.add_(0.1 * torch.randn_like(parameter))
    assert float(torus.log_prob(points).exp().sum() * area) == pytest.approx(1, abs=1e-3)
    angle, height = points.T / torch.tensor([[1], [math.pi]])
    ring = (1 - height.square()).sqrt()
    rows = torch.stack([ring * angle.cos(), ring * angle.sin(), height], 1)
    assert float(ball.log_prob(rows).exp().sum() * area / math.pi) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("holder", ["inverse", "repeat"])
def test_batch_norm_is_found_inside_other_layers(holder: str) -> None:
    times = {"times": 2} if holder == "repeat" else {}
    inner = {"kind": holder, "layers": [{"kind": "batchnorm"}], **times}
    assert build(layers=[inner]).uses_batch_statistics
