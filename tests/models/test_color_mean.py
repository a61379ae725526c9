"""Predicted mean of colours: subtracted and added exactly, and learnable."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vflow.config import ColorizerConfig, ColorMeanLossConfig, EncoderConfig, GlowConfig
from vflow.models import Colorizer, ImageBatch
from vflow.models.colorizer import ColorMean
from vflow.training.losses import ColorMeanLoss

FEATURES = (5, 6, 7, 3)


def example() -> tuple[ColorMean, list[Tensor], Tensor]:
    """One away from its start, features of three pictures, and planes of 16×16."""
    torch.manual_seed(0)
    color_mean = ColorMean(2, (4, 8), FEATURES)
    with torch.no_grad():
        for parameter in color_mean.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    features = [torch.randn(3, f, side, side) for f, side in zip(FEATURES, (8, 4, 2, 1), strict=True)]
    return color_mean, features, torch.randn(3, 2, 16, 16)


def test_subtracting_is_undone_and_keeps_volumes() -> None:
    color_mean, features, x = example()
    rest = color_mean.subtract(x, features)
    assert (rest - x).abs().mean() > 0.05
    torch.testing.assert_close(color_mean.add(rest, features), x, rtol=0, atol=1e-5)
    one = [f[:1].double() for f in features]
    color_mean = color_mean.double()
    matrix = torch.autograd.functional.jacobian(
        lambda flat: color_mean.subtract(flat.view(1, 2, 16, 16), one).flatten(),
        x[0].double().flatten(),
    )
    torch.testing.assert_close(torch.linalg.slogdet(matrix)[1].item(), 0.0, rtol=0, atol=1e-8)


def test_the_structure_has_no_mean_and_depends_on_the_mean_colour() -> None:
    color_mean, features, x = example()
    mean = x.mean((2, 3), keepdim=True)
    structure = color_mean.structure(features, mean)
    torch.testing.assert_close(structure.mean((2, 3)), torch.zeros(3, 2), rtol=0, atol=1e-6)
    assert not torch.allclose(structure, color_mean.structure(features, mean + 1))


def small() -> Colorizer:
    torch.manual_seed(0)
    glow = GlowConfig(channels=2, height=8, width=8, depth=(1, 1, 1), hidden=(4, 4, 4))
    condition = EncoderConfig(hidden=(8, 12, 12, 12), blocks=1)
    return Colorizer(ColorizerConfig(glow=glow, condition=condition, color_mean=(12, 12)))


def test_the_penalty_is_the_error_of_each_picture_and_micro_batches_add_up() -> None:
    """At its start the prediction is grey: the error of a picture is its distance from grey."""
    model, batch = small(), _pictures(4)
    loss = ColorMeanLoss(ColorMeanLossConfig(weight=0.25, mean_noise=4.0))
    whole = loss(model, batch)
    error = (
        (model.dequantizer(batch.images.float(), batch.eps)[0] - 128).square().mean((1, 2, 3)).sqrt().mean()
    )
    torch.testing.assert_close(whole, 0.25 * error, rtol=1e-3, atol=1e-3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    whole = loss(model, batch)
    halves = [ImageBatch(*(t[part] for t in batch[:3])) for part in (slice(2), slice(2, 4))]
    torch.testing.assert_close(whole, sum(loss(model, half) for half in halves) / 2)
    noisier = ColorMeanLoss(ColorMeanLossConfig(weight=0.25, mean_noise=8.0))
    assert whole != noisier(model, batch)


def test_it_learns_what_is_to_be_expected() -> None:
    """Pictures whose structure follows their lightness and their mean colour: little is left of them."""
    model = small()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    loss = ColorMeanLoss(ColorMeanLossConfig(weight=1.0, mean_noise=1.0))
    errors = [_descend(model, optimizer, _pictures(16), loss) for _ in range(150)]
    assert errors[-1] < 0.5 * errors[0]


def _pictures(count: int) -> ImageBatch:
    """a and b of 30 · (1 + vividness) · (L − 50) / 50 beside a mean that is 8 · vividness."""
    lightness = torch.nn.functional.interpolate(
        100 * torch.rand(count, 1, 2, 2), size=(16, 16), mode="bilinear"
    )
    vivid = torch.rand(count, 1, 1, 1) - 0.5
    small = torch.nn.functional.avg_pool2d(lightness, 2) / 50 - 1
    planes = 128 + 8 * vivid + 30 * (1 + vivid) * (small - small.mean((2, 3), keepdim=True))
    images = planes.expand(-1, 2, -1, -1).round().clamp(0, 255).to(torch.uint8)
    given = torch.cat([lightness, torch.zeros(count, 3, 16, 16)], 1)
    return ImageBatch(images, given, torch.randn(images.shape))


def _descend(model, optimizer, batch: ImageBatch, loss: ColorMeanLoss) -> float:  # type: ignore[no-untyped-def]
    value = loss(model, batch)
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return float(value.detach())


def test_levels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="color_mean needs channels"):
        ColorizerConfig(color_mean=(4,) * 9)


def test_the_mirror_image_is_asked_as_well_and_planes_come_back() -> None:
    """A photo and its mirror image are expected to be mirror images; and likelihood and inverse hold."""
    model = small()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    batch, color_mean = _pictures(3), model.color_mean
    assert color_mean is not None
    mean = torch.randn(3, 2, 1, 1)
    own, mirrored = (model.features(given) for given in (batch.condition, batch.condition.flip(-1)))
    alone = [color_mean.structure(features, mean) for features in (own, mirrored)]
    model.config = model.config.model_copy(update={"flip_tta": True})
    own, mirrored = (model.features(given) for given in (batch.condition, batch.condition.flip(-1)))
    both = [color_mean.structure(features, mean) for features in (own, mirrored)]
    torch.testing.assert_close(both[0], (alone[0] + alone[1].flip(-1)) / 2)
    torch.testing.assert_close(both[1].flip(-1), both[0])
    torch.testing.assert_close(color_mean.mean(own), color_mean.mean(mirrored))
    assert not torch.allclose(both[0], alone[0], atol=1e-3)
    before, after = model.double().reconstruct(_double(batch))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="flip_tta needs color_mean"):
        ColorizerConfig(flip_tta=True)
    with pytest.raises(ValueError, match="one per level and one for the mean colour"):
        ColorizerConfig(temperature=(0.5, 1.0))


def _double(batch: ImageBatch) -> ImageBatch:
    return batch._replace(condition=batch.condition.double(), eps=batch.eps.double())


def test_a_pyramid_that_ends_at_more_than_a_pixel_will_do() -> None:
    torch.manual_seed(0)
    glow = GlowConfig(channels=2, height=16, width=16, depth=(1, 1, 1), hidden=(4, 4, 4))
    condition = EncoderConfig(hidden=(4, 6, 6, 6), blocks=1)
    model = Colorizer(ColorizerConfig(glow=glow, condition=condition, color_mean=(6, 6))).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    images = torch.randint(100, 150, (2, 2, 16, 16), dtype=torch.uint8)
    batch = ImageBatch(images, 50 * torch.rand(2, 4, 32, 32).double(), torch.randn(images.shape).double())
    before, after = model.reconstruct(batch)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-9)
