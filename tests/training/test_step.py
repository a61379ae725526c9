"""One step: what the aims share is computed once."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from vflow.config import (
    BestOfConfig,
    ColorizerConfig,
    EncoderConfig,
    GlowConfig,
    OutlineConfig,
    TrainingConfig,
)
from vflow.models import Colorizer, ImageBatch
from vflow.training.ema import Ema
from vflow.training.losses import best_of_penalty, outline_penalty
from vflow.training.state import Progress
from vflow.training.step import Learner, make_optimizer

AIMS = TrainingConfig(
    best_of=BestOfConfig(guesses=3, every=2, weight=0.5, spread=(0.5, 2.0)), outline=OutlineConfig(weight=0.3)
)


def small(*, mirror: bool = False) -> Colorizer:
    torch.manual_seed(0)
    glow = GlowConfig(channels=2, height=8, width=8, depth=(1, 1, 1), hidden=(4, 4, 4))
    condition = EncoderConfig(hidden=(4, 6, 6, 6), blocks=1)
    model = Colorizer(ColorizerConfig(glow=glow, condition=condition, outline=(6, 6), mirror=mirror))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def pictures() -> ImageBatch:
    torch.manual_seed(1)
    images = torch.randint(100, 150, (4, 2, 8, 8), dtype=torch.uint8)
    given = torch.cat([100 * torch.rand(4, 1, 16, 16), torch.zeros(4, 3, 16, 16)], 1)
    return ImageBatch(images, given, torch.randn(4, 2, 8, 8), torch.randn(2, 3, 128))


def test_an_outline_alone_leaves_the_flow_as_it_is_and_is_what_is_logged() -> None:
    model, batch = small(), pictures()
    wish = OutlineConfig(alone=True)
    config = TrainingConfig(outline=wish)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learner = Learner(
        Accelerator(cpu=True), model, model, make_optimizer(model, config), Ema(model, 0.9), config, None, 1
    )
    expected = outline_penalty(model, batch, wish).item()
    result = learner.step([batch], Progress(), 1e-3, False)
    assert result.accepted and result.loss == pytest.approx(expected, rel=1e-5)
    after = model.state_dict()
    changed = {
        name.partition(".")[0] for name, value in before.items() if not torch.equal(value, after[name])
    }
    assert "outline" in changed and not changed & {"flow", "priors"}
    assert outline_penalty(model, batch, wish) < expected


def gradients(model: Colorizer) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("mirror", [False, True])
def test_features_are_computed_once_for_all_aims(mirror: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = small(mirror=mirror), pictures()
    assert AIMS.best_of and AIMS.outline
    loss = model.bits_per_dim(model(batch)).mean()
    further = best_of_penalty(model, batch, AIMS.best_of) + outline_penalty(model, batch, AIMS.outline)
    (loss + further).backward()
    apart, calls, features = gradients(model), [], model.features
    model.zero_grad()
    monkeypatch.setattr(model, "features", lambda given: calls.append(len(given)) or features(given))
    learner = Learner(
        Accelerator(cpu=True), model, model, make_optimizer(model, AIMS), Ema(model, 0.9), AIMS, None, 1
    )
    assert learner._gradients([batch]) == pytest.approx(loss.item(), rel=1e-5)
    assert calls == [4]
    torch.testing.assert_close(gradients(model), apart, rtol=1e-4, atol=1e-6)
