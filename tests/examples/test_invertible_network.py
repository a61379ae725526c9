"""Invertible networks of inverse problems: exact inverses, their loss, and what they learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from examples.invertible_network import InvertibleNetwork, fit_invertible, invertible_network
from vflow.config import TrainingConfig
from vflow.config.density import DensityConfig
from vflow.densities.inverse import Arm
from vflow.randomness import normal

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


def network(width: int = 6) -> InvertibleNetwork:
    layers = DensityConfig.model_validate({"dim": width, "layers": COUPLINGS}).layers
    return InvertibleNetwork(layers, 4, 2, 2, width)  # type: ignore[arg-type]


def test_the_network_is_inverted_exactly() -> None:
    model, x = network(), torch.randn(5, 4)
    padding = torch.randn(5, 2)
    y, z, rest, log_det = model.encode(x, padding)
    again, left = model.decode(y, z, rest)
    torch.testing.assert_close(torch.cat([again, left], 1), torch.cat([x, padding], 1), atol=1e-4, rtol=1e-4)
    flat = torch.autograd.functional.jacobian(
        lambda v: torch.cat(model.encode(v[None, :4], v[None, 4:])[:3], 1)[0], torch.cat([x, padding], 1)[0]
    )
    torch.testing.assert_close(torch.linalg.slogdet(flat)[1], log_det[0], atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="width 3"):
        network(3)


def test_the_loss_of_an_invertible_network_is_the_nats_of_latent_observation_and_padding() -> None:
    arm, model = Arm(), network()
    with torch.no_grad():
        x, y = (part.float() for part in arm.pairs(128, TRAINING.seed, 0))
        padding = 0.02 * normal((128, 2), "padding", TRAINING.seed, 0, "in")
        made, z, rest, log_det = model.encode(x, padding)
        squares = [part.square().sum(1) for part in (z, (made - y) / 0.05, rest / 0.02)]
        expected = float((0.5 * sum(squares) - log_det).mean())
    assert next(iter(fit_invertible(model, arm, TRAINING))).nats == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_an_invertible_network_learns_both_directions(weight: float) -> None:
    arm, model = Arm(), network()
    losses = [progress.nats for progress in fit_invertible(model, arm, TRAINING, mmd_weight=weight)]
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20]) and math.isfinite(losses[-1])
    x, y = arm.pairs(100, "truth")
    made, _, _, _ = model.encode(x, torch.zeros(100, 2))
    assert (made - y).square().mean() < 0.3 * y.var(0).mean()


def test_a_network_trains_in_float64() -> None:
    model = invertible_network(4, 2).double()
    steps = fit_invertible(model, Arm(), TRAINING.model_copy(update={"max_steps": 1}), mmd_weight=1.0)
    assert math.isfinite(next(steps).nats)
