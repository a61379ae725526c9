"""The best of a few samples as a further aim of training."""

from __future__ import annotations

import pytest
import torch

from vflow.config import BestOfConfig, ColorizerConfig, EncoderConfig, GlowConfig, Preset, TrainingConfig
from vflow.models import Colorizer, ImageBatch
from vflow.training.losses import best_of_penalty, spread

CONFIG = BestOfConfig(guesses=4, every=2, weight=0.5, spread=(0.0, 1e6))


def small() -> Colorizer:
    torch.manual_seed(0)
    glow = GlowConfig(channels=2, height=8, width=8, depth=(2, 2, 2), hidden=(8, 8, 8))
    return Colorizer(ColorizerConfig(glow=glow, condition=EncoderConfig(hidden=(4, 4, 6, 6), blocks=1)))


def batch(size: int) -> ImageBatch:
    torch.manual_seed(1)
    images = torch.randint(100, 150, (size, 2, 8, 8), dtype=torch.uint8)
    given = torch.cat([100 * torch.rand(size, 1, 16, 16), torch.zeros(size, 3, 16, 16)], 1)
    return ImageBatch(images, given, torch.randn(size, 2, 8, 8), torch.randn(size // 2, 4, 128))


def test_it_is_the_error_of_the_best_guess() -> None:
    model, data = small(), batch(4)
    assert data.sample_eps is not None
    errors = []
    for k in range(4):
        one = data._replace(sample_eps=data.sample_eps[:, k : k + 1])
        errors.append([best_of_penalty(model, _only(one, row), CONFIG) for row in range(2)])
    table = torch.tensor([[float(e.detach()) for e in row] for row in errors]) / (
        0.5 * 2
    )  # each is alone in its batch, so its share is 1 · every
    expected = 0.5 * 1.0 * table.amin(0).mean()
    torch.testing.assert_close(best_of_penalty(model, data, CONFIG), expected, rtol=1e-4, atol=1e-4)


def _only(data: ImageBatch, row: int) -> ImageBatch:
    return ImageBatch(*(None if t is None else t[row : row + 1] for t in data))


def test_micro_batches_add_up_to_the_batch() -> None:
    model, data = small(), batch(4)
    assert data.sample_eps is not None
    first = ImageBatch(data.images[[0, 2]], data.condition[[0, 2]], data.eps[[0, 2]], data.sample_eps[:1])
    second = ImageBatch(data.images[[1, 3]], data.condition[[1, 3]], data.eps[[1, 3]], data.sample_eps[1:])
    halves = (best_of_penalty(model, first, CONFIG) + best_of_penalty(model, second, CONFIG)) / 2
    torch.testing.assert_close(best_of_penalty(model, data, CONFIG), halves, rtol=1e-4, atol=1e-4)


def test_descending_it_brings_samples_nearer_and_keeps_them_apart() -> None:
    model, data = small(), batch(4)
    model.initialize(data)
    wish = BestOfConfig(guesses=4, every=2, weight=0.5, spread=(0.8, 2.0))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    before = float(best_of_penalty(model, data, wish).detach())
    for _ in range(30):
        optimizer.zero_grad()
        best_of_penalty(model, data, wish).backward()
        optimizer.step()
    assert float(best_of_penalty(model, data, wish).detach()) < 0.7 * before


def test_spread_has_a_floor_and_a_ceiling() -> None:
    model, data = small(), batch(4)
    free, low, high = (
        float(best_of_penalty(model, data, CONFIG.model_copy(update={"spread": bounds})).detach())
        for bounds in ((0.0, 1e6), (50.0, 1e6), (0.0, 1e-3))
    )
    assert low > free + 1 and high > free + 1


def test_spread_is_that_within_pictures() -> None:
    flat = torch.full((2, 8, 8), 9.0)
    assert spread(flat) < 0.1
    assert spread(torch.randn(2, 64, 64)) == pytest.approx(1.0, abs=0.1)


def test_only_colorizers_take_it() -> None:
    with pytest.raises(ValueError, match="best_of is for models of kind colorizer"):
        Preset(training=TrainingConfig(best_of=CONFIG))
