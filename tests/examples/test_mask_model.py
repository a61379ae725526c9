"""Binary masks by half-infinite noise: densities, the bound, and samples."""

from __future__ import annotations

import math

import pytest
import torch

from examples.mask_parts.model import HalfInfiniteDequantizer, Segmentation, SegmentationConfig
from vflow.models.image import ImageBatch

SMALL = SegmentationConfig(
    glow={"channels": 1, "height": 8, "width": 8, "depth": (1, 1), "hidden": (8, 8)},
    condition={"hidden": (8, 8), "blocks": 1},
)


def perturbed(model: torch.nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


def batch(count: int = 3) -> ImageBatch:
    masks = 255 * torch.randint(0, 2, (count, 1, 8, 8), dtype=torch.uint8)
    pictures = torch.randint(0, 256, masks.shape, dtype=torch.uint8)
    return ImageBatch(masks, pictures, torch.randn(masks.shape))


@pytest.mark.parametrize("mean", [-1.5, 0.0, 2.0])
def test_bound_of_a_normal_density_is_the_probability_of_its_side(mean: float) -> None:
    """At its start q is the exact posterior: log N(v; mean, 1) − log q = log Φ(± mean) for every draw."""
    noise = HalfInfiniteDequantizer(1)
    eps, mode = 2 * torch.randn(64, 1, 2, 2), torch.full((64, 1, 2, 2), mean)
    for level, sign in ((0.0, -1), (255.0, 1)):
        v, weight = noise(torch.full_like(eps, level), eps, mode)
        assert (sign * v > 0).all()
        bound = torch.distributions.Normal(mean, 1).log_prob(v) + weight
        expected = torch.special.log_ndtr(torch.tensor(sign * mean)).expand_as(bound)
        torch.testing.assert_close(bound, expected, atol=2e-4, rtol=1e-4)


def test_noise_has_the_density_it_reports() -> None:
    """∂v/∂ε of one pixel against −log q: q(v) |∂v/∂ε| is the standard normal density of ε."""
    torch.manual_seed(0)
    noise = HalfInfiniteDequantizer(1).double()
    perturbed(noise)
    x = torch.tensor([[0.0, 255.0], [255.0, 0.0]], dtype=torch.float64)[None, None]
    eps = torch.randn(1, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    mode = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)[None, None]
    v, weight = noise(x, eps, mode)
    slope = torch.autograd.grad(v.sum(), eps)[0]  # pixels do not share their noise
    expected = torch.distributions.Normal(0, 1).log_prob(eps) - slope.abs().log()
    torch.testing.assert_close(-weight, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mean", [-40.0, 40.0])
def test_surprising_and_certain_bits_stay_finite(mean: float) -> None:
    noise = HalfInfiniteDequantizer(1)
    eps = torch.tensor([-8.0, -1.0, 1.0, 8.0]).view(1, 1, 2, 2).requires_grad_()
    v, weight = noise(torch.full((1, 1, 2, 2), 255.0), eps, torch.full((1, 1, 2, 2), mean))
    (v.sum() + weight.sum()).backward()
    assert (v > 0).all()
    assert v.isfinite().all() and weight.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in noise.parameters())


def test_probabilities_of_all_masks_sum_to_one() -> None:
    """Two pixels free, the others given: importance weighting over all four, against samples."""
    torch.manual_seed(1)
    config = SegmentationConfig(
        glow={"channels": 1, "height": 2, "width": 2, "depth": (1,), "hidden": (4,)},
        condition={"hidden": (4,), "blocks": 1},
    )
    model = Segmentation(config)
    perturbed(model)
    masks = torch.tensor([[i >> k & 1 for k in range(4)] for i in range(16)], dtype=torch.uint8) * 255
    draws = 400
    many = masks.view(16, 1, 2, 2).repeat(draws, 1, 1, 1)
    picture = torch.full(many.shape, 90, dtype=torch.uint8)
    with torch.no_grad():
        nats = model(ImageBatch(many, picture, torch.randn(many.shape))).view(draws, 16)
    p = (nats.logsumexp(0) - math.log(draws)).exp()
    assert float(p.sum()) == pytest.approx(1, abs=0.02)
    noise = [torch.randn(20_000, *shape) for shape in model.latent_shapes]
    drawn = model.decode(noise, picture[:1], [1.0]).frame.flatten(1)
    assert set(drawn.unique().tolist()) <= {0, 255}
    numbers = ((drawn > 0) * torch.tensor([1, 2, 4, 8])).sum(1)
    shares = torch.bincount(numbers, minlength=16) / len(numbers)
    torch.testing.assert_close(shares, p, atol=0.015, rtol=0)


def test_masks_coded_without_noise_come_back() -> None:
    model = Segmentation(SMALL)
    perturbed(model)
    given = batch()
    latents = model.encode(given.images, given.condition)
    raw = model.decode(latents, given.condition, (1.0,) * len(latents)).raw
    assert bool(((raw > 128) == (given.images == 255)).all())


def test_encode_then_decode_is_the_identity() -> None:
    model = Segmentation(SMALL)
    perturbed(model)
    before, after = model.reconstruct(batch())
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)
