"""Every preset builds; the paper's settings have the paper's sizes."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import pytest
import torch

from vflow.config import load_preset, preset_names
from vflow.models import Model, build_model

MILLIONS = {"bair": 67.5, "bair-samples": 44.9, "shapes-glow": 68.0}


@cache
def skeleton(name: str) -> Model:
    """The preset's model without memory for its parameters."""
    with torch.device("meta"):
        return build_model(load_preset(name).model)


OTHERS = {"codec", "discrete", "density"}  # families without a Glow
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
