"""Every preset builds; the paper's settings have the paper's sizes."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import pytest
import torch
from torch.nn.functional import avg_pool2d

from vflow.config import GlowConfig, load_preset, preset_names
from vflow.models import Model, VideoBatch, VideoFlow, build_model
from vflow.models.glow import Glow
from vflow.pipelines.evaluate.latents import video_latent_share
from vflow.priors import Gaussian, TemporalPrior

MILLIONS = {"bair": 67.5, "bair-samples": 44.9, "shapes-glow": 68.0}


@cache
def skeleton(name: str) -> Model:
    """The preset's model without memory for its parameters."""
    with torch.device("meta"):
        return build_model(load_preset(name).model)


OTHERS = {"codec", "density"}  # families without a Glow
FLOWS = [name for name in preset_names() if load_preset(name).model.family not in OTHERS]


@pytest.mark.parametrize("name", FLOWS)
def test_latents_hold_every_dimension(name: str) -> None:
    config = load_preset(name).model
    glow, model = config.glow, skeleton(name)
    coded = Fraction(3, 4) if config.family == "super_resolution" else 1  # block means are given
    sizes = [math.prod(shape) for shape in model.flow.latent_shapes]
    assert len(sizes) >= glow.levels and sum(sizes) == coded * glow.channels * glow.height * glow.width


@pytest.mark.parametrize("name", MILLIONS)
def test_the_papers_settings_have_the_papers_sizes(name: str) -> None:
    count = sum(parameter.numel() for parameter in skeleton(name).parameters()) / 1e6
    assert abs(count / MILLIONS[name] - 1) < 0.01


def test_the_papers_latents() -> None:
    assert skeleton("bair").latent_shapes == ((6, 32, 32), (12, 16, 16), (48, 8, 8))


def test_videoflow_is_the_papers_form() -> None:
    """Couplings see their own frame alone, priors are Gaussian, and the Glow's latents cause all variance."""
    config = load_preset("videoflow").model
    fewer = {"height": 16, "width": 16, "depth": config.glow.depth[:3], "hidden": (4, 4, 4)}
    prior = config.prior.model_copy(update={"hidden": (4, 4, 4)})
    small = config.model_copy(update={"glow": config.glow.model_copy(update=fewer), "prior": prior})
    model = build_model(small).eval()
    assert isinstance(model, VideoFlow) and all(small.glow.depth) and small.prior.skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        frames = torch.randint(0, 256, (2, 3, 3, 16, 16), dtype=torch.uint8)
        batch = VideoBatch(frames, torch.randn(2, 2, 3, 16, 16), torch.tensor([[1, 2]] * 2))
        condition, code = model.encode_batch(batch)
        assert not any(feature is not None for feature in condition.features)
        for prior, seen, above in zip(model.priors, condition.prior_inputs, code.passed_up, strict=True):
            assert isinstance(prior, TemporalPrior) and isinstance(prior(seen, above), Gaussian)
    found = video_latent_share(model, [frames[0, :1].permute(0, 2, 3, 1).numpy()], 2, (1.0,) * 3)
    assert found["latent_share"] == 1 and "reference_share" not in found and "glow_share" not in found


def test_a_haar_start_passes_means_upward() -> None:
    config = GlowConfig(height=8, width=12, depth=(2, 1), hidden=(4, 4), split="quarter", start="haar")
    x = torch.randn(2, 3, 8, 12)
    above = Glow(config).eval().encode(x, [None, None]).passed_up[0]
    torch.testing.assert_close(above, 2 * avg_pool2d(x, 2))
