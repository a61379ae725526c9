"""Numerics of the shipped weights: round trips, and sampled values before any redraw or clamp."""

from __future__ import annotations

import numpy as np
import torch

from scripts.acceptance.models import GIVEN, push_clips, shape_clips, shipped_model, size
from scripts.acceptance.registry import Result, measure
from vflow.models import VideoModel
from vflow.pipelines.common import Counts
from vflow.pipelines.evaluate.round_trip import latent_error
from vflow.pipelines.evaluate.video import clip_batches
from vflow.pipelines.video.predict import iterate, prepare
from vflow.tasks.video.settings import PredictSettings

ROUND_TRIP_CLIPS = 32
SAMPLED_CONTEXTS, SAMPLED_FUTURES = 16, 32


@measure("A")
def shapes_round_trip() -> Result:
    """32 test clips of shapes, float32: each target frame is encoded and decoded given its past; latents
    drawn at T = 1 are decoded and encoded. Errors are in grey levels (1/256); those of latents are converted
    by the pixel map's slope at the most frequent value."""
    return round_trip(shipped_model("shapes"), np.stack(shape_clips(ROUND_TRIP_CLIPS)))


@measure("A")
def push_round_trip() -> Result:
    """As shapes_round_trip, on 32 test clips of push with 13 frames."""
    return round_trip(shipped_model("push"), push_clips("test")[:ROUND_TRIP_CLIPS, : GIVEN + 10])


@measure("A")
def shapes_samples() -> Result:
    """16 first frames of test clips, 32 futures × 4 frames each at T = 1, seed 1."""
    contexts = [clip[:1] for clip in shape_clips(SAMPLED_CONTEXTS)]
    return samples("shapes", contexts, num_frames=4)


@measure("A")
def push_samples() -> Result:
    """16 test clips, given 3 frames; 32 futures × 10 frames each at T = 1, seed 1."""
    return samples("push", [clip[:GIVEN] for clip in push_clips("test")[:SAMPLED_CONTEXTS]], num_frames=10)


def samples(name: str, contexts: list[np.ndarray], num_frames: int) -> Result:
    """Counts of frames and of non-finite values while drawing futures of every context."""
    model = shipped_model(name)
    settings = PredictSettings(num_frames=num_frames, num_samples=SAMPLED_FUTURES, seed=1)
    counts = Counts()
    for context in contexts:
        for step in iterate(model, prepare(model, context).context, settings):
            counts = counts.plus(step.counts)
    frames = counts.values / contexts[0][0].size
    return Result({"frames": frames, "nonfinite": counts.nonfinite, "size": size(name)})


@torch.no_grad()
def round_trip(model: VideoModel, clips: np.ndarray) -> Result:
    """Largest errors over all target frames of ``clips``, uint8 (N, T, H, W, C)."""
    first, data, latent, changed = model.config.min_context, [], [], 0.0
    for batch in clip_batches(model, list(clips)):
        before, after = model.reconstruct(batch)
        data.append(float((after - before).abs().max()))
        latent.append(latent_error(model, model.condition_targets(batch), batch.eps.shape[1]))
        changed += float((after.floor() != before.floor()).sum())
    values = {"data": float(np.max(data)), "latent": float(np.max(latent)), "bytes": changed}
    return Result(values, note=f"{len(clips)} clips, frames {first} to {clips.shape[1] - 1}")
