"""What is expected of a photo's colours: its mean colour given L, then the structure given that as well."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.base import accumulation_dtype
from vflow.nn.encoder import ResidualBlock
from vflow.nn.layers import NormConv2d, ZeroConv2d
from vflow.nn.modules import ModuleList
from vflow.nn.relu import relu

MODULATOR = 64  # hidden units of what the mean colour says to one level


@final
class FiLM(nn.Module):
    """x · (1 + a) + b, a and b from a vector per image (FiLM: Perez et al. 2018); starts as x."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(inputs, MODULATOR), nn.Linear(MODULATOR, 2 * channels)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        a, b = self.leave(F.relu(self.enter(vector)))[:, :, None, None].chunk(2, 1)
        return x * (1 + a) + b


@final
class ColorMean(nn.Module):
    """A shift of colour planes, exactly invertible: by a mean colour, and by a structure without mean.

    The mean colour that is expected depends on the features alone; the structure on the image's own mean
    colour as well, which the shift of structure leaves as it is. So x − shift is decoded by taking its mean
    first. How vivid a photo is shows in its mean: given that, twice as much of the structure is known.

    Args:
        channels: of the planes.
        hidden: channels per level, fine to coarse; the first is at half the planes' size.
        features: channels of the features that say what is seen, per level; the last says most of the mean.

    Features may be given of the picture alone, or of that and, after those, of its mirror image. Then both
    are asked, and what is expected is the mean of their answers: errors that they do not share cancel.
    """

    def __init__(self, channels: int, hidden: Sequence[int], features: Sequence[int]) -> None:
        super().__init__()
        self.levels = len(features)
        self.enter = ModuleList([NormConv2d(f, h, 3) for f, h in zip(features, hidden, strict=False)])
        self.modulate = ModuleList([FiLM(channels, h) for h in hidden])
        self.blocks = ModuleList([ResidualBlock(h) for h in hidden])
        self.down = ModuleList([NormConv2d(b, a, 1) for a, b in pairwise(hidden)])
        self.leave = ZeroConv2d(hidden[0], 4 * channels)
        self.tint = ZeroConv2d(features[-1], channels)

    def expected(self, features: Sequence[Tensor]) -> Tensor:
        """Mean colour given the features, (B, C, 1, 1)."""
        return _agreed([self.tint(view[-1]) for view in self._views(features)]).mean((2, 3), keepdim=True)

    def structure(self, features: Sequence[Tensor], mean: Tensor) -> Tensor:
        """What is expected beside the ``mean`` (B, C, 1, 1): (B, C, H, W), whose own mean is zero."""
        own, *mirrored = [self._answer(view, mean) for view in self._views(features)]
        plane = _agreed([own, *(answer.flip(-1) for answer in mirrored)])
        return plane - plane.mean((2, 3), keepdim=True)

    def _views(self, features: Sequence[Tensor]) -> list[Sequence[Tensor]]:
        """The picture's features; and those of its mirror image, if they are given."""
        views = [features[: self.levels], features[self.levels :]]
        return views if views[1] else views[:1]

    def _answer(self, features: Sequence[Tensor], mean: Tensor) -> Tensor:
        """What one view says of the structure, (B, C, H, W)."""
        x: Tensor | None = None
        vector = mean.flatten(1)
        for level in reversed(range(len(self.enter))):
            entered = self.enter[level](features[level])
            if x is not None:
                entered = entered + F.interpolate(self.down[level](x), scale_factor=2.0, mode="nearest")
            x = self.blocks[level](self.modulate[level](entered, vector))
        assert x is not None
        return F.pixel_shuffle(self.leave(relu(x)), 2)

    def subtract(self, x: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Planes x (B, C, H, W) less what is expected of them; log-determinant 0."""
        mean = x.mean((2, 3), keepdim=True)
        return x - (self.expected(features) + self.structure(features, mean))

    def add(self, y: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Inverse of ``subtract``."""
        expected = self.expected(features)
        mean = y.mean((2, 3), keepdim=True) + expected
        return y + (expected + self.structure(features, mean))

    def errors(self, x: Tensor, features: Sequence[Tensor], near: Tensor) -> tuple[Tensor, Tensor]:
        """x less what is expected when the mean colour is told as ``near``: the mean's error (B, C, 1, 1),
        and the structure's (B, C, H, W)."""
        mean = x.mean((2, 3), keepdim=True)
        return mean - self.expected(features), x - mean - self.structure(features, near)


def _agreed(answers: Sequence[Tensor]) -> Tensor:
    """Mean of the answers, in float32 or wider."""
    return torch.stack([answer.to(accumulation_dtype(answer.dtype)) for answer in answers]).mean(0)
