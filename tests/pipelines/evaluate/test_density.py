"""Figures of a density of vectors."""

from __future__ import annotations

import math

import pytest
import torch

from vflow.config.density import DensityConfig, ElementwiseLayer
from vflow.models import DensityModel, PointBatch
from vflow.pipelines.density import open_points
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


def test_the_standard_error_is_that_of_a_mean_and_unknown_of_one_point() -> None:
    model = DensityModel(DensityConfig(layers=(ElementwiseLayer(),)))

    def error(limit: int) -> float:
        found = evaluate_density(
            model, Settings("two-moons", limit=limit), lambda name: lambda done, total: None
        )
        return float(found.figures["nats_standard_error"])

    points = torch.from_numpy(open_points("two-moons", "test", model.config).points[[0, -1]])
    first, last = (-model(PointBatch(points))).tolist()
    assert error(2) == pytest.approx(abs(first - last) / 2)
    assert math.isnan(error(1))
