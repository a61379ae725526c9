"""Detection of two swapped frames by the surprise of a clip."""

from __future__ import annotations

import numpy as np
from torch import nn

import vflow
from scripts.acceptance.models import push_clips, shipped_model
from scripts.acceptance.registry import NotHere, Result, measure
from scripts.fit_selection import auroc
from vflow.pipelines.video.surprisal import Surprisal
from vflow.randomness import generator

SUMMED = 16
"""Clips whose maps are compared with their score."""


def exchanged(number: int, clip: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Clip ``number`` with two random frames swapped, and their indices."""
    first, second = sorted(generator("exchanged frames", number).choice(len(clip), 2, replace=False).tolist())
    other = clip.copy()
    other[[first, second]] = clip[[second, first]]
    return other, (first, second)


@measure("F")
def surprise() -> Result:
    """All push test clips, each compared with itself after swapping two random frames; K = 1, seed 0,
    float32. The test statistic is the number of bits saved by the best swap of two frames; the number of
    swaps tried was chosen on validation clips. For 16 clips, maps are summed in float64 and compared with
    vflow.score."""
    model, clips = shipped_model("push"), push_clips("test")
    statistics = vflow.load_clip_statistics("push", model)
    if statistics is None:
        raise NotHere("checkpoints/push has no statistics.safetensors: python scripts/clip_statistics.py")
    plain, mixed, named = [], [], []
    for number, clip in enumerate(clips):
        other, pair = exchanged(number, clip)
        plain.append(vflow.surprisal(model, clip, statistics=statistics))
        mixed.append(vflow.surprisal(model, other, statistics=statistics))
        named.append(mixed[-1].frame_swap is not None and mixed[-1].frame_swap[:2] == pair)
    known = np.array([found.per_frame[found.first :] for found in plain])
    values = {
        "auroc": auroc([saved(found) for found in plain], [saved(found) for found in mixed]),
        "auroc_jump": auroc([jump(found) for found in plain], [jump(found) for found in mixed]),
        "auroc_mean": auroc([mean(found) for found in plain], [mean(found) for found in mixed]),
        "named": 100 * float(np.mean(named)),
        "found": 100 * float(np.mean([found.out_of_order is not None for found in mixed])),
        "false": 100 * float(np.mean([found.out_of_order is not None for found in plain])),
        "flagged": 100 * float((known > statistics.frame_quantile(0.99)).mean()),
        "error": float(np.max([difference(model, found) for found in plain[:SUMMED]])),
    }
    return Result(values, note=f"{len(clips)} clips; compared with {statistics.about}")


def saved(found: Surprisal) -> float:
    return -np.inf if found.frame_swap is None else found.frame_swap.saved


def jump(found: Surprisal) -> float:
    return float(np.diff(found.per_frame[found.first :]).max())


def mean(found: Surprisal) -> float:
    return float(found.per_frame[found.first :].mean())


def difference(model: nn.Module, found: Surprisal) -> float:
    """Largest difference in bits between the sum of a frame's map and its score."""
    scores = vflow.score(model, found.frames).per_frame
    summed = found.maps.sum((1, 2), dtype=np.float64)
    size = found.frames[0].size
    pairs = zip(scores, summed, strict=True)
    return float(np.max([abs(size * bits - at) for bits, at in pairs if bits is not None]))
