"""Inverse problems: their processes, exact posteriors, measures of calibration, and conditional flows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from examples.invertible_network import PROBLEMS, LabelledMixture, draw_posteriors
from vflow.config import TrainingConfig
from vflow.config.density import DensityConfig
from vflow.densities.inverse import Arm
from vflow.errors import ConfigError
from vflow.metrics.calibration import calibration_error, mmd
from vflow.models.density import DensityModel
from vflow.training.inverse import fit_posterior

COUPLINGS = [
    {"kind": "repeat", "times": 3, "layers": [
        {"kind": "linear"},
        {"kind": "coupling", "keep": "even", "hidden": [32]},
        {"kind": "coupling", "keep": "odd", "hidden": [32]},
    ]},
]  # fmt: skip
TRAINING = TrainingConfig(
    batch_size=128, max_steps=150, learning_rate=3e-3, warmup_steps=10, ema=0.95, actnorm_batch=512
)


def test_the_hand_is_the_last_joint() -> None:
    arm = Arm()
    x, y = arm.pairs(50, "test")
    joints = arm.joints(x)
    torch.testing.assert_close(joints[:, -1].flip(1), y)
    lengths = (joints[:, 1:] - joints[:, :-1]).norm(dim=2)
    torch.testing.assert_close(lengths, torch.tensor(arm.lengths).expand_as(lengths))


@pytest.mark.parametrize("name", PROBLEMS)
def test_posteriors_lead_to_what_was_observed(name: str) -> None:
    problem = PROBLEMS[name]()
    _, observed = problem.pairs(3, "truth")
    for y in observed:
        x = problem.posterior(y, 40, "draw")
        assert x.shape == (40, problem.dim)
        assert (problem.observe(x) - y).abs().max() < 0.003
        assert torch.equal(problem.posterior(y, 10, "draw"), x[:10])


@pytest.mark.parametrize("name", PROBLEMS)
def test_exact_posteriors_are_calibrated_and_the_prior_is_not(name: str) -> None:
    problem = PROBLEMS[name]()
    truth, observed = problem.pairs(120, "truth")
    exact = torch.stack([problem.posterior(y, 60, "draw", i) for i, y in enumerate(observed)])
    assert calibration_error(exact.numpy(), truth.numpy()) < 0.08
    narrow = exact.mean(1, keepdim=True) + 0.3 * (exact - exact.mean(1, keepdim=True))
    assert calibration_error(narrow.numpy(), truth.numpy()) > 0.15


def test_posteriors_of_the_arm_are_those_of_weighted_draws_from_the_prior() -> None:
    arm, y = Arm(), torch.tensor([0.4, 1.7])
    x, _ = arm.pairs(400_000, "many")
    x[:, 0] += y[0] - arm.observe(x)[:, 0]  # the height that reaches y₁
    near = x[(arm.observe(x)[:, 1] - y[1]).abs() < 0.02]
    weights = torch.softmax(-8 * near[:, 0].square(), 0)[:, None]
    mean = (weights * near).sum(0)
    deviation = (weights * (near - mean).square()).sum(0).sqrt()
    exact = arm.posterior(y, 4000, "exact")
    torch.testing.assert_close(exact.mean(0), mean, atol=0.04, rtol=0)
    torch.testing.assert_close(exact.std(0), deviation, atol=0.04, rtol=0)


def test_rare_observations_have_posteriors_too() -> None:
    arm, y = Arm(), torch.tensor([1.965, 1.333])  # three deviations from the mean
    assert (arm.observe(arm.posterior(y, 300, "rare")) - y).abs().max() < 0.003


def test_out_of_reach_is_an_error() -> None:
    with pytest.raises(ConfigError, match="hardly any arm reaches it"):
        Arm().posterior(torch.tensor([0.0, 2.5]), 1)
    with pytest.raises(ConfigError, match="no label"):
        LabelledMixture().posterior(torch.zeros(4), 1)


def test_calibration_error_of_a_known_bias() -> None:
    random = np.random.default_rng(0)
    samples = random.standard_normal((2000, 200, 1))
    assert calibration_error(samples, random.standard_normal((2000, 1))) < 0.02
    wide = calibration_error(samples, 0.5 * random.standard_normal((2000, 1)))
    assert wide == pytest.approx(0.2, abs=0.06)


def test_mmd_tells_samples_apart() -> None:
    a, b = torch.randn(400, 2), torch.randn(400, 2)
    assert mmd(a, a) == pytest.approx(0, abs=1e-6)
    assert mmd(a, b) < 0.05 < mmd(a, b + 1)


def test_a_conditional_flow_learns_the_posterior() -> None:
    arm = Arm()
    config = {"dim": 4, "features": 2, "layers": [{"kind": "actnorm"}, *COUPLINGS]}
    model = DensityModel(DensityConfig.model_validate(config))
    nats = [progress.nats for progress in fit_posterior(model, arm, TRAINING)]
    assert np.mean(nats[-20:]) < np.mean(nats[:20]) - 1
    _, observed = arm.pairs(20, "truth")
    made = draw_posteriors(model.sample, model.noise_dim, observed, 30, 0)
    errors = (arm.observe(made.flatten(0, 1)) - observed.repeat_interleave(30, 0)).norm(dim=1)
    prior = (arm.observe(arm.pairs(600, "other")[0]) - observed.repeat_interleave(30, 0)).norm(dim=1)
    assert errors.median() < 0.5 * prior.median()
