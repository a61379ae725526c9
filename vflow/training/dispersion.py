"""Samples that scatter about their prediction as real frames do."""

from __future__ import annotations

from torch import Tensor

from vflow.config import DispersionConfig
from vflow.models import VideoBatch, VideoFlow
from vflow.models.multiscale import split_levels

TINY = 1e-3  # keeps the slope of square roots finite


def dispersion_penalty(model: VideoFlow, batch: VideoBatch, config: DispersionConfig) -> Tensor:
    """``weight`` · |scatter of samples at temperature 1 − scatter of the real frame|, in grey levels.

    Mean over clips, so that of equal micro-batches it is that of the whole batch. Both scatter about what
    a clip's last frame is coded given: the frame before, or what the guide says when told the true frame.
    """
    assert batch.guesses is not None
    clips, count, _ = batch.guesses.shape
    truth, given = model.given(batch._replace(eps=batch.eps[:, -1:], window=batch.window[:, -1:]))
    eps = split_levels(batch.guesses.flatten(0, 1), model.glow.latent_shapes)
    made, _ = model.generate(given.repeated(count), eps, [1.0] * len(eps))
    about = given.reference[:, None].float() + 0.5
    sampled = scatter(made.unflatten(0, (clips, count)) - about)
    real = scatter(truth[:, None].float() + 0.5 - about)
    return config.weight * (sampled - real).abs().mean()


def scatter(distance: Tensor) -> Tensor:
    """Root mean square over the frames of each clip: (B, N, C, H, W) → (B,)."""
    return distance.square().flatten(1).mean(1).add(TINY).sqrt()
