"""Tiny VideoFlows of every form, away from their starting point, and batches for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vflow.config import EncoderConfig, FramePredictorConfig, GlowConfig, PriorConfig, VideoFlowConfig
from vflow.models import VideoBatch, VideoFlow, build_model

FRAMES = 6
Batches = Callable[..., VideoBatch]


def config(
    *,
    history: bool,
    values: str,
    noise: str,
    channels: int = 3,
    size: tuple[int, int] = (8, 12),
    coupling: str = "affine",
    context: int = 3,
    min_context: int = 1,
    skip: bool = True,
    motion: int | None = None,
    foresight: FramePredictorConfig | None = None,
) -> VideoFlowConfig:
    return VideoFlowConfig(
        glow=GlowConfig(
            channels=channels,
            height=size[0],
            width=size[1],
            depth=(2, 2),
            hidden=(8, 8),
            coupling=coupling,
            activation="gatu",
        ),
        prior=PriorConfig(blocks=2, hidden=6, dilations=(1, 2), skip=skip),
        history=EncoderConfig(hidden=(6, 8), blocks=1) if history else None,
        context=context,
        min_context=min_context,
        noise=noise,
        values=values,
        motion=motion,
        foresight=foresight,
    )


FORMS: dict[str, VideoFlowConfig] = {
    "paper-scaled-uniform": config(history=False, values="scaled", noise="uniform"),
    "paper-additive-grey-one-frame": config(
        history=False,
        values="scaled",
        noise="uniform",
        channels=1,
        size=(12, 8),
        coupling="additive",
        context=1,
        skip=False,
    ),
    "paper-counts-gaussian": config(history=False, values="counts", noise="gaussian", context=2),
    "paper-counts-anchored": config(history=False, values="counts", noise="anchored", channels=1),
    "frames-counts-gaussian": config(history=True, values="counts", noise="gaussian"),
    "frames-transitions-anchored": config(
        history=True, values="transitions", noise="anchored", channels=1, size=(8, 8), min_context=2
    ),
    "frames-transitions-anchored-colour": config(
        history=True, values="transitions", noise="anchored", size=(12, 8), context=2
    ),
    "frames-motion-transitions-gaussian": config(
        history=True, values="transitions", noise="gaussian", context=2, motion=2
    ),
    "frames-motion-counts-one-frame": config(
        history=True, values="counts", noise="anchored", channels=1, size=(8, 8), context=1, motion=1
    ),
    "frames-foresight-transitions-anchored": config(
        history=True,
        values="transitions",
        noise="anchored",
        size=(8, 8),
        foresight=FramePredictorConfig(code=3, hidden=(4, 6)),
    ),
    "frames-foresight-one-frame": config(
        history=True,
        values="counts",
        noise="gaussian",
        context=1,
        channels=1,
        foresight=FramePredictorConfig(code=2, hidden=(4,)),
    ),
    "frames-scaled-one-frame": config(
        history=True, values="scaled", noise="uniform", size=(8, 8), context=1, coupling="additive"
    ),
}


def make_batch(form: VideoFlowConfig, size: int = 3, frames: int = FRAMES, full: bool = False) -> VideoBatch:
    """Clips whose pixels often stand still or move together; windows drawn at random, or all ``full``."""
    glow, first = form.glow, form.min_context
    shape = (size, frames, glow.channels, glow.height, glow.width)
    clip = torch.randint(256, shape)
    for t in range(1, frames):
        before = clip[:, t - 1]
        if form.motion:
            before = torch.stack(
                [image.roll(torch.randint(-1, 2, (2,)).tolist(), (1, 2)) for image in before]
            )
        clip[:, t] = torch.where(torch.rand(before.shape) < 0.6, before, clip[:, t])
    longest = torch.arange(first, frames).clamp_max(form.context).expand(size, -1)
    window = first + (torch.rand(longest.shape) * (longest - first + 1)).long()
    eps = torch.randn(size, frames - first, *shape[2:])
    return VideoBatch(clip.to(torch.uint8), eps, longest.clone() if full else window)


@torch.no_grad()
def make_model(form: VideoFlowConfig, strength: float = 0.05) -> VideoFlow:
    """Data-dependent parts set, then every parameter moved: zero-initialised layers say something too."""
    torch.manual_seed(7)
    model = build_model(form).eval()
    model.fit([make_batch(form, size=8)])
    model.initialize(make_batch(form, size=8))
    for parameter in model.parameters():
        parameter.add_(strength * torch.randn_like(parameter))
    return model


@pytest.fixture(params=FORMS.values(), ids=FORMS.keys())
def form(request: pytest.FixtureRequest) -> VideoFlowConfig:
    """One kind of VideoFlow after the other."""
    return request.param


@pytest.fixture
def model(form: VideoFlowConfig) -> VideoFlow:
    return make_model(form)


@pytest.fixture
def batch(form: VideoFlowConfig) -> VideoBatch:
    """Three clips of six frames, windows drawn at random."""
    torch.manual_seed(11)
    return make_batch(form)


@pytest.fixture
def noise(model: VideoFlow) -> Callable[[int], tuple[Tensor, ...]]:
    """Sampling noise for a number of futures, one tensor per level."""
    return lambda size: tuple(torch.randn(size, *shape) for shape in model.latent_shapes)


@pytest.fixture
def batches() -> Batches:
    return make_batch


@pytest.fixture
def models() -> Callable[..., VideoFlow]:
    return make_model


@pytest.fixture
def forms() -> dict[str, VideoFlowConfig]:
    return FORMS
