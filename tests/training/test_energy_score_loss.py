"""Energy-score loss of sampled frames."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import Tensor

from vflow.config import (
    AugmentationConfig,
    AugmentedVideoFlowConfig,
    DigitsConfig,
    EncoderConfig,
    EnergyScoreConfig,
    GlowConfig,
    LatticeVideoFlowConfig,
    Preset,
    TrainingConfig,
)
from vflow.models import AugmentedVideoFlow, VideoBatch
from vflow.training.losses import EnergyScoreLoss

CONFIG = EnergyScoreConfig(num_samples=3, weight=0.5)
FRAMES, SIDE = 4, 8


def small() -> AugmentedVideoFlow:
    torch.manual_seed(0)
    model = AugmentedVideoFlow(
        AugmentedVideoFlowConfig(
            glow=GlowConfig(channels=3, height=SIDE, width=SIDE, depth=(2, 2), hidden=(8, 8)),
            encoder=EncoderConfig(hidden=(6, 8), blocks=1),
            augmentation=AugmentationConfig(size=2, hidden=(6, 8)),
            context=2,
            min_context=2,
            noise="gaussian",
            pixel_map="conditional",
        )
    )
    model.fit([batch(16)])
    model.initialize(batch(16))
    return model


def batch(size: int) -> VideoBatch:
    """Clips whose pixels mostly stand still."""
    torch.manual_seed(1)
    clip = torch.full((size, FRAMES, 3, SIDE, SIDE), 100)
    clip = clip + torch.randint(-40, 40, clip.shape) * (torch.rand(clip.shape) < 0.2)
    return VideoBatch(
        clip.to(torch.uint8),
        torch.randn(size, 2, 3, SIDE, SIDE),
        torch.full((size, 2), 2),
        sample_eps=torch.randn(size, 3, 3 * SIDE * SIDE),
        augmented_eps=torch.zeros(size, 2, 2),  # as step finds them again
    )


def test_it_is_the_score_of_frames_that_step_samples() -> None:
    """Frames sampled one by one, given true references; of three, each pair is as often apart as another."""
    model, data = small().eval(), batch(3)
    assert data.sample_eps is not None
    scores = []
    for i in range(3):
        rollout = model.start(data.frames[i : i + 1, :-1])
        truth = data.frames[i, -1]
        way = model.encode_frame(rollout, truth[None])[-1]
        made = []
        for noise in data.sample_eps[i]:
            sizes = [shape[0] * shape[1] * shape[2] for shape in model.flow.latent_shapes]
            parts = zip(noise.split(sizes), model.flow.latent_shapes, strict=True)
            eps = [part.unflatten(0, shape)[None] for part, shape in parts]
            made.append(model.step(rollout, [*eps, way], [1.0] * (len(eps) + 1))[1].raw[0])
        errors = [rms(one - truth.float() - 0.5) for one in made]
        apart = [rms(one - other) for one, other in combinations(made, 2)]
        scores.append(sum(errors) / 3 - 0.5 * sum(apart) / 3)
    expected = 0.5 * torch.stack(scores).mean()
    torch.testing.assert_close(EnergyScoreLoss(CONFIG)(model, data).detach(), expected, rtol=1e-3, atol=1e-3)


def rms(difference: Tensor) -> Tensor:
    return difference.square().mean().sqrt()


def test_micro_batches_add_up_to_the_batch() -> None:
    model, data = small().eval(), batch(4)
    halves = [VideoBatch(*(None if t is None else t[part] for t in data)) for part in (slice(2), slice(2, 4))]
    mean = sum(EnergyScoreLoss(CONFIG)(model, half) for half in halves) / 2
    torch.testing.assert_close(EnergyScoreLoss(CONFIG)(model, data), mean, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_descending_it_mends_scatter_too_much_and_too_little(factor: float) -> None:
    model, data = small(), batch(4)
    start = float(EnergyScoreLoss(CONFIG)(model, data).detach())
    with torch.no_grad():
        for prior in model.priors:
            prior.conv_out.bias[len(prior.conv_out.bias) // 2 :] += torch.tensor(factor).log()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    before = float(EnergyScoreLoss(CONFIG)(model, data).detach())
    for _ in range(40):
        optimizer.zero_grad()
        EnergyScoreLoss(CONFIG)(model, data).backward()
        optimizer.step()
    after = float(EnergyScoreLoss(CONFIG)(model, data).detach())
    assert before > 1.15 * start and after < 0.5 * before


@pytest.mark.parametrize("model", [DigitsConfig(), LatticeVideoFlowConfig()])
def test_only_video_models_of_differentiable_draws_take_it(
    model: DigitsConfig | LatticeVideoFlowConfig,
) -> None:
    with pytest.raises(ValueError, match="energy_score is for a video model other than lattice_videoflow"):
        Preset(model=model, training=TrainingConfig(losses=(CONFIG,)))
