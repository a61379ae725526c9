"""Numbers that warn before samples break: the round trip and the extremes of the scales."""

from __future__ import annotations

import numpy as np
import torch

from vflow.data.base import FrameDataset
from vflow.models import VideoBatch, VideoFlow
from vflow.randomness import normal

CLIPS = 4
SCALES = ("log_scale", "log_diagonal")  # endings of the parameters that are logarithms of scales


@torch.no_grad()
def round_trip(model: VideoFlow, dataset: FrameDataset, device: torch.device) -> float:
    """Largest error of data → latent → data over the last frames of some clips, float32, in grey levels."""
    clips = np.stack([dataset.example(i, (0, 0)) for i in range(min(CLIPS, len(dataset)))])
    frames = torch.from_numpy(np.ascontiguousarray(clips.transpose(0, 1, 4, 2, 3))).to(device)
    eps = normal((len(frames), 1, *frames.shape[2:]), "round trip").to(device)
    window = torch.full((len(frames), 1), min(frames.shape[1] - 1, model.config.context), device=device)
    before, after = model.reconstruct(VideoBatch(frames, eps, window))
    return float((after - before).abs().max())


@torch.no_grad()
def largest_log_scale(model: VideoFlow) -> float:
    """Largest absolute value of any parameter that is the logarithm of a scale."""
    found = [p.abs().max() for name, p in model.named_parameters() if name.endswith(SCALES)]
    return float(torch.stack(found).max())
