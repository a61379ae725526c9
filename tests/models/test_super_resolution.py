"""The flow over details of a photo given the means of its 2×2 blocks."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from vflow.config import DetailMeanConfig, SuperResolutionConfig
from vflow.models.image import ImageBatch
from vflow.models.super_resolution import SuperResolution
from vflow.training.losses import DetailMeanLoss

SMALL = SuperResolutionConfig(
    glow={"height": 8, "width": 8, "depth": (2,), "hidden": (8,)},
    condition={"hidden": (8,), "blocks": 1},
    features=4,
)


def small_model() -> SuperResolution:
    """Two steps, the zero-initialised layers perturbed."""
    torch.manual_seed(0)
    model = SuperResolution(SMALL)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def batch(count: int = 2, height: int = 8, width: int = 8) -> ImageBatch:
    images = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)
    return ImageBatch(images, avg_pool2d(images.float(), 2).round().byte(), torch.randn(images.shape))


def test_encode_then_decode_is_the_identity_at_any_size() -> None:
    model = small_model()
    for size in ((8, 8), (12, 20)):
        before, after = model.reconstruct(batch(2, *size))
        torch.testing.assert_close(before, after, atol=2e-2, rtol=1e-4)


@torch.no_grad()
def test_blocks_of_samples_have_the_given_means() -> None:
    model, given = small_model(), batch().condition
    raw = model.decode([3 * torch.randn(2, *model.latent_shapes[0])], given, [1.0]).raw
    torch.testing.assert_close(avg_pool2d(raw, 2) - 0.5, given.float(), atol=1e-3, rtol=0)


def test_log_likelihood_is_that_of_the_map_from_noise() -> None:
    """log p(details) = log N(ε) − log |d details / dε|, ε the noise they come from."""
    model = small_model().double()
    one = batch(1)
    condition = model.condition_targets(one)
    flat = torch.randn(math.prod(model.latent_shapes[0]), dtype=torch.float64)

    def details(noise: Tensor) -> Tensor:
        eps = noise.reshape(1, *model.latent_shapes[0])
        return model.flow.details(model.generate(condition, [eps], [1.0])[0]).flatten()

    jacobian = torch.autograd.functional.jacobian(details, flat)
    expected = torch.distributions.Normal(0, 1).log_prob(flat).sum() - torch.linalg.slogdet(jacobian)[1]
    x = model.generate(condition, [flat.reshape(1, *model.latent_shapes[0])], [1.0])[0]
    model.dequantizer.forward = lambda images, eps, mode: (x, torch.zeros_like(x))  # type: ignore[method-assign]
    torch.testing.assert_close(model(one)[0], expected, atol=1e-4, rtol=1e-6)


def test_density_map_sums_to_the_log_likelihood() -> None:
    model, one = small_model(), batch()
    torch.testing.assert_close(model.density_map(one).sum((1, 2, 3)), model(one), rtol=1e-4, atol=1e-2)


def test_bits_are_those_of_a_detail_of_which_a_photo_has_three_quarters_of_its_values() -> None:
    model, one = small_model(), batch()
    bits = model.bits_per_dim(model(one))
    details = 3 * 3 * 4 * 4
    torch.testing.assert_close(bits, -model(one) / (details * math.log(2)))


def test_nothing_beyond_the_radius_bears_on_a_sample() -> None:
    model = small_model()
    side = 2 * model.radius + 5
    given = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    eps = torch.randn(1, 9, side, side)
    other, other_eps = given.clone(), eps.clone()
    other[..., -1], other_eps[..., -1] = 255 - given[..., -1], -eps[..., -1]
    one, two = (model.decode([e], g, [1.0]).raw for g, e in ((given, eps), (other, other_eps)))
    reach = 2 * (side - 1 - model.radius)
    assert not torch.equal(one, two)
    torch.testing.assert_close(one[..., :reach], two[..., :reach])


def test_detail_mean_loss_is_the_rms_error_of_the_prediction() -> None:
    model, one = small_model(), batch()
    predicted = model.features(one.condition)[1]
    exact = one._replace(images=predicted)
    loss = DetailMeanLoss(DetailMeanConfig(weight=2.0))
    assert loss(model, exact) < 0.1
    error = 16 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(4, 4)
    assert math.isclose(loss(model, one._replace(images=predicted + error)), 32, rel_tol=1e-3)


@torch.no_grad()
def test_without_its_condition_the_flow_sees_no_small_photo() -> None:
    model, one = small_model(), batch()
    other = one._replace(condition=255 - one.condition)
    assert not torch.allclose(model(one), model(other))
    blind = SuperResolution(SMALL.model_copy(update={"conditioned": False}))
    blind.load_state_dict(model.state_dict())
    torch.testing.assert_close(blind(one), blind(other))
    before, after = blind.reconstruct(one)
    torch.testing.assert_close(before, after, atol=2e-2, rtol=1e-4)
