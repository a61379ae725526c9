"""A tiny super-resolution model."""

from __future__ import annotations

import torch

from vflow.config import SuperResolutionConfig
from vflow.models import ImageBatch, SuperResolution

CONFIG = SuperResolutionConfig(
    glow={"height": 16, "width": 16, "depth": (1,), "hidden": (4,)},
    condition={"hidden": (4,), "blocks": 1},
    features=4,
    temperature=0.5,
)


def make_super_resolution() -> SuperResolution:
    """Wild enough that samples leave 0..255; zero-initialised layers are perturbed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SuperResolution(CONFIG)
        images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
        small = torch.nn.functional.avg_pool2d(images.float(), 2).to(torch.uint8)
        model.initialize(ImageBatch(images, small, torch.randn(images.shape)))
        for parameter in model.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()
