"""Data modules of the codecs: squares of photos, and of clips' frames given the two before; no noise."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from vflow.compression.color import GREEN_FIRST, to_planes
from vflow.config import ClipCodecConfig, PhotoCodecConfig, Preset
from vflow.config.codec import level_sizes
from vflow.data.datasets.crops import ClipCrops, PhotoCrops
from vflow.data.datasets.registry import open_validation, require_path, require_suitable
from vflow.models import CodecBatch
from vflow.models.codec import Codec
from vflow.randomness import generator
from vflow.training.data import DataModule, S, Samples, begins, locate

DEEP_SHARE = 0.25  # of batches that also train levels without networks of their own, weighted by its inverse
FIRST = 8  # every eighth example is a clip's first frame
STILL_SHARE = 0.05  # of examples that see one earlier frame twice, as a clip's second frame does


@dataclass(frozen=True)
class _Coded(DataModule[S, CodecBatch], ABC):
    """Examples of a codec.

    Args:
        levels: those with networks of their own, see ``level_weights``.
        batch_size: of the global batch, whose parts share the weights of levels.
    """

    levels: int
    batch_size: int
    chunk: ClassVar[int] = 1  # held-out pictures differ in size

    def probe(self, count: int) -> CodecBatch:
        """The first that can be read."""
        readable = (batch for index in range(self.held_out) if (batch := self.validation([index])))
        images, before, _, direct = next(readable)
        return CodecBatch(images[:count], before[:count], direct=min(direct, count))

    def weights(self, crop: int, start: int) -> tuple[float, ...]:
        """Weights of the levels of squares of ``crop`` pixels from stream position ``start`` on."""
        return level_weights(self.levels, crop, (self.seed, begins(start, self.batch_size)))

    def draw(self, model: Codec, device: torch.device, cancelled: Callable[[], bool]) -> Samples | None:
        """None: codecs are judged by bits alone."""
        return None


@dataclass(frozen=True)
class CodedPhotos(_Coded[PhotoCrops]):
    """Training stream of squares, and whole photos held out (None: there are none).

    Args:
        direct: photos that were never JPEG files are coded as they are.
    """

    direct: bool = False

    def batch(self, start: int, size: int) -> CodecBatch:
        squares = [self.train.example(index, (self.seed, epoch)) for epoch, index in self.places(start, size)]
        weights = self.weights(self.train.crop, start)
        return _photos(squares, self.direct)._replace(weights=weights)

    def validation(self, indices: Sequence[int]) -> CodecBatch | None:
        assert self.held
        (index,) = indices
        photo = self.held.readable(index)
        return None if photo is None else _photos([photo], self.direct)

    def bits(self, model: Codec, batch: CodecBatch) -> Tensor:
        """bits/dim at the photo's own size, without the remainder of rounded colours."""
        return _bits(model, batch)[:, None]


@dataclass(frozen=True)
class CodedClips(_Coded[ClipCrops]):
    """Training stream of three frames in a row, and windows of clips held out (None: there are none)."""

    @property
    def held_out(self) -> int:
        return len(self.held.windows) if self.held else 0

    def batch(self, start: int, size: int) -> CodecBatch:
        positions = sorted(range(start, start + size), key=lambda position: position % FIRST > 0)
        first = sum(position % FIRST == 0 for position in positions)
        cuts = []
        for position in positions:
            epoch, index = locate(self.seed, position, self.length)
            before, last, target = self.train.example(index, (self.seed, epoch))
            still = generator("still", self.seed, epoch, index).random() < STILL_SHARE
            cuts.append([target, last, last if still else before])
        frames = _planes(np.array(cuts))
        weights = self.weights(self.train.crop, start)
        return CodecBatch(frames[:, 0], frames[first:, 1:], weights)

    def validation(self, indices: Sequence[int]) -> CodecBatch | None:
        """Frames of one window from the fourth on."""
        assert self.held
        (index,) = indices
        window = self.held.window(index)
        if window is None:
            return None
        frames = _planes(window)
        return CodecBatch(frames[3:], torch.stack([frames[2:-1], frames[1:-2]], 1))

    def bits(self, model: Codec, batch: CodecBatch) -> Tensor:
        """Mean bits/dim of the window's frames, (1, 1)."""
        return _bits(model, batch).mean()[None, None]


def open_codec(config: PhotoCodecConfig | ClipCodecConfig, preset: Preset) -> CodedPhotos | CodedClips:
    """Photos or clips for a codec.

    Raises:
        ConfigError, InputError: another data set than the model's, or no data where the preset says.
    """
    require_suitable(preset.data, config.kind)
    path, crop, training = require_path(preset.data, "FOLDER"), config.crop, preset.training
    seed, size = training.seed, training.batch_size
    if isinstance(config, PhotoCodecConfig):
        photos = open_validation(lambda: PhotoCrops(path, crop=crop, split="validation"))
        squares = PhotoCrops(path, crop=crop, split="train")
        return CodedPhotos(
            squares, photos, seed, config.lattice.levels, size, direct=config.direct is not None
        )
    clips = open_validation(lambda: ClipCrops(path, crop=crop, split="validation"))
    cuts = ClipCrops(path, crop=crop, split="train")
    return CodedClips(cuts, clips, seed, config.following.levels, size)


def level_weights(own: int, crop: int, key: tuple[int, ...]) -> tuple[float, ...]:
    """Weights of a batch's levels, fine to coarse.

    The ``own`` levels that have networks of their own are always trained, the coarser ones, which share the
    last of these, in one batch of four.
    """
    count = len(level_sizes((crop, crop))) - 1
    deep = generator("levels", *key).random() < DEEP_SHARE
    return tuple(1.0 if level < own else deep / DEEP_SHARE for level in range(count))


def _photos(photos: Sequence[np.ndarray], direct: bool) -> CodecBatch:
    """A batch of photos, uint8 (H, W, 3), of one size."""
    converted = sorted((to_planes(photo, direct) for photo in photos), key=lambda c: c.color_map == "rgb")
    images = torch.from_numpy(np.stack([c.planes for c in converted])).movedim(-1, 1).contiguous()
    as_they_are = sum(c.color_map == "rgb" for c in converted)
    return CodecBatch(images, images.new_zeros(0, 2, *images.shape[1:]), direct=as_they_are)


def _planes(frames: np.ndarray) -> Tensor:
    """Frames, uint8 (..., H, W, 3), as planes (..., 3, H, W), green first."""
    return torch.from_numpy(np.ascontiguousarray(frames[..., GREEN_FIRST])).movedim(-1, -3).contiguous()


def _bits(model: Codec, batch: CodecBatch) -> Tensor:
    nats: Tensor = model(batch)
    return -nats / (math.log(2) * batch.images[0].numel())
