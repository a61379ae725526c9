"""One optimisation step."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from vflow.config import (
    BestOfConfig,
    ColorizerConfig,
    ColorMeanLossConfig,
    EncoderConfig,
    GlowConfig,
    TrainingConfig,
)
from vflow.models import Colorizer, ImageBatch
from vflow.training.ema import Ema
from vflow.training.losses import BestOfLoss, ColorMeanLoss
from vflow.training.schedule import make_optimizer
from vflow.training.state import Progress
from vflow.training.step import TrainState

BEST_OF = BestOfConfig(num_samples=3, subsample=2, weight=0.5, std_bounds=(0.0, 1e6))
COLOR_MEAN = ColorMeanLossConfig(weight=0.3)
CONFIG = TrainingConfig(losses=(BEST_OF, COLOR_MEAN))


def small(*, flip_tta: bool = False) -> Colorizer:
    torch.manual_seed(0)
    glow = GlowConfig(channels=2, height=8, width=8, depth=(1, 1, 1), hidden=(4, 4, 4))
    condition = EncoderConfig(hidden=(4, 6, 6, 6), blocks=1)
    model = Colorizer(ColorizerConfig(glow=glow, condition=condition, color_mean=(6, 6), flip_tta=flip_tta))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def pictures() -> ImageBatch:
    torch.manual_seed(1)
    images = torch.randint(100, 150, (4, 2, 8, 8), dtype=torch.uint8)
    given = torch.cat([100 * torch.rand(4, 1, 16, 16), torch.zeros(4, 3, 16, 16)], 1)
    return ImageBatch(images, given, torch.randn(4, 2, 8, 8), torch.randn(2, 3, 128))


def test_pretraining_the_color_mean_leaves_the_flow_as_it_is_and_logs_its_loss() -> None:
    model, batch = small(), pictures()
    loss = ColorMeanLossConfig(pretrain_only=True)
    config = TrainingConfig(losses=(loss,))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = TrainState(
        Accelerator(cpu=True), model, model, make_optimizer(model, config), Ema(model, 0.9), config, None, 1
    )
    expected = ColorMeanLoss(loss)(model, batch).item()
    result = state.step([batch], Progress(), 1e-3, False)
    assert result.accepted and result.loss == pytest.approx(expected, rel=1e-5)
    after = model.state_dict()
    changed = {
        name.partition(".")[0] for name, value in before.items() if not torch.equal(value, after[name])
    }
    assert "color_mean" in changed and not changed & {"flow", "priors"}
    assert ColorMeanLoss(loss)(model, batch) < expected


def gradients(model: Colorizer) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("flip_tta", [False, True])
def test_features_are_computed_once_for_all_losses(flip_tta: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = small(flip_tta=flip_tta), pictures()
    loss = model.bits_per_dim(model(batch)).mean()
    auxiliary = BestOfLoss(BEST_OF)(model, batch) + ColorMeanLoss(COLOR_MEAN)(model, batch)
    (loss + auxiliary).backward()
    apart, calls, features = gradients(model), [], model.features
    model.zero_grad()
    monkeypatch.setattr(model, "features", lambda given: calls.append(len(given)) or features(given))
    state = TrainState(
        Accelerator(cpu=True), model, model, make_optimizer(model, CONFIG), Ema(model, 0.9), CONFIG, None, 1
    )
    assert state._gradients([batch], 0) == pytest.approx(loss.item(), rel=1e-5)
    assert calls == [4]
    torch.testing.assert_close(gradients(model), apart, rtol=1e-4, atol=1e-6)


def test_gradients_of_micro_batches_are_those_of_the_whole_batch() -> None:
    """Auxiliary losses included: each counts by its share of the batch."""
    model, batch = small(), pictures()
    assert batch.sample_eps is not None
    state = TrainState(
        Accelerator(cpu=True), model, model, make_optimizer(model, CONFIG), Ema(model, 0.9), CONFIG, None, 1
    )
    state._gradients([batch], 0)
    whole = gradients(model)
    model.zero_grad()
    rows = ([0, 2], [1, 3])
    state._gradients(
        [
            ImageBatch(batch.images[r], batch.condition[r], batch.eps[r], batch.sample_eps[k : k + 1])
            for k, r in enumerate(rows)
        ],
        0,
    )
    torch.testing.assert_close(gradients(model), whole, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_optimizers_take_all_their_settings(weight_decay: float) -> None:
    config = TrainingConfig(weight_decay=weight_decay, betas=(0.5, 0.75), adam_eps=1e-4, learning_rate=0.25)
    model = torch.nn.Linear(2, 2)
    made = make_optimizer(model, config)
    assert {key: made.defaults[key] for key in ("betas", "eps", "lr")} == {
        "betas": (0.5, 0.75), "eps": 1e-4, "lr": 0.25,
    }  # fmt: skip
    for _ in range(2):  # Adam's second step depends on both betas
        model.zero_grad()
        model(torch.ones(1, 2)).sum().backward()
        made.step()
    first = next(iter(made.state.values()))
    torch.testing.assert_close(first["exp_avg"], torch.full((2, 2), 1 - 0.5**2))


def test_weight_decay_is_decoupled() -> None:
    config = TrainingConfig(weight_decay=0.5, learning_rate=0.1, betas=(0.5, 0.75))
    model = torch.nn.Linear(1, 1, bias=False)
    made = make_optimizer(model, config)
    assert made.defaults["betas"] == (0.5, 0.75)
    before = float(model.weight.detach())
    model.weight.grad = torch.zeros(1, 1)
    made.step()
    assert float(model.weight.detach()) == pytest.approx(before * (1 - 0.1 * 0.5))
