"""Round trips of a model in both directions, in grey levels (1/256)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vflow.models import VideoBatch
from vflow.models.batches import ImageBatch
from vflow.models.pixels import Scaled
from vflow.pipelines.fitting import device_of, to_tensor
from vflow.randomness import normal

CHECKED = 8


@torch.no_grad()
def clips_round_trip(model: Any, clips: Sequence[np.ndarray]) -> dict[str, float]:
    """Largest errors over the target frames of a few clips, each coded given its past."""
    worst = np.zeros(2)
    first, device = model.config.min_context, device_of(model)
    for number, clip in enumerate(clips[:CHECKED]):
        frames = to_tensor(clip, device)[None]
        eps = normal((1, len(clip) - first, *frames.shape[2:]), "round trip", number).to(device)
        window = torch.arange(first, len(clip), device=device).clamp_max(model.config.context)[None]
        batch = VideoBatch(frames, eps, window)
        (targets, given), (windows, _) = model.given(batch), model.code(batch)
        coder = _Coder(model.glow, given.features)
        latent = coder.trip(
            lambda level, h, windows=windows: model.priors[level](windows[level], h), len(targets)
        )
        worst = np.maximum(worst, [_data_error(*model.reconstruct(batch)), latent * _unit(model)])
    return _named(worst)


@torch.no_grad()
def pictures_round_trip(model: Any, batch: ImageBatch) -> dict[str, float]:
    """Largest errors over a few pictures."""
    features = model.features(batch.given)
    coder = _Coder(model.flow, features)
    latent = coder.trip(lambda level, h: model.priors[level](h, features[level]), len(batch.images))
    return _named(np.array([_data_error(*model.reconstruct(batch)), latent * _unit(model)]))


class _Coder:
    """Decodes latents drawn from the prior, and encodes the result again."""

    def __init__(self, flow: Any, features: Sequence[Tensor | None]) -> None:
        self.flow, self.features = flow, features

    def trip(self, prior: Any, count: int) -> float:
        """Largest |encode(decode(z)) − z| over ``count`` examples drawn at T = 1."""
        latents: list[Tensor] = []
        h: Tensor | None = None
        for level in reversed(range(len(self.flow.latent_shapes))):
            density = prior(level, h)
            eps = normal((count, *self.flow.latent_shapes[level]), "round trip", level)
            z = density.sample(eps.to(density.mean.device), 1.0)
            h = self.flow.decode_level(level, z, h, self.features[level])
            latents.insert(0, z)
        assert h is not None
        again = self.flow.encode(h, self.features).latents
        return max(float((a - z).abs().max()) for a, z in zip(again, latents, strict=True))


def _data_error(before: Tensor, after: Tensor) -> float:
    return float((after - before).abs().max())


def _unit(model: Any) -> float:
    """Grey levels to one unit of the latent: of a counted map, its slope at the most frequent value."""
    return model.pixels.unit if isinstance(model.pixels, Scaled) else 1.0


def _named(worst: np.ndarray) -> dict[str, float]:
    return {"round_trip_data": float(worst[0]), "round_trip_latent": float(worst[1])}
