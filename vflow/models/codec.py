"""Models of photographs and clips for lossless compression: pyramids of lattices (models/lattice.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

from vflow.bijections.linear import full_precision
from vflow.config import ClipCodecConfig, PhotoCodecConfig
from vflow.models.discrete import DiscreteModel
from vflow.models.lattice import COLORS, LatticePyramid, Place, QuantizedMixture, image_pyramid, phases


class CodecBatch(NamedTuple):
    """Images and the frames before them.

    images: uint8 (B, 3, H, W), planes of a photo or of a frame (compression/color.py).
    before: uint8 (b, 2, 3, H, W), the two frames before each of the last b images, the last one first.
        The images before these are first frames, or photos.
    weights: of the log-likelihood of each level, fine to coarse, 0 where a level is left out; (): all 1.
    direct: how many of the last images are photos in (green, red, blue), the others being in (Y, Cb, Cr).
    """

    images: Tensor
    before: Tensor
    weights: tuple[float, ...] = ()
    direct: int = 0


@final
class PhotoCodec(DiscreteModel[CodecBatch]):
    """p(photo), of its planes Y, Cb and Cr, or of its colours as they are (compression/color.py)."""

    def __init__(self, config: PhotoCodecConfig) -> None:
        super().__init__()
        self.config = config
        self.image_shape = (COLORS, config.crop, config.crop)
        self.lattice = LatticePyramid(config.lattice)
        self.direct = LatticePyramid(config.direct) if config.direct else None

    def pyramid(self, index: int, color_map: str) -> LatticePyramid:
        """The pyramid that codes planes of ``color_map``; ``index`` is 0."""
        return self.direct if self.direct and color_map == "rgb" else self.lattice

    def references(self, frames: list[Tensor]) -> list[Tensor]:
        """Condition of the next frame: none."""
        return []

    def forward(self, batch: CodecBatch) -> Tensor:
        """log P (B,), nats."""
        parts = [
            _log_likelihood(pyramid, images, [], batch.weights) for pyramid, images in self._parts(batch)
        ]
        return torch.cat(parts)

    @torch.no_grad()
    def reconstruct(self, batch: CodecBatch) -> tuple[Tensor, Tensor]:
        """The images, and the same as the pyramids put them together, float32 (B, 3, H, W)."""
        parts = [_pass_through(pyramid, images, []) for pyramid, images in self._parts(batch)]
        return batch.images.float(), torch.cat(parts)

    def _parts(self, batch: CodecBatch) -> list[tuple[LatticePyramid, Tensor]]:
        """Pyramids with the images that they code, of which there are some."""
        first = len(batch.images) - batch.direct
        halves = (self.lattice, batch.images[:first]), (self.direct, batch.images[first:])
        return [(pyramid, images) for pyramid, images in halves if pyramid and len(images)]


@final
class ClipCodec(DiscreteModel[CodecBatch]):
    """p(frame | the two frames before); before the first there is none, and the second has it twice."""

    def __init__(self, config: ClipCodecConfig) -> None:
        super().__init__()
        self.config = config
        self.image_shape = (COLORS, config.crop, config.crop)
        self.first = LatticePyramid(config.first)
        self.following = LatticePyramid(config.following)

    def pyramid(self, index: int, color_map: str) -> LatticePyramid:
        """The pyramid that codes frame ``index``; ``color_map`` is "rgb"."""
        return self.following if index else self.first

    def references(self, frames: list[Tensor]) -> list[Tensor]:
        """Condition of the frame after ``frames`` (1, 3, H, W), the last one first."""
        return [frames[-1], frames[-min(2, len(frames))]] if frames else []

    def forward(self, batch: CodecBatch) -> Tensor:
        """log P (B,), nats."""
        first, following, before = _split(batch)
        parts = []
        if len(first):
            parts.append(_log_likelihood(self.first, first, [], batch.weights))
        if len(following):
            parts.append(_log_likelihood(self.following, following, before, batch.weights))
        return torch.cat(parts)

    @torch.no_grad()
    def reconstruct(self, batch: CodecBatch) -> tuple[Tensor, Tensor]:
        """The images, and the same as the pyramids put them together, float32 (B, 3, H, W)."""
        first, following, before = _split(batch)
        parts = [_pass_through(self.first, first, [])] if len(first) else []
        if len(following):
            parts.append(_pass_through(self.following, following, before))
        return batch.images.float(), torch.cat(parts)


Codec = PhotoCodec | ClipCodec


def _split(batch: CodecBatch) -> tuple[Tensor, Tensor, list[Tensor]]:
    """First frames, others, and what these are given."""
    first = len(batch.images) - len(batch.before)
    return batch.images[:first], batch.images[first:], list(batch.before.unbind(1))


def _log_likelihood(
    pyramid: LatticePyramid, images: Tensor, before: Sequence[Tensor], weights: tuple[float, ...]
) -> Tensor:
    """(B,), nats; under autocast the convolutions of networks run in its type, and nothing else does."""
    device = images.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    levels = [level for level, weight in enumerate(weights) if weight] if weights else None
    with full_precision(images):
        terms = pyramid.log_probability(images, before, levels=levels, dtype=dtype)
    return (terms * terms.new_tensor([*weights, 1.0]) if weights else terms).sum(1)


def _pass_through(pyramid: LatticePyramid, images: Tensor, before: Sequence[Tensor]) -> Tensor:
    """Images put together from their base and what each pass codes of them, float32."""
    images = images.float()
    levels = image_pyramid(images)
    lattices = [phases(image) for image in levels]

    def code(place: Place, mixture: QuantizedMixture) -> Tensor:
        return lattices[place.level][place.phase][:, place.channel, place.start : place.stop]

    size = (images.shape[-2], images.shape[-1])
    return pyramid.code(levels[-1], size, code, [frame.float() for frame in before])
