"""Bits per dimension of clips and of pictures, beside lossless codecs, and checks of the figure itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vflow.data.lossless import CODECS, bits_after, stored_bits
from vflow.models import Condition, ImageBatch, VideoBatch
from vflow.pipelines.common import device_of, image_nats
from vflow.pipelines.evaluate.report import Progress
from vflow.pipelines.video.preprocess import to_tensor
from vflow.pipelines.video.score import score
from vflow.randomness import generator, normal

CHECKED = 8
"""Clips that are also scored shuffled, and clips of noise."""
SOURCES = 64
"""Source files whose own size is looked at."""


def clip_bits(
    model: nn.Module, clips: Sequence[np.ndarray], context: int, draws: int, seed: int, progress: Progress
) -> dict[str, Any]:
    """Mean bits/dim of the frames after the first ``context``, with K = 1 and K = ``draws``.

    The same as ``vflow score --context`` on each clip, averaged.
    """
    single, tight = [], []
    for done, clip in enumerate(clips, 1):
        single.append(score(model, clip, context=context, seed=seed))
        if draws > 1:
            tight.append(score(model, clip, context=context, draws=draws, seed=seed))
        progress(done, len(clips))
    frames = np.array([one.per_frame[context:] for one in single], float)
    figures: dict[str, Any] = {"bits_per_dim": np.mean(single), "bits_per_dim_per_frame": frames.mean(0)}
    if tight:
        figures[f"bits_per_dim_k{draws}"] = np.mean(tight)
    return figures


def checks(model: nn.Module, clips: Sequence[np.ndarray], context: int, seed: int) -> dict[str, float]:
    """Bits/dim of a few clips in order and shuffled, and of uniform noise, which takes 8 or more."""
    some = clips[:CHECKED]
    noise = [_noise(number, clip.shape) for number, clip in enumerate(some)]
    mixed = [_shuffled(number, clip) for number, clip in enumerate(some)]
    named = {"ordered": some, "shuffled": mixed, "noise_frames": noise}
    return {
        f"bits_per_dim_{name}": float(
            np.mean([score(model, clip, context=context, seed=seed) for clip in of])
        )
        for name, of in named.items()
    }


def _noise(number: int, shape: tuple[int, ...]) -> np.ndarray:
    return generator("noise frames", number).integers(0, 256, shape, dtype=np.uint8)


def _shuffled(number: int, clip: np.ndarray) -> np.ndarray:
    """Frames in another order, never their own."""
    order = generator("shuffled frames", number).permutation(len(clip))
    if len(clip) > 1 and np.array_equal(order, np.arange(len(clip))):
        order = np.roll(order, 1)
    return clip[order]


def codecs(clips: Sequence[np.ndarray], context: int, sources: Sequence[Path]) -> dict[str, float | None]:
    """Bits per value of the same frames in lossless codecs, and of lossy source files at their own size."""
    figures: dict[str, float | None] = {
        f"bits_per_dim_{codec}": float(np.mean([bits_after(clip, context, codec) for clip in clips]))
        for codec in CODECS
    }
    stored = [bits for path in sources[:SOURCES] if (bits := stored_bits(path)) is not None]
    return figures | {"bits_per_value_of_lossy_sources": float(np.mean(stored)) if stored else None}


def picture_bits(model: Any, images: Tensor, condition: Tensor, draws: int, seed: int) -> np.ndarray:
    """Upper bound on −log₂ p(x | condition) per dimension, float64 (B,); arguments as of ``image_nats``."""
    return -image_nats(model, images, condition, draws, seed) / (math.log(2) * images[0].numel())


ROUND_TRIP_EXAMPLES = 8


@torch.no_grad()
def clips_round_trip(model: Any, clips: Sequence[np.ndarray]) -> dict[str, float]:
    """Largest errors over the target frames of a few clips, each coded given its past."""
    worst = np.zeros(2)
    first, device = model.config.min_context, device_of(model)
    for number, clip in enumerate(clips[:ROUND_TRIP_EXAMPLES]):
        frames = to_tensor(clip, device)[None]
        eps = normal((1, len(clip) - first, *frames.shape[2:]), "round trip", number).to(device)
        window = torch.arange(first, len(clip), device=device).clamp_max(model.config.context)[None]
        batch = VideoBatch(frames, eps, window)
        worst = np.maximum(worst, _round_trip(model, batch))
    return _named(worst)


@torch.no_grad()
def pictures_round_trip(model: Any, batch: ImageBatch) -> dict[str, float]:
    """Largest errors over a few pictures."""
    return _named(_round_trip(model, batch))


def _round_trip(model: Any, batch: Any) -> np.ndarray:
    """Largest errors in grey levels: data → latents → data, and latents drawn at T = 1 → data → latents."""
    condition = model.condition_targets(batch)
    return np.array(
        [_data_error(*model.reconstruct(batch)), latent_error(model, condition, len(batch.targets))]
    )


def latent_error(model: Any, condition: Condition, count: int) -> float:
    """Largest |encode(decode(z)) − z| of the flow over ``count`` latents drawn at T = 1, in grey levels.

    Grey levels by the pixel map's largest slope.
    """
    latents: list[Tensor] = []
    h: Tensor | None = None
    for level, shape in reversed(list(enumerate(model.flow.latent_shapes))):
        density = model.priors[level](condition.prior_inputs[level], h)
        eps = normal((count, *shape), "round trip", level)
        z = density.sample(eps.to(density.mean.device), 1.0)
        h = model.flow.decode_level(level, z, h, condition.features[level])
        latents.insert(0, z)
    assert h is not None
    again = model.flow.encode(h, condition.features).latents
    worst = max(float((a - z).abs().max()) for a, z in zip(again, latents, strict=True))
    return worst * model.pixel_map.grey_levels


def _data_error(before: Tensor, after: Tensor) -> float:
    return float((after - before).abs().max())


def _named(worst: np.ndarray) -> dict[str, float]:
    return {"round_trip_data": float(worst[0]), "round_trip_latent": float(worst[1])}
