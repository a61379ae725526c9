"""The energy score of sampled frames: near the real one, and as far from each other as from it."""

from __future__ import annotations

from torch import Tensor

from vflow.config import EnergyConfig
from vflow.models import VideoBatch, VideoFlow
from vflow.models.multiscale import split_levels

TINY = 1e-3  # keeps the slope of square roots finite


def energy_penalty(model: VideoFlow, batch: VideoBatch, config: EnergyConfig) -> Tensor:
    """``weight`` · E(‖x − y‖ − ½ ‖x − x′‖) in grey levels: samples x, x′ at temperature 1, the real frame y.

    The energy score (Gneiting & Raftery 2007, *Strictly Proper Scoring Rules*, 4.3) of each clip's last
    frame, given what it is coded given: the frame before, or what the guide says when told the true frame.
    Mean over clips, so that of equal micro-batches it is that of the whole batch.
    """
    assert batch.guesses is not None
    clips, count, _ = batch.guesses.shape
    truth, given = model.given(batch._replace(eps=batch.eps[:, -1:], window=batch.window[:, -1:]))
    eps = split_levels(batch.guesses.flatten(0, 1), model.glow.latent_shapes)
    made, _ = model.generate(given.repeated(count), eps, [1.0] * len(eps))
    made = made.unflatten(0, (clips, count))
    error = size(made - truth[:, None].float() - 0.5)
    return config.weight * (error - 0.5 * size(made - made.roll(1, 1))).mean()


def size(difference: Tensor) -> Tensor:
    """Root mean square of each frame: (B, N, C, H, W) → (B, N)."""
    return difference.square().flatten(2).mean(2).add(TINY).sqrt()
