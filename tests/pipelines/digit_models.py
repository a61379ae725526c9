"""A tiny model of digits with random weights, and printed digits to feed it."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from vflow.config import DigitsConfig, GlowConfig
from vflow.models import Digits, ImageBatch


def printed(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Digits in print, light on black, each a bit elsewhere: uint8 (count, 28, 28); their classes in turn."""
    random = np.random.default_rng(seed)
    images, labels = np.zeros((count, 28, 28), np.uint8), np.arange(count) % 10
    for image, label in zip(images, labels, strict=True):
        x, y, thick = random.integers(4, 8), random.integers(22, 26), random.integers(2, 4)
        cv2.putText(image, str(label), (int(x), int(y)), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 255, int(thick))
    return images, labels


def make_digits(**changes: object) -> Digits:
    """A model whose zero-initialised layers are perturbed, its pixel map fitted to printed digits."""
    glow = GlowConfig(channels=1, height=28, width=28, depth=(1, 1), hidden=(4, 4))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Digits(DigitsConfig.model_validate({"glow": glow, "condition": (2, 2), **changes}))
        images = torch.from_numpy(printed(100)[0])[:, None]
        batch = ImageBatch(images, torch.arange(100) % 10, torch.randn(images.shape))
        model.fit([batch])
        model.initialize(batch)
        for parameter in model.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()
