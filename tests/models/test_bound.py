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
from vflow.config import EncoderConfig, GlowConfig, PriorConfig, VideoFlowConfig
from vflow.models import VideoBatch, VideoFlow, build_model
from vflow.models.pixel_map import count_values

PIXELS, SIDE, STATES = 16, 4, 2**16


def images(index: Tensor) -> Tensor:
    """The images with these numbers, uint8 (B, 1, 4, 4)."""
    bits = index[:, None] >> torch.arange(PIXELS) & 1
    return (255 * bits).to(torch.uint8).view(-1, 1, SIDE, SIDE)


def small_world(
    noise: str, values: str, history: bool, *, moves: float, strength: float, motion: int | None = None
) -> VideoFlow:
    """A perturbed model, started on clips whose pixels change with probability ``moves``."""
    model = build_model(
        VideoFlowConfig(
            glow=GlowConfig(channels=1, height=SIDE, width=SIDE, depth=(1, 1), hidden=(8, 8)),
            prior=PriorConfig(blocks=1, hidden=4, dilations=(1,), skip=False),
            history=EncoderConfig(hidden=(4, 4), blocks=1) if history else None,
            context=1,
            noise=noise,
            values=values,
            temper=1.0,
            motion=motion,
        )
    )
    before = images(torch.zeros(2000, dtype=torch.long) if moves < 0.5 else torch.randint(STATES, (2000,)))
    after = torch.where(torch.rand(before.shape) < moves, 255 - before, before)
    frames = torch.stack([before, after], 1)
    with torch.no_grad():
        assert isinstance(model.pixels, HistogramMap)
        counts = count_values(after, before if values == "transitions" else None)
        model.pixels.fit(counts, temper=1.0, floor=1e-9)
        model.initialize(VideoBatch(frames, torch.randn(2000, 1, 1, SIDE, SIDE), torch.ones(2000, 1).long()))
        for parameter in model.parameters():
            parameter.add_(strength * torch.randn_like(parameter))
    return model.eval()


def score(model: VideoFlow, before: Tensor, image: Tensor, eps: Tensor) -> Tensor:
    """log p(x̃) − log q of each image with this noise, float64 (B,)."""
    frames = torch.stack([before.expand_as(image), image], 1)
    return model(VideoBatch(frames, eps[:, None], torch.ones(len(eps), 1, dtype=torch.long))).double()


def proposal(narrow: Tensor) -> tuple[Tensor, Tensor]:
    """Noise of a proposal that is flat over the bin, and its log importance weight relative to N(0, 1)."""
    flat = 12 * torch.rand(narrow.shape) - 6
    weight = torch.distributions.Normal(0.0, 1.0).log_prob(flat) + math.log(12)
    eps = torch.where(narrow, flat, torch.randn(narrow.shape))
    return eps, torch.where(narrow, weight, 0.0).flatten(1).sum(1).double()


@pytest.mark.parametrize(
    ("noise", "values", "history"),
    [
        ("uniform", "counts", False),
        ("gaussian", "counts", True),
        ("anchored", "counts", False),
        ("anchored", "transitions", True),
    ],
)
@torch.no_grad()
def test_the_bound_is_one_of_probabilities(noise: str, values: str, history: bool) -> None:
    """Σ exp(bound) ≤ 1 over all states, two draws each; their mass, by importance sampling, is 1."""
    model = small_world(noise, values, history, moves=0.5, strength=0.02)
    before, bound, mass = images(torch.tensor([0b1010_0011_0101_1110])), 0.0, 0.0
    for part in torch.arange(STATES).chunk(4):
        image = images(part)
        mode = model.pixels.mode(before.float().expand(image.shape), image)
        narrow = {"uniform": image < 0, "gaussian": image >= 0, "anchored": image == mode}[noise]
        draws = torch.stack([score(model, before, image, torch.randn(image.shape)) for _ in range(2)])
        bound += draws.mean(0).exp().sum().item()
        eps, weight = proposal(narrow)
        mass += (score(model, before, image, eps) + weight).exp().sum().item()
    assert bound <= 1
    assert math.isclose(mass, 1, abs_tol=0.05)


@torch.no_grad()
def test_a_displacement_that_is_found_wastes_mass_and_makes_none() -> None:
    """With its displacement found by search, Σ p(d(x), x) stays below one: other ways to x go uncounted."""
    model = small_world("gaussian", "transitions", True, moves=0.5, strength=0.02, motion=1)
    before, mass = images(torch.tensor([0b1010_0011_0101_1110])), 0.0
    for part in torch.arange(STATES).chunk(4):
        image = images(part)
        eps, weight = proposal(torch.ones_like(image, dtype=torch.bool))
        mass += (score(model, before, image, eps) + weight).exp().sum().item()
    assert 0.05 < mass < 1


@pytest.mark.parametrize(
    ("noise", "values", "history"),
    [("gaussian", "counts", False), ("gaussian", "counts", True), ("anchored", "transitions", True)],
)
@torch.no_grad()
def test_a_world_that_stands_still_costs_next_to_nothing(noise: str, values: str, history: bool) -> None:
    """There the bound is tight: a log q that is too generous by half a percent per pixel shows."""
    model = small_world(noise, values, history, moves=0.0, strength=0.005)
    still = images(torch.zeros(4096, dtype=torch.long))
    nats = score(model, still[:1], still, torch.randn(still.shape))
    mass = (torch.logsumexp(nats, 0) - math.log(len(nats))).exp().item()
    assert 0.85 < nats.mean().exp() <= 1
    assert 0.97 < mass < 1.03
