"""Models of photographs and clips for lossless compression: pyramids of lattices (models/lattice.py)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from vflow.config import ClipCodecConfig, PhotoCodecConfig
from vflow.models.lattice import LatticePyramid


@final
class PhotoCodec(nn.Module):
    """p(photo), of its planes Y, Cb and Cr (compression/color.py)."""

    def __init__(self, config: PhotoCodecConfig) -> None:
        super().__init__()
        self.config = config
        self.lattice = LatticePyramid(config.lattice)

    def pyramid(self, index: int) -> LatticePyramid:
        """The pyramid that codes frame ``index``; all are coded alike."""
        return self.lattice

    def references(self, frames: list[Tensor]) -> list[Tensor]:
        """Condition of the next frame: none."""
        return []

    def forward(self, planes: Tensor) -> Tensor:
        """Log-likelihood (B,), nats, of uint8 planes (B, 3, H, W)."""
        return self.lattice.log_probability(planes).sum(1)


@final
class ClipCodec(nn.Module):
    """p(frame | the two frames before); before the first there is none, and the second has it twice."""

    def __init__(self, config: ClipCodecConfig) -> None:
        super().__init__()
        self.config = config
        self.first = LatticePyramid(config.first)
        self.following = LatticePyramid(config.following)

    def pyramid(self, index: int) -> LatticePyramid:
        """The pyramid that codes frame ``index``."""
        return self.following if index else self.first

    def references(self, frames: list[Tensor]) -> list[Tensor]:
        """Condition of the frame after ``frames`` (1, 3, H, W), the last one first."""
        return [frames[-1], frames[-min(2, len(frames))]] if frames else []

    def forward(self, clips: Tensor) -> Tensor:
        """Log-likelihood (B,), nats, of the frames after the first two of uint8 planes (B, T, 3, H, W)."""
        target, last, before = (clips[:, start : clips.shape[1] - 2 + start] for start in (2, 1, 0))
        terms = self.following.log_probability(
            target.flatten(0, 1), [last.flatten(0, 1), before.flatten(0, 1)]
        )
        return torch.stack(terms.sum(1).split(clips.shape[1] - 2)).sum(1)


Codec = PhotoCodec | ClipCodec
