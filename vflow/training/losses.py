"""The best of a few samples, pulled to the truth (Fan et al. 2017, *A Point Set Generation Network*, 4.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from vflow.config import BestOfConfig, ContrastConfig, EnergyConfig, OutlineConfig
from vflow.models import ConditionalFlow, Digits, ImageBatch, VideoBatch, VideoFlow
from vflow.models.colorizer import UNIT
from vflow.models.glow import split_levels

SPREAD_WEIGHT = 2.0  # of a grey level of spread too little or too much, beside one of error
TINY = 1e-3  # keeps the slope of square roots finite


def best_of_penalty(model: ConditionalFlow, batch: ImageBatch, config: BestOfConfig) -> Tensor:
    """``weight`` · (root mean square error of the best sample + spread missing or too much), in grey levels.

    Mean over the guessed examples, scaled so that the sum over micro-batches is that of the whole batch.
    Pulled to the mean, samples become flat; so on average they must vary within at least as much as the first
    of ``spread`` times the pictures themselves. No sample but the best has to be any good; so none may vary
    more than the second times as much: scales that explode in one of a dozen samples are mended.
    """
    assert batch.sample_eps is not None
    examples, count, _ = batch.sample_eps.shape
    features = [f[:examples].repeat_interleave(count, 0) for f in model.seen(batch)]
    eps = split_levels(batch.sample_eps.flatten(0, 1), model.latent_shapes)
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


def contrast_penalty(model: Digits, batch: ImageBatch, config: ContrastConfig) -> Tensor:
    """``weight`` · cross-entropy of p(y | x) ∝ p(x | y) in nats, over one in ``every`` images.

    Scaled so that the mean over equal micro-batches is that of the whole batch.
    """
    classes = model.config.classes
    images, labels, eps = (t[:: config.every] for t in batch[:3])
    under_all = ImageBatch(
        images.repeat_interleave(classes, 0),
        torch.arange(classes, device=labels.device).repeat(len(images)),
        eps.repeat_interleave(classes, 0),
    )
    nats = model(under_all).unflatten(0, (len(images), classes))
    return config.weight * cross_entropy(nats, labels)


TINY_DISTANCE = 1e-3  # keeps the slope of square roots finite


def energy_penalty(model: VideoFlow, batch: VideoBatch, config: EnergyConfig) -> Tensor:
    """``weight`` · E(‖x − y‖ − ½ ‖x − x′‖) in grey levels: samples x, x′ at temperature 1, the real frame y.

    The energy score (Gneiting & Raftery 2007, *Strictly Proper Scoring Rules*, 4.3) of each clip's last
    frame, given what it is coded given: the frame before, or what the guide says when told the true frame.
    Mean over clips, so that of equal micro-batches it is that of the whole batch.
    """
    assert batch.sample_eps is not None
    clips, count, _ = batch.sample_eps.shape
    truth, given = model.given(batch._replace(eps=batch.eps[:, -1:], window=batch.window[:, -1:]))
    eps = split_levels(batch.sample_eps.flatten(0, 1), model.glow.latent_shapes)
    made, _ = model.generate(given.repeated(count), eps, [1.0] * len(eps))
    made = made.unflatten(0, (clips, count))
    error = size(made - truth[:, None].float() - 0.5)
    return config.weight * (error - 0.5 * size(made - made.roll(1, 1))).mean()


def size(difference: Tensor) -> Tensor:
    """Root mean square of each frame: (B, N, C, H, W) → (B, N)."""
    return difference.square().flatten(2).mean(2).add(TINY_DISTANCE).sqrt()


TINY_ERROR = 1e-6  # keeps the slope of the square root finite


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
    return config.weight * UNIT * (errors + TINY_ERROR).sqrt().mean()
