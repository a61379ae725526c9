"""Latents of video models at work: the share of a future that they decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vflow.config.ranges import temperature_per_level
from vflow.metrics.latents import Futures, latent_share
from vflow.models import Nowcast, VideoModel
from vflow.pipelines.common import Temperature, device_of, evenly_spaced
from vflow.pipelines.nowcast import CHUNK, BlockDecoder
from vflow.pipelines.video.preprocess import to_tensor

CONTEXTS, FUTURES, MOST_FRAMES = 4, 8, 5
PROTOCOL = f"{CONTEXTS} contexts × {FUTURES} futures, other noise fixed"


def video_latent_share(
    model: VideoModel, contexts: Sequence[np.ndarray], num_frames: int, temperature: Sequence[float]
) -> dict[str, Any]:
    """Shares of the variance of futures after some of the ``contexts``, uint8 (n, H, W, C) each."""
    sources, frames = model.noise_sources(), min(num_frames, MOST_FRAMES)
    shapes = [(frames, *shape) for shape in sources.shapes]

    def futures_of(context: np.ndarray) -> Futures:
        clip = to_tensor(context, device_of(model))

        @torch.no_grad()
        def decode(parts: Sequence[Tensor]) -> np.ndarray:
            rollout, drawn = model.start(clip.expand(len(parts[0]), *clip.shape)), []
            for t in range(frames):
                eps = sources.join([part[:, t] for part in parts])
                rollout, sampled = model.step(rollout, [e.to(clip.device) for e in eps], temperature)
                drawn.append(sampled.frame.cpu().numpy())
            return np.stack(drawn, 1)

        return Futures(decode, shapes)

    chosen = [contexts[index] for index in evenly_spaced(len(contexts), CONTEXTS)]
    return _figures([futures_of(context) for context in chosen], sources.levels, sources.names, sources.glow)


def nowcast_latent_share(
    model: Nowcast, given: Sequence[np.ndarray], temperature: Temperature
) -> dict[str, Any]:
    """Shares of the variance of frames ahead, in grey levels, after some of ``given``, uint8 (n, H, W)."""
    levels = model.config.glow.levels + 1
    scales = temperature_per_level(temperature, levels)

    def futures_of(frames: np.ndarray) -> Futures:
        block = BlockDecoder(model, frames, np.ones(frames.shape[1:], bool))

        def decode(eps: Sequence[Tensor]) -> np.ndarray:
            chunks = zip(*(e.split(CHUNK) for e in eps), strict=True)
            return np.concatenate([block(chunk, scales)[0] for chunk in chunks])

        return Futures(decode, block.shapes)

    names = [f"1/{2**level}" for level in range(1, levels)] + ["means"]
    chosen = [given[index] for index in evenly_spaced(len(given), CONTEXTS)]
    return _figures([futures_of(frames) for frames in chosen], levels, names)


def _figures(
    settings: Sequence[Futures], levels: int, names: Sequence[str], glow: int | None = None
) -> dict[str, Any]:
    share = latent_share(settings, levels, glow=glow, count=FUTURES)
    figures: dict[str, Any] = {
        "latent_share": share.latents,
        "latent_share_by_level": dict(zip(names, share.levels, strict=False)),
    }
    if share.glow is not None:
        figures["glow_share"] = share.glow
    return figures if share.others is None else figures | {"reference_share": share.others}
