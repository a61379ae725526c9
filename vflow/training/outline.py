"""How far pictures are from what is expected of their colours."""

from __future__ import annotations

import math

from torch import Tensor

from vflow.config import OutlineConfig
from vflow.models import ConditionalFlow, ImageBatch
from vflow.models.colorizer import UNIT

TINY = 1e-6  # keeps the slope of the square root finite


def outline_penalty(model: ConditionalFlow, batch: ImageBatch, config: OutlineConfig) -> Tensor:
    """``weight`` · root mean square of each picture less what ``model.outline`` expects, in grey levels.

    It is told mean colours that are off by ``near`` ab units (normal), since what a sample is told is drawn
    too: the best of eight draws is off by about that much. Their noise is that of the batch's own.
    Mean over pictures, so that of equal micro-batches it is that of the whole batch.
    """
    assert model.outline is not None
    x = model.continuous(batch.images, batch.eps)[0]
    mean = x.mean((2, 3), keepdim=True)
    _, _, height, width = x.shape
    near = mean + config.near / UNIT * math.sqrt(height * width) * batch.eps.mean((2, 3), keepdim=True)
    tint, structure = model.outline.errors(x, model.seen(batch), near)
    errors = (tint + structure).square().mean((1, 2, 3))  # the structure has no mean: squares add up
    return config.weight * UNIT * (errors + TINY).sqrt().mean()
