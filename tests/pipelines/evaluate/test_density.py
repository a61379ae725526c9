"""Figures of a density of vectors."""

from __future__ import annotations

import pytest
import torch

from vflow.config.density import DensityConfig, ElementwiseLayer
from vflow.models import DensityModel
from vflow.pipelines.evaluate.density import CHUNK, evaluate_density
from vflow.pipelines.evaluate.report import Progress, Settings


@pytest.mark.parametrize("data", ["u2", "two-moons"])
def test_progress_ends_at_the_number_of_points(data: str) -> None:
    model, told = DensityModel(DensityConfig(layers=(ElementwiseLayer(),))), []

    def stage(name: str) -> Progress:
        return lambda done, total: told.append((done, total))

    torch.nn.init.normal_(next(model.parameters()), std=0.1)
    limit = CHUNK + CHUNK // 2
    evaluate_density(model, Settings(data, limit=limit), stage)
    assert told[:2] == [(CHUNK, limit), (limit, limit)]
    assert all(done <= total for done, total in told)
