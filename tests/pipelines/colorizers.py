"""A tiny colouriser, and pictures for it."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from vflow.config import ColorizerConfig, EncoderConfig, GlowConfig
from vflow.models import Colorizer, ImageBatch

SIDE = 16
CONFIG = ColorizerConfig(
    glow=GlowConfig(channels=2, height=SIDE, width=SIDE, depth=(1, 1, 1, 1), hidden=(4, 4, 4, 4)),
    condition=EncoderConfig(hidden=(4, 4, 4, 4, 4), blocks=1),
)


def make_colorizer(**changes: object) -> Colorizer:
    """Planes of 16×16 whose levels end at one pixel; zero-initialised layers are perturbed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Colorizer(CONFIG.model_copy(update=changes))
        given = torch.zeros(16, 4, 2 * SIDE, 2 * SIDE)
        given[:, 0] = 100 * torch.rand(16, 2 * SIDE, 2 * SIDE)
        coarse = 128 + 15 * torch.randn(16, 2, 4, 4)
        images = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear").to(torch.uint8)
        model.initialize(ImageBatch(images, given, torch.randn(images.shape)))
        for parameter in model.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


def picture(height: int = 48, width: int = 72, seed: int = 0, channels: int = 3) -> np.ndarray:
    """Smooth shapes under fine noise, like a photo: uint8 (height, width, channels)."""
    random = np.random.default_rng(seed)
    coarse = random.integers(20, 236, (5, 6, channels), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(
        height, width, channels
    )
    return np.clip(smooth + random.normal(0, 5, smooth.shape), 0, 255).astype(np.uint8)


def lightness_error(images: np.ndarray, photo: np.ndarray) -> float:
    """Largest |ΔL| between uint8 (N, H, W, 3) and (H, W, 3), by another implementation of Lab."""
    from skimage.color import rgb2lab

    return float(np.abs(rgb2lab(images)[..., 0] - rgb2lab(photo)[..., 0]).max())
