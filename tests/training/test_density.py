"""Training of density models in one process."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from vflow.bijections import Permutation
from vflow.config import TrainingConfig
from vflow.config.base import parse
from vflow.config.density import CouplingLayer, DensityConfig, LinearLayer
from vflow.config.presets import load_preset
from vflow.densities import ENERGIES, Energy, Normal, plane_density
from vflow.densities.inverse import Arm
from vflow.densities.named import target_entropy
from vflow.errors import ConfigError, InputError
from vflow.models.density import DensityModel
from vflow.models.flow import Flow, PointBatch
from vflow.models.importance import importance_sample
from vflow.randomness import generator
from vflow.training.density import energy_weight, fit, fit_energy, optimize
from vflow.training.ema import Ema
from vflow.training.inverse import fit_posterior


def training(steps: int, rate: float = 5e-3) -> TrainingConfig:
    return TrainingConfig(
        batch_size=256, max_steps=steps, learning_rate=rate, warmup_steps=10, ema=0.9, actnorm_batch=500
    )


def model_of(preset: str) -> DensityModel:
    torch.manual_seed(0)
    config = load_preset(preset).model
    assert isinstance(config, DensityConfig)
    return DensityModel(config)


def test_rnade_comes_close_to_the_entropy_of_two_moons() -> None:
    density, model = plane_density("two-moons"), model_of("rnade")
    progress = list(fit(model, density.points(30_000, "train"), training(200, 1e-2)))
    assert [p.step for p in progress] == list(range(1, 201))
    with torch.no_grad():
        nats = -float(model.log_prob(density.points(4000, "test")).mean())
    assert target_entropy("two-moons") < nats + 0.03 and nats < target_entropy("two-moons") + 0.25


def test_tail_indices_are_recovered() -> None:
    """Two-sided Pareto densities: beyond every threshold their excess is of the family that is learned."""
    index = np.array([0.2, 0.8])
    random = generator("tails")
    excess = np.expm1(-index * np.log1p(-random.random((40_000, 2)))) / index
    points = torch.from_numpy(excess * random.choice([-1, 1], excess.shape)).float()
    model = model_of("marginal-tails")
    for _ in fit(model, points, training(600, 5e-2)):
        pass
    learned = model.flows[0].layers[0].tail_index.detach()
    torch.testing.assert_close(learned, torch.from_numpy(index).float().expand(2, -1), rtol=0, atol=0.12)


def test_training_depends_on_its_seed_alone() -> None:
    points = plane_density("pinwheel").points(3000, 0)
    values = []
    for seed in (0, 0, 1):
        config = training(15).model_copy(update={"seed": seed})
        values.append([p.nats for p in fit(model_of("rnade"), points, config)])
    assert values[0] == values[1] != values[2]


def test_the_weight_of_an_energy_rises_over_the_first_half() -> None:
    weights = [energy_weight(share) for share in (0.0, 0.25, 0.5, 0.75)]
    assert weights == pytest.approx([0.01, 0.51, 1, 1])


def test_weights_end_as_their_moving_average() -> None:
    model = torch.nn.Linear(3, 1)
    average = Ema(model, 0.9)
    for progress in optimize(model, lambda share: (model.weight - 3).square().sum(), training(30)):
        average.update(model, progress.step - 1)
    for name, value in average.tensors().items():
        torch.testing.assert_close(model.get_parameter(name).detach(), value)


def test_stopping_early_keeps_what_is_learned() -> None:
    points, model = plane_density("two-moons").points(3000, 0), model_of("rnade")
    run = fit(model, points, training(1000))
    first = next(run).nats
    for _ in itertools.islice(run, 60):
        pass
    run.close()
    assert not model.training
    with torch.no_grad():
        assert -float(model.log_prob(points).mean()) < first - 0.1


def test_held_out_points_choose_the_weights() -> None:
    """A network far too large for 40 points: held-out likelihood is best early, and that is what stays."""
    density, model = plane_density("two-moons"), model_of("rnade")
    held_out = PointBatch(density.points(500, "validation"))
    config = training(400, 2e-2).model_copy(update={"validate_every": 20})
    run = list(fit(model, density.points(40, "train"), config, validation=held_out, patience=3))
    scored = [p for p in run if p.val_nats is not None]
    assert [p.step for p in scored] == list(range(20, len(run) + 1, 20)) and len(run) < 400
    values = [p.val_nats for p in scored]
    assert values.index(min(values)) == len(values) - 4 < 12
    with torch.no_grad():
        kept = -float(model.log_prob(held_out.points).mean())
    assert kept == pytest.approx(min(values), abs=1e-5) and not model.training


def test_running_averages_are_those_of_the_best_weights() -> None:
    layers = [{"kind": "batchnorm"}, {"kind": "coupling", "hidden": [4]}, {"kind": "batchnorm"}]
    model = DensityModel(parse(DensityConfig, {"layers": layers}, "test"))
    points = plane_density("two-moons").points(60, "train")
    held_out = PointBatch(plane_density("two-moons").points(200, "validation"))
    config = training(30, 0.1).model_copy(update={"validate_every": 5, "batch_size": 8})
    values = [p.val_nats for p in fit(model, points, config, validation=held_out) if p.val_nats is not None]
    assert min(values) < values[-1], "the last weights are not the best"
    with torch.no_grad():
        assert -float(model.log_prob(held_out.points).mean()) == pytest.approx(min(values), abs=1e-5)


def test_validation_leaves_training_as_it_is() -> None:
    points = plane_density("pinwheel").points(3000, 0)
    config = training(15).model_copy(update={"validate_every": 4})
    alone = [p.nats for p in fit(model_of("rnade"), points, config)]
    scored = list(fit(model_of("rnade"), points, config, validation=PointBatch(points[:50])))
    assert [p.nats for p in scored] == alone
    assert [p.step for p in scored if p.val_nats is not None] == [4, 8, 12, 15]


@pytest.mark.parametrize(
    "kwargs, error, message",
    [
        ({"patience": 2}, ConfigError, "patience: goes with validation; "),
        ({"validation": PointBatch(torch.zeros(4, 2)), "patience": 0}, ConfigError, "patience 0: must be "),
        ({"validation": PointBatch(torch.zeros(4, 3))}, InputError, "validation points"),
        (
            {"validation": PointBatch(torch.full((4, 2), math.nan))},
            InputError,
            r"validation points\[0\] holds",
        ),
        ({"validation": PointBatch(torch.zeros(0, 2))}, InputError, "^validation points: there are none; "),
    ],
)
def test_held_out_points_that_do_not_suit_are_refused(
    kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    points = plane_density("pinwheel").points(100, 0)
    with pytest.raises(error, match=message):
        next(fit(model_of("rnade"), points, training(5), **kwargs))


def test_no_points_are_refused() -> None:
    with pytest.raises(InputError, match=r"^points: there are none; give at least one row$"):
        next(fit(model_of("rnade"), torch.zeros(0, 2), training(5)))


def test_conditions_come_with_their_points() -> None:
    """p(x | c) = N(c, 0.1²): half a nat per point is lost if a condition goes to another point."""
    layers = [{"kind": "actnorm"}, {"kind": "elementwise"}]
    model = DensityModel(parse(DensityConfig, {"dim": 1, "features": 1, "layers": layers}, "test"))
    conditions = torch.randn(3000, 1)
    points = conditions + 0.1 * torch.randn(3000, 1)
    progress = list(fit(model, points, training(300, 5e-2), conditions=conditions))
    entropy = 0.5 + 0.5 * np.log(2 * np.pi) + np.log(0.1)
    assert np.mean([p.nats for p in progress[-50:]]) == pytest.approx(entropy, abs=0.1)
    for given, message in (
        (None, "conditions: the model needs them, a tensor"),
        (conditions[:-1], "2999 conditions for 3000 points"),
    ):
        with pytest.raises(InputError, match=message):
            next(fit(model, points, training(1), conditions=given))
    with pytest.raises(InputError, match="validation conditions: the model needs them"):
        next(fit(model, points, training(1), conditions=conditions, validation=PointBatch(points[:4])))
    plain = DensityModel(parse(DensityConfig, {"dim": 1, "layers": layers}, "test"))
    with pytest.raises(InputError, match="takes no condition"):
        next(fit(plain, points, training(1), conditions=conditions))


def test_reverse_kl_to_an_energy_falls() -> None:
    """A normal that starts between the energy's two modes, where its mean is held by symmetry: it narrows."""
    layers = [{"kind": "elementwise"}]
    torch.manual_seed(0)
    model, energy = DensityModel(parse(DensityConfig, {"layers": layers}, "test")), ENERGIES["u1"]

    def divergence() -> float:
        with torch.no_grad():
            x, log_q = model.sample_with_log_prob(torch.randn(4000, 2))
            return float((log_q + energy(x)).mean()) + energy.log_normalizer()

    before = divergence()
    losses = [p.nats for p in fit_energy(model, energy, training(150, 2e-2))]
    after = divergence()
    assert -0.02 < after < before - 1
    assert losses[-1] == pytest.approx(after - energy.log_normalizer(), abs=0.5)


def test_reverse_kl_learns_the_posterior_of_each_condition() -> None:
    """Prior N(0, 1) and y = x + 0.5 ε: x | y is N(0.8 y, 0.2), and Z = p(y) = N(y; 0, 1.25)."""

    def energy(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        prior, likelihood = (torch.distributions.Normal(0.0, scale) for scale in (1.0, 0.5))
        return -(prior.log_prob(x) + likelihood.log_prob(y - x))[:, 0]

    torch.manual_seed(0)
    layers = [{"kind": "elementwise"}]
    model = DensityModel(parse(DensityConfig, {"dim": 1, "features": 1, "layers": layers}, "test"))
    conditions = 1.1 * torch.randn(2000, 1)
    for _ in fit_energy(model, energy, training(300, 2e-2), conditions=conditions):
        pass
    for y in (-1.0, 0.5):
        found = importance_sample(model, energy, 4000, condition=torch.tensor([y]))
        evidence = torch.distributions.Normal(0.0, math.sqrt(1.25)).log_prob(torch.tensor(y))
        assert found.log_normalizer == pytest.approx(float(evidence), abs=0.02)
        assert found.points.mean().item() == pytest.approx(0.8 * y, abs=0.05)
        assert found.points.std().item() == pytest.approx(math.sqrt(0.2), rel=0.1)
        assert found.effective_share > 0.95
    for given, message in (
        (None, "conditions: the model needs them"),
        (torch.zeros(0, 1), "conditions: there are none"),
        (torch.full((3, 1), math.nan), r"conditions\[0\] holds a number that is not finite"),
        (torch.zeros(3, 2), r"conditions must be a tensor \(B, 1\)"),
    ):
        with pytest.raises(InputError, match=message):
            next(fit_energy(model, energy, training(1), conditions=given))


def test_an_energy_of_another_shape_is_refused() -> None:
    model = DensityModel(parse(DensityConfig, {"layers": [{"kind": "elementwise"}]}, "test"))
    with pytest.raises(InputError, match=r"energy of 256 points must be a tensor \(256,\); got \(\)"):
        next(fit_energy(model, lambda x: x.square().sum(), training(1)))


def test_numbers_that_are_not_finite_are_refused_before_the_model_changes() -> None:
    points, model = torch.randn(20, 2), model_of("maf")
    points[3, 1] = math.nan
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError, match=r"points\[3\] holds a number that is not finite"):
        next(fit(model, points, training(1)))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_weight_decay_of_the_configuration_counts() -> None:
    points, norms = torch.randn(50, 2), []
    for decay in (0.0, 1.0):
        model = model_of("maf")
        config = training(12, 1e-1).model_copy(update={"weight_decay": decay})
        for _ in fit(model, points, config):
            pass
        norms.append(sum(float(p.detach().square().sum()) for p in model.parameters() if p.ndim > 1))
    assert norms[1] < 0.9 * norms[0]


def test_energies_and_inverse_problems_train_models_in_float64() -> None:
    layers = [{"kind": "linear"}, {"kind": "coupling", "hidden": [8]}]
    plane = DensityModel(parse(DensityConfig, {"layers": layers}, "test")).double()
    assert math.isfinite(next(fit_energy(plane, ENERGIES["u1"], training(1))).nats)
    posterior = DensityModel(
        parse(DensityConfig, {"dim": 4, "features": 2, "layers": layers}, "test")
    ).double()
    assert math.isfinite(next(fit_posterior(posterior, Arm(), training(1))).nats)
    eps = torch.zeros(15, posterior.noise_dim, dtype=torch.float64)
    assert posterior.sample(eps, eps[:, :2]).dtype == torch.float64


def test_layers_are_built_in_the_default_type() -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        model = DensityModel(DensityConfig(layers=(LinearLayer(), CouplingLayer())))
        assert model.log_prob(torch.zeros(2, 2)).dtype == torch.float64
    finally:
        torch.set_default_dtype(before)


def test_reverse_kl_learns_where_a_von_mises_base_lies_and_how_wide_it_is() -> None:
    model = DensityModel(parse(DensityConfig, {"dim": 1, "base": "von-mises"}, "test"))
    energy = Energy("test", lambda x: -20 * (x[:, 0] - 0.7).cos(), walled=False)
    for _ in fit_energy(model, energy, training(200, 5e-2)):
        pass
    assert float(model.base.location.detach()) == pytest.approx(0.7, abs=0.02)
    assert float(model.base.log_concentration.detach().exp()) == pytest.approx(20, rel=0.05)


def test_a_run_that_diverges_ends_with_advice() -> None:
    """A few steps without a finite gradient are skipped; when no others follow, training ends."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(model.weight)
    losses = iter([math.nan] * 49 + [1.0] + [math.inf] * 60)
    steps = optimize(model, lambda share: next(losses) * model.weight.sum(), training(200))
    for _ in range(50):
        next(steps)
    with pytest.raises(ConfigError, match=r"^training diverged: .* 50 steps to step 100; lower the learning"):
        for _ in range(60):
            next(steps)
    assert model.weight.isfinite().all() and not model.training


@pytest.mark.parametrize(
    "points", [np.zeros((4, 2)), [[0.0, 0.0]], torch.full((3,), math.nan), torch.zeros(4, 3)]
)
def test_points_that_are_no_rows_of_the_width_are_refused(points: object) -> None:
    model = DensityModel(parse(DensityConfig, {"layers": [{"kind": "planar"}]}, "test"))
    with pytest.raises(InputError, match=r"^points must be a tensor \(B, 2\), of floats; got"):
        next(fit(model, points, training(1)))  # type: ignore[arg-type]


def test_a_loss_that_stays_infinite_ends_the_run() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    with pytest.raises(ConfigError, match=r"^training diverged"):
        list(optimize(model, lambda share: model.weight.sum() + math.inf, training(60)))


def test_a_model_without_parameters_is_not_trained() -> None:
    with pytest.raises(ConfigError, match="no parameters"):
        next(optimize(torch.nn.Identity(), lambda share: torch.zeros(()), training(1)))
    flow = Flow([Permutation.reverse(2)], Normal(2))
    for run in (fit(flow, torch.zeros(4, 2), training(1)), fit_energy(flow, ENERGIES["u1"], training(1))):
        with pytest.raises(ConfigError, match="no parameters"):
            next(run)
