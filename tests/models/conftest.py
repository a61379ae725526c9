"""Tiny video models of every form, away from their starting point, and batches for them."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vflow.config import (
    ActionsConfig,
    AugmentationConfig,
    AugmentedVideoFlowConfig,
    EncoderConfig,
    FrameConditionedConfig,
    GlowConfig,
    LatentPriorConfig,
    LatticePriorConfig,
    LatticeVideoFlowConfig,
    MotionConfig,
    PriorConfig,
    ReferenceVideoFlowConfig,
    VideoConfig,
    VideoFlowConfig,
    WaveletPriorConfig,
)
from vflow.models import VideoBatch, VideoModel, build_model

FRAMES = 6
Batches = Callable[..., VideoBatch]


def glow(channels: int = 3, size: tuple[int, int] = (8, 12), coupling: str = "affine") -> GlowConfig:
    return GlowConfig(
        channels=channels,
        height=size[0],
        width=size[1],
        depth=(2, 2),
        hidden=(8, 8),
        coupling=coupling,
        activation="gatu",
    )


def without_steps(channels: int, size: tuple[int, int] = (8, 12)) -> GlowConfig:
    return GlowConfig(
        channels=channels, height=size[0], width=size[1], depth=(0, 0), hidden=(1, 1), split="quarter"
    )


LATENT_PRIOR = LatentPriorConfig(blocks=2, hidden=6, dilations=(1, 2))
FRAMES_SEEN = {
    "prior": PriorConfig(blocks=2, hidden=6, dilations=(1, 2)),
    "encoder": EncoderConfig(hidden=(6, 8), blocks=1),
}
LATTICE = {"prior": LatticePriorConfig(hidden=6, dilations=(1,), coarsest=8, separate=2, reach=2)}
PIXEL_STEPS = LATTICE["prior"].model_copy(update={"step": 1, "radius": 2})
WAVELETS = WaveletPriorConfig(
    hidden=(6, 6), dilations=((1,), (1,)), radius=1, far=(0, 2), reach=1, parts=4, components=2
)
FORMS: dict[str, VideoConfig] = {
    "paper-scaled-uniform": VideoFlowConfig(
        glow=glow(), prior=LATENT_PRIOR, context=3, pixel_map="scaled", noise="uniform"
    ),
    "paper-additive-grey-one-frame": VideoFlowConfig(
        glow=glow(1, (12, 8), "additive"),
        prior=LATENT_PRIOR.model_copy(update={"skip": False}),
        context=1,
        noise="uniform",
    ),
    "paper-marginal-gaussian": VideoFlowConfig(
        glow=glow(), prior=LATENT_PRIOR, context=2, pixel_map="marginal", noise="gaussian"
    ),
    "paper-marginal-noise-that-sees-the-past": VideoFlowConfig(
        glow=glow(3, (8, 8)).model_copy(update={"split": "quarter", "start": "haar"}),
        prior=LATENT_PRIOR.model_copy(update={"hidden": (6, 8)}),
        context=2,
        pixel_map="marginal",
        noise="conditional",
    ),
    "paper-mixtures": VideoFlowConfig(
        glow=glow(),
        prior=LATENT_PRIOR.model_copy(update={"mixtures": 3}),
        context=2,
        pixel_map="marginal",
        noise="gaussian",
    ),
    "lattice-colour": LatticeVideoFlowConfig(glow=without_steps(3, (8, 8)), context=2, **LATTICE),
    "lattice-grey-one-frame": LatticeVideoFlowConfig(glow=without_steps(1), context=1, **LATTICE),
    "lattice-pixels": LatticeVideoFlowConfig(glow=without_steps(1, (8, 8)), context=2, prior=PIXEL_STEPS),
    "wavelets-two-pixels-apart": LatticeVideoFlowConfig(
        glow=without_steps(3, (8, 8)), context=2, prior=WAVELETS.model_copy(update={"step": 2})
    ),
    "wavelets-colour": LatticeVideoFlowConfig(glow=without_steps(3, (8, 8)), context=2, prior=WAVELETS),
    "wavelets-with-actions": LatticeVideoFlowConfig(
        glow=without_steps(3, (8, 8)),
        context=2,
        prior=WAVELETS,
        actions=ActionsConfig(size=3, hidden=8, channels=2, grid=2),
    ),
    "wavelets-extrapolated": LatticeVideoFlowConfig(
        glow=without_steps(3, (16, 16)), context=3, prior=WAVELETS.model_copy(update={"extrapolated": True})
    ),
    "wavelets-grey-one-frame": LatticeVideoFlowConfig(glow=without_steps(1), context=1, prior=WAVELETS),
    "frames-marginal-gaussian": FrameConditionedConfig(
        glow=glow(), context=3, pixel_map="marginal", noise="gaussian", **FRAMES_SEEN
    ),
    "frames-conditional-uniform": FrameConditionedConfig(
        glow=glow(1, (8, 8)),
        context=3,
        min_context=2,
        pixel_map="conditional",
        noise="uniform",
        **FRAMES_SEEN,
    ),
    "frames-conditional-gaussian-colour": FrameConditionedConfig(
        glow=glow(3, (12, 8)), context=2, pixel_map="conditional", noise="gaussian", **FRAMES_SEEN
    ),
    "frames-scaled-one-frame": FrameConditionedConfig(
        glow=glow(3, (8, 8), "additive"), context=1, pixel_map="scaled", noise="uniform", **FRAMES_SEEN
    ),
    "motion-conditional-gaussian": ReferenceVideoFlowConfig(
        glow=glow(),
        reference=MotionConfig(max_displacement=2),
        context=2,
        pixel_map="conditional",
        noise="gaussian",
        **FRAMES_SEEN,
    ),
    "motion-marginal-one-frame": ReferenceVideoFlowConfig(
        glow=glow(1, (8, 8)),
        reference=MotionConfig(max_displacement=1),
        context=1,
        pixel_map="marginal",
        noise="uniform",
        **FRAMES_SEEN,
    ),
    "augmented-conditional-gaussian": AugmentedVideoFlowConfig(
        glow=glow(3, (8, 8)),
        augmentation=AugmentationConfig(size=3, hidden=(4, 6)),
        context=3,
        pixel_map="conditional",
        noise="gaussian",
        **FRAMES_SEEN,
    ),
    "augmented-one-frame": AugmentedVideoFlowConfig(
        glow=glow(1),
        augmentation=AugmentationConfig(size=2, hidden=(4,)),
        context=1,
        pixel_map="marginal",
        noise="gaussian",
        **FRAMES_SEEN,
    ),
}

FEW = (
    "paper-marginal-gaussian",
    "frames-conditional-uniform",
    "augmented-conditional-gaussian",
    "wavelets-colour",
)
"""One form of each architecture, for what hangs on no detail of a form."""
few = pytest.mark.parametrize("form", FEW, indirect=True)


def make_batch(form: VideoConfig, size: int = 3, frames: int = FRAMES, full: bool = False) -> VideoBatch:
    """Clips whose pixels often stand still or move together; windows drawn at random, or all ``full``."""
    image, first = form.glow, form.min_context
    shape = (size, frames, image.channels, image.height, image.width)
    clip = torch.randint(256, shape)
    for t in range(1, frames):
        before = clip[:, t - 1]
        if form.kind == "reference_videoflow":
            before = torch.stack(
                [image.roll(torch.randint(-1, 2, (2,)).tolist(), (1, 2)) for image in before]
            )
        clip[:, t] = torch.where(torch.rand(before.shape) < 0.6, before, clip[:, t])
    longest = torch.arange(first, frames).clamp_max(form.context).expand(size, -1)
    window = first + (torch.rand(longest.shape) * (longest - first + 1)).long()
    eps = torch.randn(size, frames - first, *shape[2:])
    augmented = torch.randn(size, frames - first, form.augmented) if form.augmented else None
    window = longest.clone() if full else window
    return VideoBatch(clip.to(torch.uint8), eps, window, augmented_eps=augmented)


def cut(batch: VideoBatch, examples: slice, targets: slice = slice(None)) -> VideoBatch:
    """Some examples of a batch, and of their noise and windows that of some targets."""
    augmented = None if batch.augmented_eps is None else batch.augmented_eps[examples, targets]
    return VideoBatch(
        batch.frames[examples],
        batch.eps[examples, targets],
        batch.window[examples, targets],
        augmented_eps=augmented,
    )


def make_model(form: VideoConfig, strength: float = 0.05) -> VideoModel:
    """A model whose data-dependent parts are set and every parameter moved: layers start at zero."""
    model = copy.deepcopy(_made(form, strength))
    torch.manual_seed(7)
    return model


@functools.cache
@torch.no_grad()
def _made(form: VideoConfig, strength: float) -> VideoModel:
    torch.manual_seed(7)
    model = build_model(form).eval()
    model.fit([make_batch(form, size=8)])
    model.initialize(make_batch(form, size=8))
    for parameter in model.parameters():
        parameter.add_(strength * torch.randn_like(parameter))
    return model


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> VideoConfig:
    """One kind of video model after the other."""
    return FORMS[request.param]


@pytest.fixture
def model(form: VideoConfig) -> VideoModel:
    return make_model(form)


@pytest.fixture
def batch(form: VideoConfig) -> VideoBatch:
    """Three clips of six frames, windows drawn at random."""
    torch.manual_seed(11)
    return make_batch(form)


@pytest.fixture
def noise(model: VideoModel) -> Callable[[int], tuple[Tensor, ...]]:
    """Sampling noise for a number of futures, one tensor per level."""
    return lambda size: tuple(torch.randn(size, *shape) for shape in model.latent_shapes)


@pytest.fixture
def batches() -> Batches:
    return make_batch


@pytest.fixture
def models() -> Callable[..., VideoModel]:
    return make_model


@pytest.fixture
def forms() -> dict[str, VideoConfig]:
    return FORMS
