"""Points drawn from density models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import vflow
from vflow.config import load_preset
from vflow.config.density import DensityConfig, PermutationLayer
from vflow.errors import ConfigError
from vflow.models import DensityModel


@pytest.fixture
def model() -> DensityModel:
    config = load_preset("maf").model
    assert isinstance(config, DensityConfig)
    return DensityModel(config).eval()


def test_points_have_the_type_of_the_model(model: DensityModel) -> None:
    single = vflow.sample(model, 10)
    double = vflow.sample(model.double(), 10)
    assert single.dtype == np.float32 and double.dtype == np.float64
    np.testing.assert_allclose(double, single, rtol=1e-4, atol=1e-5)
    assert vflow.sample(model.to(torch.bfloat16), 10).dtype == np.float32


def test_a_model_without_parameters_is_drawn_from() -> None:
    assert vflow.sample(DensityModel(DensityConfig(layers=(PermutationLayer(),))), 3).shape == (3, 2)


@pytest.mark.parametrize(("name", "value"), [("num_samples", True), ("seed", None), ("seed", False)])
def test_counts_and_seeds_are_whole_numbers(model: DensityModel, name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{name} must be a whole number, got {value}$"):
        vflow.sample(model, **{name: value})
