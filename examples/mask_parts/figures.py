"""Figures of models that draw binary masks of a picture."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from vflow.data.datasets.types import ImageDataset
from vflow.models import ImageBatch
from vflow.pipelines.common import BATCH, device_of, evenly_spaced
from vflow.pipelines.walk import render as views
from vflow.randomness import normal

from .model import Segmentation

SHOWN, SHOWN_SAMPLES = 6, 3


class Masks(NamedTuple):
    """Masks, uint8 0 or 255 (N, 1, H, W), and their pictures, uint8 (N, 1, H, W)."""

    truth: Tensor
    pictures: Tensor

    @classmethod
    def take(cls, data: ImageDataset, count: int) -> Masks:
        """``count`` of ``data``, evenly spread."""
        examples = [data.example(int(i), (0, 0)) for i in evenly_spaced(len(data), count)]
        truth = np.stack([e.image.transpose(2, 0, 1) for e in examples])
        return cls(torch.from_numpy(truth), torch.from_numpy(np.stack([e.condition for e in examples])))


@torch.no_grad()
def log_likelihoods(model: Segmentation, masks: Masks, draws: int, seed: int) -> Tensor:
    """log p(mask | picture) in nats, a bound for each draw of the noise: (draws, N)."""
    device, rows = device_of(model), []
    parts = [
        (truth, pictures, model.features(pictures))
        for truth, pictures in zip(*(part.to(device).split(BATCH) for part in masks), strict=True)
    ]
    for draw in range(draws):
        eps = normal(tuple(masks.truth.shape), "score", seed, draw).to(device).split(BATCH)
        batches = [
            ImageBatch(truth, pictures, noise, features=features)
            for (truth, pictures, features), noise in zip(parts, eps, strict=True)
        ]
        rows.append(torch.cat([model(batch) for batch in batches]).cpu())
    return torch.stack(rows)


@torch.no_grad()
def draw_masks(
    model: Segmentation, pictures: Tensor, temperature: tuple[float, ...], seed: int, number: int
) -> np.ndarray:
    """Sample ``number`` of each picture's mask, uint8 (N, 1, H, W)."""
    noise = [
        normal((len(pictures), *shape), "masks", seed, number, level)
        for level, shape in enumerate(model.latent_shapes)
    ]
    device = device_of(model)
    parts = zip(*(part.split(BATCH) for part in (pictures, *noise)), strict=True)
    made = (model.decode([e.to(device) for e in eps], some.to(device), temperature) for some, *eps in parts)
    return np.concatenate([sampled.frame.cpu().numpy() for sampled in made])


def mask_figures(drawn: np.ndarray, truth: Tensor) -> dict[str, float]:
    """Overlap with the truth and coherence of samples 0 or 255 (N, S, 1, H, W) of each mask (N, 1, H, W).

    The best sample of a mask is the one with the fewest wrong pixels.
    """
    made, true = drawn[:, :, 0] > 0, truth[:, 0].numpy() > 0
    best = (made != true[:, None]).sum((2, 3)).argmin(1)
    parts = [[count_components(mask) for mask in masks] for masks in made]
    return {
        "iou_of_mean": iou(made.mean(1) >= 0.5, true),
        "iou_sample": float(np.mean([iou(made[:, k], true) for k in range(made.shape[1])])),
        "iou_best": iou(made[np.arange(len(made)), best], true),
        "components_sample": float(np.mean(parts)),
        "components": float(np.mean([count_components(mask) for mask in true])),
    }


def sheet(masks: Masks, drawn: np.ndarray) -> np.ndarray:
    """A row per picture: itself, its mask, samples, and their mean."""
    made = drawn[:SHOWN, :SHOWN_SAMPLES, 0]
    mean = np.rint(drawn[:SHOWN, :, 0].mean(1)).astype(np.uint8)
    given = [part[:SHOWN, 0].numpy()[:, None] for part in (masks.pictures, masks.truth)]
    return views.grid(np.concatenate([*given, made, mean[:, None]], 1)[..., None])


def iou(masks: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of all ``masks`` and their truths, bool (…) each; 1 if both are empty."""
    union = np.logical_or(masks, truth).sum()
    return float(np.logical_and(masks, truth).sum() / union) if union else 1.0


def count_components(mask: np.ndarray) -> int:
    """Number of connected parts (8 neighbours) of a mask, bool (H, W): noise has many."""
    return int(cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0]) - 1
