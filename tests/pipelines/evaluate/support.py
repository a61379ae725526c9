"""Folders of tiny clips and photos, split as people split them, and tiny models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vflow.config import ColorizerConfig, EncoderConfig, GlowConfig
from vflow.data import media
from vflow.models import Colorizer
from vflow.pipelines.evaluate.report import Progress

FRAMES = 6


def moving_clip(number: int, frames: int = FRAMES, side: int = 16) -> np.ndarray:
    """A bright square on textured grey that moves by a pixel a frame: uint8 (T, 16, 16, 3)."""
    random = np.random.default_rng(number)
    clip = np.repeat(random.integers(90, 110, (1, side, side, 3), dtype=np.uint8), frames, 0)
    top, left = random.integers(0, side - frames - 3, 2)
    for t, frame in enumerate(clip):
        frame[top : top + 4, left + t : left + t + 4] = 200 + number
    return clip


def write_clips(root: Path, train: int = 8, test: int = 3) -> Path:
    """``root``/train and ``root``/test with npz clips, no two alike."""
    for split, numbers in (("train", range(train)), ("test", range(train, train + test))):
        (root / split).mkdir(parents=True)
        for number in numbers:
            media.write_npz(root / split / f"{number:02d}.npz", frames=moving_clip(number))
    return root


def write_photos(root: Path, train: int = 24, test: int = 3) -> Path:
    """``root``/train and ``root``/val with coloured ramps."""
    y, x = np.mgrid[:40, :50]
    for split, numbers in (("train", range(train)), ("val", range(train, train + test))):
        (root / split).mkdir(parents=True)
        for number in numbers:
            tint = np.random.default_rng(number).integers(40, 216, 3)
            ramps = np.stack([x, y, x[:, ::-1]], -1) * 2 - 50
            image = np.clip(tint + ramps, 0, 255).astype(np.uint8)
            Image.fromarray(image).save(root / split / f"{number:02d}.png")
    return root


def make_colorizer() -> Colorizer:
    """A model of 8×8 planes whose zero-initialised layers are perturbed."""
    glow = GlowConfig(channels=2, height=8, width=8, depth=(1, 1, 1), hidden=(4, 4, 4))
    condition = EncoderConfig(hidden=(4, 4, 4, 4), blocks=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Colorizer(ColorizerConfig(glow=glow, condition=condition))
        for parameter in model.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


def quiet(stage: str) -> Progress:
    """Stages of which nobody is told."""
    return lambda done, total: None
