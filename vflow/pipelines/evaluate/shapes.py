"""Figures of video models that only ``shapes`` allows: its clips are known pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vflow.data.datasets.shapes import BACKGROUND, DIRECTIONS, Shapes
from vflow.data.datasets.splits import Split
from vflow.metrics import shapes
from vflow.metrics.probe import probe_accuracy
from vflow.models import VideoModel
from vflow.pipelines.common import device_of, evenly_spaced
from vflow.pipelines.evaluate.report import Progress
from vflow.pipelines.video.score import density
from vflow.pipelines.walk.space import WalkSettings
from vflow.pipelines.walk.walk import walk
from vflow.randomness import content_hash, generator

REGION_CLIPS = 16
BLENDED_CLIPS, BLEND_STEPS = 8, 7
HELD_SHARE = 5
"""Of clips that a probe is trained on, a fifth as many are held out."""
BATCH = 16


def region_bits(model: VideoModel, clips: Sequence[np.ndarray], context: int, seed: int) -> dict[str, float]:
    """Bits per value of the shapes' pixels and of the background apart, and the share of all bits in shapes.

    By the density map of ``vflow score`` (K = 1): what a coarse position costs is spread over its pixels.
    Terms of a bound may be negative, so the background may be, and the share then is over 1.
    """
    bits, values = np.zeros(2), np.zeros(2)  # background, shape
    for index in evenly_spaced(len(clips), REGION_CLIPS):
        clip = clips[index]
        nats = density(model, clip, range(context, len(clip)), (seed, content_hash(clip), 0)).double().numpy()
        inside = (clip[context:] != BACKGROUND).any(-1)
        for region, mask in enumerate((~inside, inside)):
            bits[region] -= nats[mask].sum() / math.log(2)
            values[region] += mask.sum() * clip.shape[-1]
    background, shape = bits / values
    return {
        "bits_per_dim_shape": shape,
        "bits_per_dim_background": background,
        "share_of_bits_in_shapes": bits[1] / bits.sum(),
    }


def blends_accepted(
    model: VideoModel, contexts: Sequence[np.ndarray], num_frames: int, temperature: float, seed: int
) -> float:
    """Share of futures between two others, along the arc of their noise, that the tracker accepts.

    Samples 0 and 1 of some ``contexts``, as ``vflow walk --kind blend`` has them; the ends do not count.
    """
    accepted = []
    settings = WalkSettings(
        "blend", steps=BLEND_STEPS, num_frames=num_frames, temperature=temperature, seed=seed
    )
    for index in evenly_spaced(len(contexts), BLENDED_CLIPS):
        context = contexts[index]
        made = walk(model, [context], settings)
        accepted += [shapes.judge(context, clip[made.given :]).accepted for clip in made.frames[1:-1]]
    return float(np.mean(accepted))


def direction_probe(model: VideoModel, clips: int, split: Split, progress: Progress) -> float:
    """Share of held-out clips whose direction a small probe reads from their first target frame's ε.

    ε is that of the flow's latents without dequantisation noise. The probe has one hidden layer and is
    trained on ``clips`` training clips, directions drawn at random; of ``split`` a fifth as many are held
    out.
    """
    counts = (clips, max(1, clips // HELD_SHARE))
    total, done, found = sum(counts), 0, []
    for part, count in zip(("train", split), counts, strict=True):
        data, frames = Shapes(split=part), model.config.min_context + 1  # clips from their first frame on
        labels = generator("probe", part).integers(len(DIRECTIONS), size=count)
        rows = np.array(evenly_spaced(len(data.shapes), count))
        rows = np.resize(rows, count) * len(DIRECTIONS) + labels
        features = []
        for some in np.split(rows, range(BATCH, count, BATCH)):
            features.append(_first_noise(model, np.stack([data.example(int(i))[:frames] for i in some])))
            done += len(some)
            progress(done, total)
        found.append((torch.cat(features), torch.from_numpy(labels)))
    return probe_accuracy(found[0], found[1])


@torch.no_grad()
def _first_noise(model: VideoModel, clips: np.ndarray) -> Tensor:
    """ε of the flow's latents of each clip's last frame given those before it, (B, D)."""
    frames = torch.from_numpy(clips.transpose(0, 1, 4, 2, 3).copy()).to(device_of(model))
    eps = model.encode_frame(model.start(frames[:, :-1]), frames[:, -1])[: model.config.glow.levels]
    return torch.cat([level.flatten(1).float() for level in eps], 1).cpu()
