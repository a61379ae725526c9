"""The best of a few samples, pulled to the truth (Fan et al. 2017, *A Point Set Generation Network*, 4.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from vflow.config import BestOfConfig
from vflow.models import ConditionalFlow, ImageBatch
from vflow.models.multiscale import split_levels

SPREAD_WEIGHT = 2.0  # of a grey level of spread too little or too much, beside one of error
TINY = 1e-3  # keeps the slope of square roots finite


def best_of_penalty(model: ConditionalFlow, batch: ImageBatch, config: BestOfConfig) -> Tensor:
    """``weight`` · (root mean square error of the best sample + spread missing or too much), in grey levels.

    Mean over the guessed examples, scaled so that the sum over micro-batches is that of the whole batch.
    Pulled to the mean, samples become flat; so on average they must vary within at least as much as the first
    of ``spread`` times the pictures themselves. No sample but the best has to be any good; so none may vary
    more than the second times as much: scales that explode in one of a dozen samples are mended.
    """
    assert batch.guesses is not None
    examples, count, _ = batch.guesses.shape
    features = [f[:examples].repeat_interleave(count, 0) for f in model.seen(batch)]
    eps = split_levels(batch.guesses.flatten(0, 1), model.latent_shapes)
    made = model.generate(eps, features, [1.0] * len(eps)).unflatten(0, (examples, count))
    truth = batch.images[:examples].float() + 0.5
    errors = ((made - truth[:, None]) ** 2).mean((2, 3, 4)).add(TINY).sqrt()
    least, most = (bound * spread(truth).mean() for bound in config.spread)
    missing = torch.relu(least - spread(made).mean()) + torch.relu(spread(made) - most).mean()
    share = examples * config.every / len(batch.images)
    return config.weight * share * (errors.amin(1).mean() + SPREAD_WEIGHT * missing)


def spread(images: Tensor) -> Tensor:
    """Standard deviation within pictures (…, C, H, W), root mean square over channels: (…)."""
    return images.var((-2, -1)).mean(-1).add(TINY).sqrt()
