"""Figures of a model of masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vflow.config import SegmentationConfig
from vflow.errors import ConfigError
from vflow.metrics.masks import count_components, iou
from vflow.models.segmentation import Segmentation
from vflow.pipelines.evaluate.report import Settings
from vflow.pipelines.evaluate.segmentation import evaluate_segmentation, mask_figures

from .support import quiet

SMALL = SegmentationConfig(
    glow={"channels": 1, "height": 16, "width": 16, "depth": (1,), "hidden": (8,)},
    condition={"hidden": (8,), "blocks": 1},
)


@pytest.mark.parametrize("data", ["vessels", "skimage-masks"])
def test_figures(data: str) -> None:
    if data == "skimage-masks":
        pytest.importorskip("skimage")
    torch.manual_seed(0)
    settings = Settings(data, limit=8, num_samples=2, num_importance_samples=4)
    evaluation = evaluate_segmentation(Segmentation(SMALL), settings, quiet)
    figures = evaluation.figures
    assert figures["bits_per_dim_k4"] <= figures["bits_per_dim"]
    assert figures["iou_best"] >= figures["iou_sample"]
    assert figures["nonfinite"] == 0
    assert figures["round_trip_data"] < 1e-3
    assert evaluation.protocol["masks"] == 8
    assert evaluation.sheets["masks"].dtype == np.uint8


def test_other_data_are_refused() -> None:
    with pytest.raises(ConfigError, match="give vessels or skimage-masks"):
        evaluate_segmentation(Segmentation(SMALL), Settings("shapes"), quiet)


@pytest.mark.parametrize("temperature", [(0.5, 0.7, 0.9), ()])
def test_temperatures_that_are_not_one_per_level_are_refused(temperature: tuple[float, ...]) -> None:
    settings = Settings("vessels", limit=2, num_samples=1, temperature=temperature)
    with pytest.raises(ConfigError, match=r"the model 1 level; give 1$"):
        evaluate_segmentation(Segmentation(SMALL), settings, quiet)


def test_perfect_samples_have_full_overlap_and_as_many_parts() -> None:
    truth = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    truth[:, :, :2] = 255
    truth[:, :, 5:, 5:] = 255
    figures = mask_figures(truth[:, None].repeat(1, 3, 1, 1, 1).numpy(), truth)
    assert figures["iou_of_mean"] == figures["iou_sample"] == figures["iou_best"] == 1
    assert figures["components_sample"] == figures["components"] == 2


def test_overlap_and_parts() -> None:
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert iou(a, b) == 1
    a[0], b[0, :2] = True, True
    assert iou(a, b) == 0.5
    assert count_components(np.eye(4, dtype=bool)) == 1
    assert count_components(np.array([[1, 0, 1]], bool)) == 2
