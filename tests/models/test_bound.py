"""bits/dim is a code length: over all states of a small world the bound's probabilities sum to at most one.

The world: 4×4 images of one channel with pixels 0 or 255, 65,536 of them, each given one frame before it.
All but a billionth of the mass lies on them, as the pixel map leaves the other 254 values next to nothing.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vflow.bijections import HistogramMap
from vflow.bijections.pixel_map import count_values
from vflow.config import (
    AugmentationConfig,
    AugmentedVideoFlowConfig,
    EncoderConfig,
    FrameConditionedConfig,
    GlowConfig,
    LatentPriorConfig,
    MotionConfig,
    PriorConfig,
    ReferenceVideoFlowConfig,
    VideoConfig,
    VideoFlowConfig,
)
from vflow.models import VideoBatch, VideoModel, build_model

PIXELS, SIDE, STATES = 16, 4, 2**16
GLOW = GlowConfig(channels=1, height=SIDE, width=SIDE, depth=(1, 1), hidden=(8, 8))
SEES_FRAMES = {
    "prior": PriorConfig(blocks=1, hidden=4, dilations=(1,)),
    "encoder": EncoderConfig(hidden=(4, 4), blocks=1),
    "pixel_map": "conditional",
}


def paper(noise: str) -> VideoFlowConfig:
    prior = LatentPriorConfig(blocks=1, hidden=4, dilations=(1,), skip=False)
    return VideoFlowConfig(glow=GLOW, prior=prior, context=1, noise=noise, pixel_map="marginal")


def sees_frames(noise: str) -> FrameConditionedConfig:
    return FrameConditionedConfig(glow=GLOW, context=1, noise=noise, **SEES_FRAMES)


def motion() -> ReferenceVideoFlowConfig:
    reference = MotionConfig(max_displacement=1)
    return ReferenceVideoFlowConfig(
        glow=GLOW, context=1, noise="gaussian", reference=reference, **SEES_FRAMES
    )


def augmented() -> AugmentedVideoFlowConfig:
    """Predictions are grey levels of which the counts of two-valued images say nothing: a marginal map."""
    settings = SEES_FRAMES | {"pixel_map": "marginal"}
    augmentation = AugmentationConfig(size=1, hidden=(4,))
    return AugmentedVideoFlowConfig(
        glow=GLOW, context=1, noise="gaussian", augmentation=augmentation, **settings
    )


def images(index: Tensor) -> Tensor:
    """The images with these numbers, uint8 (B, 1, 4, 4)."""
    bits = index[:, None] >> torch.arange(PIXELS) & 1
    return (255 * bits).to(torch.uint8).view(-1, 1, SIDE, SIDE)


def small_world(config: VideoConfig, *, moves: float, strength: float) -> VideoModel:
    """A perturbed model, started on clips whose pixels change with probability ``moves``."""
    torch.manual_seed(0)
    model = build_model(config)
    before = images(torch.zeros(2000, dtype=torch.long) if moves < 0.5 else torch.randint(STATES, (2000,)))
    after = torch.where(torch.rand(before.shape) < moves, 255 - before, before)
    frames = torch.stack([before, after], 1)
    with torch.no_grad():
        assert isinstance(model, VideoModel) and isinstance(model.pixel_map, HistogramMap)
        counts = count_values(after, before if config.pixel_map == "conditional" else None)
        model.pixel_map.set_counts(counts, exponent=1.0, floor=1e-9)
        eps, windows = torch.randn(2000, 1, 1, SIDE, SIDE), torch.ones(2000, 1).long()
        model.initialize(VideoBatch(frames, eps, windows, augmented_eps=torch.randn(2000, 1, 1)))
        for parameter in model.parameters():
            parameter.add_(strength * torch.randn_like(parameter))
    return model.eval()


def score(model: VideoModel, before: Tensor, image: Tensor, eps: Tensor) -> Tensor:
    """log p(x̃) − log q of each image with this noise, float64 (B,)."""
    frames = torch.stack([before.expand_as(image), image], 1)
    windows = torch.ones(len(eps), 1, dtype=torch.long)
    batch = VideoBatch(frames, eps[:, None], windows, augmented_eps=torch.randn(len(eps), 1, 1))
    return model(batch).double()


def proposal(noise: str, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Noise for importance sampling, and its log weight relative to N(0, 1).

    Gaussian noise in a bin is narrow, so it is drawn flat over the bin.
    """
    if noise != "gaussian":
        return torch.randn(shape), torch.zeros(shape[0]).double()
    flat = 12 * torch.rand(shape) - 6
    weight = torch.distributions.Normal(0.0, 1.0).log_prob(flat) + math.log(12)
    return flat, weight.flatten(1).sum(1).double()


@pytest.mark.parametrize(
    "config",
    [
        paper("uniform"),
        paper("learned"),
        sees_frames("uniform"),
        sees_frames("gaussian"),
    ],
    ids=["paper-uniform", "paper-learned", "frames-uniform", "frames-gaussian"],
)
@torch.no_grad()
def test_the_bound_is_one_of_probabilities(config: VideoConfig) -> None:
    """Σ exp(bound) ≤ 1 over all states, two draws each; their mass, by importance sampling, is 1."""
    model = small_world(config, moves=0.5, strength=0.02)
    before, bound, mass = images(torch.tensor([0b1010_0011_0101_1110])), 0.0, 0.0
    for part in torch.arange(STATES).chunk(4):
        image = images(part)
        draws = torch.stack([score(model, before, image, torch.randn(image.shape)) for _ in range(2)])
        bound += draws.mean(0).exp().sum().item()
        eps, weight = proposal(config.noise, image.shape)
        mass += (score(model, before, image, eps) + weight).exp().sum().item()
    assert bound <= 1
    assert math.isclose(mass, 1, abs_tol=0.05)


@pytest.mark.parametrize("config", [motion(), augmented()], ids=["motion", "augmented"])
@torch.no_grad()
def test_a_reference_that_is_found_wastes_mass_and_makes_none(config: VideoConfig) -> None:
    """With z where the encoder finds it, Σ p(z, x) / q(z) stays below one: other ways to x go uncounted."""
    model = small_world(config, moves=0.5, strength=0.02)
    before, mass = images(torch.tensor([0b1010_0011_0101_1110])), 0.0
    for part in torch.arange(STATES).chunk(4):
        image = images(part)
        eps, weight = proposal("gaussian", image.shape)
        mass += (score(model, before, image, eps) + weight).exp().sum().item()
    assert 0.05 < mass < 1


@pytest.mark.parametrize("config", [paper("gaussian"), sees_frames("gaussian")], ids=["paper", "frames"])
@torch.no_grad()
def test_a_world_that_stands_still_costs_next_to_nothing(config: VideoConfig) -> None:
    """There the bound is tight: a log q that is too generous by half a percent per pixel shows."""
    model = small_world(config, moves=0.0, strength=0.005)
    still = images(torch.zeros(4096, dtype=torch.long))
    nats = score(model, still[:1], still, torch.randn(still.shape))
    mass = (torch.logsumexp(nats, 0) - math.log(len(nats))).exp().item()
    assert 0.85 < nats.mean().exp() <= 1
    assert 0.97 < mass < 1.03
