"""Classification loss: cross-entropy of the Bayes classifier."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator

from vflow.config import (
    ClassificationConfig,
    ColorMeanLossConfig,
    DigitsConfig,
    GlowConfig,
    Preset,
    TrainingConfig,
)
from vflow.models import Digits, ImageBatch
from vflow.training.ema import Ema
from vflow.training.losses import ClassificationLoss
from vflow.training.schedule import make_optimizer
from vflow.training.state import Progress
from vflow.training.step import TrainState


def small() -> tuple[Digits, ImageBatch]:
    """A model of two classes, bright above and bright below, and pictures of both."""
    torch.manual_seed(0)
    glow = GlowConfig(channels=1, height=8, width=8, depth=(2, 2), hidden=(8, 8))
    model = Digits(DigitsConfig(glow=glow, classes=2, condition=(3, 3), noise="uniform", pixel_map="scaled"))
    labels = torch.arange(8) % 2
    images = torch.randint(0, 60, (8, 1, 8, 8), dtype=torch.uint8)
    for image, label in zip(images, labels, strict=True):
        image[0, 4 * label : 4 * label + 4] += 150
    batch = ImageBatch(images, labels, torch.randn(8, 1, 8, 8), selected=8)
    model.initialize(batch)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model, batch


def test_it_is_the_cross_entropy_of_bayes_rule() -> None:
    model, batch = small()
    nats = torch.stack([model(batch._replace(condition=torch.full((8,), k))) for k in range(2)], 1)
    posterior = nats.log_softmax(1).gather(1, batch.condition[:, None])
    found = ClassificationLoss(ClassificationConfig(subsample=1, weight=0.5))(model, batch)
    torch.testing.assert_close(found, -0.5 * posterior.mean(), rtol=1e-4, atol=1e-5)


def test_selected_examples_alone_are_scored_however_the_batch_is_divided() -> None:
    model, batch = small()
    loss = ClassificationLoss(ClassificationConfig(subsample=4))
    images, labels, eps = batch.images, batch.condition, batch.eps
    selected = ImageBatch(images[:2], labels[:2], eps[:2], selected=2)
    whole = loss(model, batch._replace(selected=2))
    torch.testing.assert_close(whole, ClassificationLoss(ClassificationConfig(subsample=1))(model, selected))
    micro = [
        ImageBatch(images[:4], labels[:4], eps[:4], selected=2),
        ImageBatch(images[4:], labels[4:], eps[4:]),
    ]
    torch.testing.assert_close(whole, sum(loss(model, part) for part in micro) / 2)


def test_descending_it_tells_classes_apart() -> None:
    model, batch = small()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    before = float(ClassificationLoss(ClassificationConfig(subsample=1))(model, batch).detach())
    for _ in range(20):
        optimizer.zero_grad()
        ClassificationLoss(ClassificationConfig(subsample=1))(model, batch).backward()
        optimizer.step()
    assert float(ClassificationLoss(ClassificationConfig(subsample=1))(model, batch).detach()) < 0.5 * before


def test_it_counts_from_its_start_on() -> None:
    model, batch = small()
    norms = {}
    for start, step in [(None, 0), (0.3, 2), (0.3, 3), (0.0, 0)]:
        losses = () if start is None else (ClassificationConfig(subsample=1, start=start),)
        config = TrainingConfig(losses=losses, grad_clip_norm=None, max_steps=10)
        state = TrainState(
            Accelerator(cpu=True),
            model,
            model,
            make_optimizer(model, config),
            Ema(model, 0.9),
            config,
            None,
            1,
        )
        progress = Progress(step=step)
        norms[start, step] = state.step([batch], progress, 0.0, False).norm
    assert norms[0.3, 2] == norms[None, 0] != norms[0.3, 3] == norms[0.0, 0]


def test_a_loss_in_place_of_the_likelihood_has_no_start() -> None:
    alone = ColorMeanLossConfig(pretrain_only=True, start=0.5)
    with pytest.raises(ValueError, match="counts from the first step; remove start"):
        TrainingConfig(losses=(alone,))


def test_only_digits_take_it() -> None:
    with pytest.raises(ValueError, match="classification is for digits"):
        Preset(training=TrainingConfig(losses=(ClassificationConfig(),)))
