"""Small codecs with perturbed weights, and pictures."""

from __future__ import annotations

import numpy as np
import torch

from vflow.config import (
    ClipCodecConfig,
    GlowConfig,
    LatticeConfig,
    LatticePriorConfig,
    LatticeVideoFlowConfig,
    PhotoCodecConfig,
    WaveletPriorConfig,
)
from vflow.models import ClipCodec, LatticeVideoFlow, PhotoCodec
from vflow.models.lattice import PhaseNetwork
from vflow.priors.lattice import LatticePrior

LATTICE = LatticeConfig(hidden=8, head=8, mixtures=2, levels=2)


def perturbed(model: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def photo_codec(*, direct: bool = False) -> PhotoCodec:
    torch.manual_seed(0)
    config = PhotoCodecConfig(lattice=LATTICE, direct=LATTICE if direct else None)
    model = perturbed(PhotoCodec(config))
    assert isinstance(model, PhotoCodec)
    return model


def clip_codec(*, max_displacement: int = 0) -> ClipCodec:
    torch.manual_seed(0)
    following = LATTICE.model_copy(update={"references": 2, "max_displacement": max_displacement})
    model = perturbed(ClipCodec(ClipCodecConfig(first=LATTICE, following=following)))
    assert isinstance(model, ClipCodec)
    with torch.no_grad():  # sure of the wrong values: no other frame is worth coding as a first one
        for network in model.first.modules():
            if isinstance(network, PhaseNetwork):
                for layer in network.outputs:
                    layer.bias[2:4] -= 20.0
    return model


def video_flow(channels: int = 3, *, wavelets: bool = False) -> LatticeVideoFlow:
    """A model of frames of 8×8 and 16×8, given two."""
    torch.manual_seed(0)
    glow = GlowConfig(channels=channels, height=8, width=8, depth=(0, 0), hidden=(1, 1), split="quarter")
    prior: LatticePriorConfig | WaveletPriorConfig = LatticePriorConfig(
        hidden=6, dilations=(1,), coarsest=8, separate=2, reach=2, step=1
    )
    if wavelets:
        prior = WaveletPriorConfig(
            hidden=(6, 6), dilations=((1,), (1,)), radius=1, far=(2, 2), parts=4, components=2
        )
    config = LatticeVideoFlowConfig(glow=glow, prior=prior, context=2, min_context=2, largest_side=16)
    model = perturbed(LatticeVideoFlow(config))
    assert isinstance(model, LatticeVideoFlow)
    if isinstance(model.prior, LatticePrior):
        depth = model.prior.split[0]
        with torch.no_grad():  # modes so broad that few pixels are all but impossible
            model.prior.net.conv_out.bias[depth : 2 * depth] += 2.0
    return model


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture of slow waves and a little noise, uint8 (height, width, 3)."""
    random = np.random.default_rng(seed)
    y, x = np.arange(height)[:, None, None], np.arange(width)[None, :, None]
    waves = 120 + 60 * np.sin(y / 9 + np.arange(3)) + 50 * np.cos(x / 7 + seed)
    return (waves + random.normal(0, 2, (height, width, 3))).clip(0, 255).astype(np.uint8)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3)).astype(np.uint8)
