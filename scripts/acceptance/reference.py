"""The paper's settings: each builds, takes one training step and draws one sample."""

from __future__ import annotations

import time

import numpy as np
import torch

from scripts.acceptance.registry import Figure, Result, measure
from vflow.config import VideoFlowConfig, load_preset
from vflow.data.datasets.shapes import Shapes
from vflow.models import VideoBatch, VideoFlow
from vflow.randomness import normal

MILLIONS = {"bair": 67.5, "bair-samples": 44.9, "shapes": 68.0}


@measure(
    "A",
    size=Figure("reference presets: largest deviation from the paper's parameter counts", "%", at_most=1.0),
    finite=Figure("of them finite after one training step and one sampled frame", "", at_least=3),
    seconds=Figure("all three, together", "s"),
)
def reference_presets() -> Result:
    """bair, bair-samples and shapes: one Adam step on one clip of each preset's length (of the shapes data),
    then one frame sampled at T = 1 after it; float32."""
    began = time.perf_counter()
    deviations, finite = [], 0
    for name, millions in MILLIONS.items():
        count, fine = step_and_sample(name)
        deviations.append(100 * abs(count / 1e6 / millions - 1))
        finite += fine
    return Result({"size": max(deviations), "finite": finite, "seconds": time.perf_counter() - began})


def step_and_sample(name: str) -> tuple[int, bool]:
    """Parameters of a preset's model; whether loss, weights after a step and sample are finite."""
    preset = load_preset(name)
    config = preset.model
    assert isinstance(config, VideoFlowConfig)
    torch.manual_seed(0)
    model = VideoFlow(config)
    first, length = config.min_context, preset.data.frames
    clip = Shapes(frames=length).example(0, (0,))
    frames = torch.from_numpy(np.ascontiguousarray(clip.transpose(0, 3, 1, 2)))[None]
    window = torch.arange(first, length).clamp_max(config.context)[None]
    batch = VideoBatch(frames, normal((1, length - first, *frames.shape[2:]), "reference"), window)
    model.initialize(batch)
    optimizer = torch.optim.Adam(model.parameters(), preset.training.learning_rate)
    loss = model.bits_per_dim(model(batch), length - first).mean()
    loss.backward()
    optimizer.step()
    eps = [normal((1, *shape), "reference", level) for level, shape in enumerate(model.latent_shapes)]
    _, sampled = model.step(model.start(frames[:, :first]), eps, (1.0,) * len(eps))
    whole = bool(torch.isfinite(loss)) and all(bool(p.isfinite().all()) for p in model.parameters())
    return sum(p.numel() for p in model.parameters()), whole and int(sampled.nonfinite.sum()) == 0
