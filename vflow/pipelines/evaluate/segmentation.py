"""Evaluation of models that draw binary masks of a picture."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vflow.config import DataConfig, SegmentationConfig
from vflow.data.datasets.registry import open_image_dataset
from vflow.data.datasets.types import ImageDataset
from vflow.errors import ConfigError
from vflow.metrics.masks import count_components, iou
from vflow.models import ImageBatch, Segmentation
from vflow.pipelines.common import BATCH, Counts, SamplingSettings, config_of, device_of, evenly_spaced
from vflow.pipelines.evaluate.report import Evaluation, Samples, Settings, Stage, fault_figures
from vflow.pipelines.evaluate.round_trip import image_batch, round_trip
from vflow.pipelines.walk import render as views
from vflow.randomness import normal
from vflow.registry import suitable_datasets

USUAL_MASKS, NUM_SAMPLES = 200, 16
CHECKED = 32
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


def evaluate_segmentation(model: nn.Module, settings: Settings, stage: Stage) -> Evaluation:
    """All figures of a model of masks.

    Raises:
        ConfigError: data that are no masks, or several temperatures, but not one per level.
    """
    config = config_of(model, SegmentationConfig)
    assert isinstance(model, Segmentation)
    if settings.data not in (names := suitable_datasets("segmentation")):
        raise ConfigError(
            f"--data {settings.data}: not for a model of kind segmentation; give {' or '.join(names)}"
        )
    draws, count = settings.num_importance_samples, settings.num_samples or NUM_SAMPLES
    drawing = SamplingSettings(num_samples=count, temperature=settings.temperature, seed=settings.seed)
    levels = drawing.levels(len(model.latent_shapes))
    named = DataConfig.model_validate({"name": settings.data})
    data = open_image_dataset(named, config, settings.split)
    masks = Masks.take(data, settings.count(len(data), USUAL_MASKS))
    progress = stage("bits/dim")
    nats = log_likelihoods(model, masks, draws, settings.seed)
    progress(1, 1)
    figures: dict[str, Any] = {"bits_per_dim": float(model.bits_per_dim(nats[0].mean()))}
    if draws > 1:
        together = nats.logsumexp(0) - math.log(draws)
        figures[f"bits_per_dim_k{draws}"] = float(model.bits_per_dim(together.mean()))
    progress = stage("masks")
    made, faults = [], Counts()
    for done in range(count):
        samples = draw_masks(model, masks.pictures, levels, settings.seed, done)
        made.append(samples.images)
        faults = faults.plus(samples.counts)
        progress(done + 1, count)
    drawn = np.stack(made, 1)
    figures |= mask_figures(drawn, masks.truth) | fault_figures(model, faults)
    figures |= round_trip(model, [image_batch(model, masks.truth[:CHECKED], masks.pictures[:CHECKED])])
    protocol = {
        "data": settings.data, "split": settings.split, "masks": len(masks.truth),
        "masks_available": len(data), "num_samples": count, "temperature": drawing.temperature,
        "noise": "half-infinite", "draws": sorted({1, draws}),
    }  # fmt: skip
    return Evaluation(figures, protocol, {"masks": sheet(masks, drawn)})


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
) -> Samples:
    """Sample ``number`` of each picture's mask, uint8 (N, 1, H, W)."""
    noise = [
        normal((len(pictures), *shape), "masks", seed, number, level)
        for level, shape in enumerate(model.latent_shapes)
    ]
    device = device_of(model)
    parts = zip(*(part.split(BATCH) for part in (pictures, *noise)), strict=True)
    made = (model.decode([e.to(device) for e in eps], some.to(device), temperature) for some, *eps in parts)
    return Samples.draw((sampled.frame.cpu().numpy(), Counts.of(sampled)) for sampled in made)


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
