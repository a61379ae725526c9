"""Round trips through a model's flow: how exactly it is inverted in the arithmetic at hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vflow.models import Condition, ImageBatch
from vflow.models.glow import decode
from vflow.pipelines.common import device_of
from vflow.randomness import normal


@torch.no_grad()
def round_trip(model: Any, batches: Iterable[Any]) -> dict[str, float]:
    """Largest errors in grey levels: data → latents → data, and latents drawn at T = 1 → data → latents.

    NaN where an error is: NumPy's maximum carries it on, that of Python does not.

    Args:
        batches: examples as the model takes them, ``ImageBatch`` or ``VideoBatch``.
    """
    data, latents = [0.0], [0.0]
    for batch in batches:
        before, after = model.reconstruct(batch)
        data.append(float((after - before).abs().max()))
        latents.append(latent_error(model, model.condition_targets(batch), len(batch.targets)))
    return {"round_trip_data": float(np.max(data)), "round_trip_latent": float(np.max(latents))}


def image_batch(model: Any, images: Tensor, condition: Tensor) -> ImageBatch:
    """uint8 images (B, C, H, W) given ``condition``, with noise of their own, on the model's device."""
    eps = torch.stack([normal(images.shape[1:], "round trip", number) for number in range(len(images))])
    device = device_of(model)
    return ImageBatch(images.to(device), condition.to(device), eps.to(device))


def latent_error(model: Any, condition: Condition, count: int) -> float:
    """Largest |encode(decode(z)) − z| of the flow over ``count`` latents drawn at T = 1, in grey levels.

    Grey levels by the pixel map's largest slope.
    """
    shapes = model.flow.latent_shapes
    eps = [normal((count, *shape), "round trip", level) for level, shape in enumerate(shapes)]
    device = device_of(model)
    latents = model.generate(condition, [e.to(device) for e in eps], (1.0,) * len(eps))[1]
    again = model.flow.encode(decode(model.flow, latents, condition.features), condition.features).latents
    worst = np.max([float((a - z).abs().max()) for a, z in zip(again, latents, strict=True)])
    return float(worst) * model.pixel_map.grey_levels
