"""The flow over the next frames of a rain radar."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from vflow.config import CrpsConfig, FrameStackConfig, NowcastConfig
from vflow.models.glow import split_levels
from vflow.models.nowcast import Nowcast, NowcastBatch, RainDequantizer, rain_rate
from vflow.training.losses import CrpsLoss

LEADS = 2


def small_model(height: int = 8, width: int = 8) -> Nowcast:
    """Two levels, its zero-initialised layers perturbed."""
    glow = FrameStackConfig(channels=LEADS, height=height, width=width, depth=(1, 2), hidden=(8, 8))
    config = NowcastConfig(
        glow=glow, condition={"hidden": (8, 8), "blocks": 1}, features=(4, 4), noise_hidden=8
    )
    model = Nowcast(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def batch(count: int = 2, height: int = 8, width: int = 8) -> NowcastBatch:
    shape = (count, LEADS, height, width)
    targets = torch.randint(0, 120, shape, dtype=torch.uint8) * (torch.rand(shape) > 0.4)
    given = torch.rand(count, LEADS * 6 + 2, height, width)
    return NowcastBatch(given, targets, torch.rand(shape) > 0.2, torch.randn(shape))


def test_noise_keeps_rain_in_its_bin_and_dry_below_the_first() -> None:
    noise = RainDequantizer(LEADS, 8)
    with torch.no_grad():
        noise.conv_out.weight.normal_()
    levels = torch.randint(0, 3, (4, LEADS, 8, 8), dtype=torch.uint8)
    x, weight = noise(levels, torch.ones_like(levels, dtype=torch.bool), 2 * torch.randn(4, LEADS, 8, 8))
    rain = levels > 0
    assert x[rain].floor().eq(levels[rain]).all()
    assert (x[~rain] < 1).all() and weight.isfinite().all()


def test_weight_of_noise_is_minus_its_log_density() -> None:
    noise = RainDequantizer(1, 8).double()
    with torch.no_grad():
        noise.conv_out.weight.normal_(0, 0.3)
    levels = torch.tensor([[0, 5, 0, 9], [3, 0, 0, 1], [0, 0, 7, 7], [2, 0, 1, 0]], dtype=torch.uint8)[
        None, None
    ]
    observed = torch.rand(1, 1, 4, 4) > 0.3
    eps = torch.randn(1, 1, 4, 4, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda e: noise(levels, observed, e)[0], eps)
    slope = jacobian.reshape(16, 16).diagonal().reshape(eps.shape)
    log_normal = torch.distributions.Normal(0, 1).log_prob(eps)
    torch.testing.assert_close(
        noise(levels, observed, eps)[1], slope.abs().log() - log_normal, atol=1e-6, rtol=1e-6
    )


def test_encode_then_decode_is_the_identity_at_any_size() -> None:
    model = small_model()
    for size in ((8, 8), (12, 20)):
        before, after = model.reconstruct(batch(2, *size))
        torch.testing.assert_close(before, after, atol=1e-2, rtol=1e-4)


def test_log_likelihood_is_that_of_the_map_from_noise() -> None:
    """log p(x) = log N(ε) − log |dx/dε|, ε the noise from which the model draws x."""
    model = small_model().double()
    one = batch(1)
    one = one._replace(planes=one.planes.double(), eps=one.eps.double())
    condition = model.condition_targets(one)
    shapes = model.latent_shapes_at(8, 8)
    sizes = [torch.Size(shape).numel() for shape in shapes]
    flat = torch.randn(sum(sizes), dtype=torch.float64)

    def drawn(noise: Tensor) -> Tensor:
        eps = [part.reshape(1, *shape) for part, shape in zip(noise.split(sizes), shapes, strict=True)]
        return model.generate(condition, eps, [1.0] * len(eps))[0].flatten()

    jacobian = torch.autograd.functional.jacobian(drawn, flat)
    expected = torch.distributions.Normal(0, 1).log_prob(flat).sum() - torch.linalg.slogdet(jacobian)[1]
    x = drawn(flat).reshape(1, LEADS, 8, 8)
    model.dequantizer.forward = lambda levels, observed, eps: (x, torch.zeros_like(x))  # type: ignore[method-assign]
    torch.testing.assert_close(model(one)[0], expected, atol=1e-6, rtol=1e-6)


def test_only_scored_examples_are_scored() -> None:
    model, one = small_model(), batch(3)
    torch.testing.assert_close(model(one._replace(scored=2)), model(one)[:2])


def test_unknown_targets_change_nothing() -> None:
    model, one = small_model(), batch()
    other = one._replace(targets=torch.where(one.observed, one.targets, 255 - one.targets))
    torch.testing.assert_close(model(one), model(other))


def test_density_map_sums_to_the_log_likelihood() -> None:
    model, one = small_model(), batch()
    torch.testing.assert_close(model.density_map(one).sum((1, 2, 3)), model(one), rtol=1e-4, atol=1e-3)


def test_members_differ_by_noise_alone_and_not_at_temperature_zero() -> None:
    model, one = small_model(), batch(1)
    condition = model.condition_targets(one).repeat(3)
    eps = [torch.randn(3, *shape) for shape in model.latent_shapes_at(8, 8)]
    warm, _ = model.generate(condition, eps, [1.0] * len(eps))
    cold, _ = model.generate(condition, eps, [0.0] * len(eps))
    assert warm.std(0).min() > 0 and cold.std(0).max() < 1e-3


def test_crps_penalty_is_fair_and_least_for_the_truth() -> None:
    """Of members all alike it is the absolute error; unknown pixels count nowhere."""
    model, one = small_model(), batch(2)
    size = sum(torch.Size(shape).numel() for shape in model.latent_shapes_at(8, 8))
    alike = one._replace(sample_eps=torch.zeros(2, 2, size))
    config = CrpsConfig(weight=1.0, log_weight=0.0, scales=(1,))
    loss = CrpsLoss(config)
    made, _ = model.generate(
        model.condition_targets(one), [torch.zeros(2, *s) for s in model.latent_shapes_at(8, 8)], [1.0] * 3
    )
    error = (rain_rate(made) - rain_rate(one.targets.float())).abs() * one.observed
    torch.testing.assert_close(loss(model, alike), error.mean(), rtol=1e-4, atol=1e-4)
    hidden = alike._replace(targets=torch.where(one.observed, one.targets, 255 - one.targets))
    torch.testing.assert_close(loss(model, alike), loss(model, hidden))


@pytest.mark.parametrize("scale", [1, 4])
def test_crps_penalty_is_half_the_spread_below_the_error_where_there_are_radars(scale: int) -> None:
    """E|X − o| − ½ E|X − X'|, over the pairs of three members, of means over squares of what is observed."""
    model, one = small_model(), batch(2)
    shapes = model.latent_shapes_at(8, 8)
    eps = torch.randn(2, 3, sum(torch.Size(shape).numel() for shape in shapes))
    found = CrpsLoss(CrpsConfig(weight=1.0, log_weight=0.0, scales=(scale,)))(
        model, one._replace(sample_eps=eps)
    )
    raw, _ = model.generate(
        model.condition_targets(one).repeat(3), split_levels(eps.flatten(0, 1), shapes), [1.0] * len(shapes)
    )
    members, truth = (rain_rate(x) for x in (raw.unflatten(0, (2, 3)), one.targets[:, None].float()))
    x, o = (avg_pool2d((x * one.observed[:, None]).flatten(0, 1), scale) for x in (members, truth))
    x = x.unflatten(0, (2, 3))
    error = (x - o[:, None]).abs().mean(1)
    spread = sum((x[:, i] - x[:, j]).abs() for i, j in ((0, 1), (1, 2), (2, 0))) / 3
    torch.testing.assert_close(found, (error - 0.5 * spread).mean(), rtol=1e-4, atol=1e-5)


def test_rain_rate_follows_the_scale() -> None:
    rates = rain_rate(torch.tensor([-3.0, 0.0, 255.0, 300.0]))
    torch.testing.assert_close(rates, torch.tensor([0.0, 0.0, 100.0, 100.0]))
