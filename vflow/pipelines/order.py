"""Which two frames of a clip, exchanged, would cost the model fewer bits.

Whatever moves fast costs bits too, so bits alone hardly tell a clip in order from one that is not. What tells
is the likelihood of the same frames in another order: both orders have the same things to code. A clip of T
frames has T (T − 1) / 2 exchanges; those are tried that shorten its way through pixel space most.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from vflow.pipelines.fitting import device_of, to_tensor, video_config
from vflow.pipelines.score import Key, frame_nats, noise

CANDIDATES = 2
"""Exchanges whose likelihood is looked at."""


class Exchange(NamedTuple):
    """Frames ``first`` < ``second``, and the bits that exchanging them saves (negative: costs)."""

    first: int
    second: int
    saved: float


def candidates(frames: np.ndarray, count: int = CANDIDATES) -> list[tuple[int, int]]:
    """The ``count`` exchanges that shorten the clip's way most: summed |x_t − x_{t−1}| over frames.

    Args:
        frames: uint8 (T, H, W, C).
    """
    length = len(frames)
    x = frames.reshape(length, -1).astype(np.int16)
    d = np.zeros((length + 2, length + 2))  # the way begins and ends at frames at no distance from any
    d[1:-1, 1:-1] = [np.abs(x - one).sum(1, dtype=np.int64) for one in x]
    at = np.arange(1, length + 1)
    kept = d[at - 1, at] + d[at, at + 1]
    # Put frame j into the place of frame i: it then lies between frames i − 1 and i + 1.
    placed = d[at - 1][:, at] + d[at + 1][:, at]
    saved = kept[:, None] + kept - placed - placed.T
    saved -= 2 * np.where(np.abs(at[:, None] - at) == 1, d[1:-1, 1:-1], 0)  # neighbours stay neighbours
    first, second = np.triu_indices(length, 1)
    best = np.argsort(-saved[first, second], kind="stable")[:count]
    return [(int(first[k]), int(second[k])) for k in best]


def best_exchange(model: Any, frames: np.ndarray, bits: np.ndarray, key: Key) -> Exchange | None:
    """The exchange of two frames that saves most bits, or costs fewest.

    Args:
        frames: uint8 (T, H, W, C), in the model's size.
        bits: of each frame, (T,); NaN for those that cannot be scored.
        key: names the noise; frames keep theirs wherever they stand.

    Returns:
        None where there is nothing to compare.
    """
    config = video_config(model)
    found = []
    for first, second in candidates(frames):
        order = np.arange(len(frames))
        order[[first, second]] = second, first
        reach = config.context + 1
        seen = {*range(first, first + reach), *range(second, second + reach)}
        touched = sorted(t for t in seen if config.min_context <= t < len(frames))
        if touched:
            after = _bits(model, frames, order, touched, key)
            found.append(Exchange(first, second, float(bits[touched].sum() - after.sum())))
    return max(found, key=lambda exchange: exchange.saved, default=None)


@torch.no_grad()
def _bits(model: Any, frames: np.ndarray, order: np.ndarray, targets: list[int], key: Key) -> np.ndarray:
    """Bits of the frames at the places ``targets`` when the clip is in ``order``, float64 (targets,).

    Without a history, windows are of latents, and the noise of their frames counts, too: those are coded as
    well, behind one more that is not looked at (the first of a batch is given, without noise).
    """
    from vflow.models.videoflow import VideoBatch

    config, device = video_config(model), device_of(model)
    n = config.context
    reach, coded = (n, 1) if config.history else (n + 1, n + 1)
    places = np.array([[*(max(0, t - reach + k) for k in range(reach)), t] for t in targets])
    rows = order[places]
    clips = to_tensor(frames[rows.flatten()], device).unflatten(0, rows.shape)
    still = torch.zeros_like(noise(frames.shape, key, 0))
    pairs = zip(places[:, -coded:].flat, rows[:, -coded:].flat, strict=True)
    eps = [noise(frames.shape, key, int(t)) if place >= config.min_context else still for place, t in pairs]
    window = torch.tensor([[*range(1, coded), min(t, n)] for t in targets], device=device)
    batch = VideoBatch(clips, torch.stack(eps).unflatten(0, (-1, coded)).to(device), window)
    density = model.density_map(batch)[:, -1].cpu()
    return -frame_nats(density).numpy() / math.log(2)
