"""Best-of-N loss."""

from __future__ import annotations

import pytest
import torch

from vflow.config import BestOfConfig, ColorizerConfig, EncoderConfig, GlowConfig, Preset, TrainingConfig
from vflow.models import Colorizer, ImageBatch
from vflow.training.losses import BestOfLoss, std_within

CONFIG = BestOfConfig(num_samples=4, subsample=2, weight=0.5, std_bounds=(0.0, 1e6))


def small() -> Colorizer:
    torch.manual_seed(0)
    glow = GlowConfig(channels=2, height=8, width=8, depth=(2, 2, 2), hidden=(8, 8, 8))
    return Colorizer(ColorizerConfig(glow=glow, condition=EncoderConfig(hidden=(4, 4, 6, 6), blocks=1)))


def batch(size: int) -> ImageBatch:
    torch.manual_seed(1)
    images = torch.randint(100, 150, (size, 2, 8, 8), dtype=torch.uint8)
    given = torch.cat([100 * torch.rand(size, 1, 16, 16), torch.zeros(size, 3, 16, 16)], 1)
    return ImageBatch(images, given, torch.randn(size, 2, 8, 8), torch.randn(size // 2, 4, 128))


def test_best_of_loss_is_the_error_of_the_best_sample() -> None:
    model, data = small(), batch(4)
    assert data.sample_eps is not None
    errors = []
    for k in range(4):
        one = data._replace(sample_eps=data.sample_eps[:, k : k + 1])
        errors.append([BestOfLoss(CONFIG)(model, _only(one, row)) for row in range(2)])
    table = torch.tensor([[float(e.detach()) for e in row] for row in errors]) / (
        0.5 * 2
    )  # each is alone in its batch, so its share is 1 · subsample
    expected = 0.5 * 1.0 * table.amin(0).mean()
    torch.testing.assert_close(BestOfLoss(CONFIG)(model, data), expected, rtol=1e-4, atol=1e-4)


def _only(data: ImageBatch, row: int) -> ImageBatch:
    assert data.sample_eps is not None
    rows = slice(row, row + 1)
    return ImageBatch(data.images[rows], data.condition[rows], data.eps[rows], data.sample_eps[rows])


def test_micro_batches_add_up_to_the_batch() -> None:
    model, data = small(), batch(4)
    assert data.sample_eps is not None
    first = ImageBatch(data.images[[0, 2]], data.condition[[0, 2]], data.eps[[0, 2]], data.sample_eps[:1])
    second = ImageBatch(data.images[[1, 3]], data.condition[[1, 3]], data.eps[[1, 3]], data.sample_eps[1:])
    halves = (BestOfLoss(CONFIG)(model, first) + BestOfLoss(CONFIG)(model, second)) / 2
    torch.testing.assert_close(BestOfLoss(CONFIG)(model, data), halves, rtol=1e-4, atol=1e-4)


def test_descending_it_brings_samples_nearer_and_keeps_them_apart() -> None:
    model, data = small(), batch(4)
    model.initialize(data)
    config = BestOfConfig(num_samples=4, subsample=2, weight=0.5, std_bounds=(0.8, 2.0))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    before = float(BestOfLoss(config)(model, data).detach())
    for _ in range(30):
        optimizer.zero_grad()
        BestOfLoss(config)(model, data).backward()
        optimizer.step()
    assert float(BestOfLoss(config)(model, data).detach()) < 0.7 * before


def test_spread_has_a_floor_and_a_ceiling() -> None:
    model, data = small(), batch(4)
    free, low, high = (
        float(BestOfLoss(CONFIG.model_copy(update={"std_bounds": bounds}))(model, data).detach())
        for bounds in ((0.0, 1e6), (50.0, 1e6), (0.0, 1e-3))
    )
    assert low > free + 1 and high > free + 1


def test_std_within_is_that_of_pictures() -> None:
    flat = torch.full((2, 8, 8), 9.0)
    assert std_within(flat) < 0.1
    assert std_within(torch.randn(2, 64, 64)) == pytest.approx(1.0, abs=0.1)


def test_only_colorizers_take_it() -> None:
    with pytest.raises(ValueError, match="best_of is for a colorizer"):
        Preset(training=TrainingConfig(losses=(CONFIG,)))
