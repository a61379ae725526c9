"""Figures of a model of masks."""

from __future__ import annotations

import numpy as np
import torch

from examples.mask_parts.figures import (
    Masks,
    count_components,
    draw_masks,
    iou,
    log_likelihoods,
    mask_figures,
)
from examples.mask_parts.model import Segmentation, SegmentationConfig
from examples.mask_parts.vessels import Vessels

SMALL = SegmentationConfig(
    glow={"channels": 1, "height": 16, "width": 16, "depth": (1,), "hidden": (8,)},
    condition={"hidden": (8,), "blocks": 1},
)


def test_samples_and_scores_of_a_few_masks() -> None:
    torch.manual_seed(0)
    model, masks = Segmentation(SMALL), Masks.take(Vessels(16, "validation"), 8)
    nats = log_likelihoods(model, masks, 4, 0)
    assert nats.shape == (4, 8) and bool((nats < 0).all())
    drawn = np.stack([draw_masks(model, masks.pictures, (1.0,), 0, number) for number in range(2)], 1)
    assert drawn.shape == (8, 2, 1, 16, 16) and set(np.unique(drawn)) == {0, 255}
    figures = mask_figures(drawn, masks.truth)
    assert figures["iou_best"] >= figures["iou_sample"]


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
