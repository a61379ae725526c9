"""Coder of photos and clips by a pyramid of lattices, whose sums are exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
import torch
from torch import Tensor

from vflow.compression.coder import Count, FrameCoder
from vflow.compression.color import (
    GREEN_FIRST,
    NEUTRAL,
    Converted,
    decode_pixels,
    encode_remainder,
    is_grey,
    rates_size,
    to_planes,
)
from vflow.compression.container import Header
from vflow.compression.entropy import CumulativeTable, Decoder, Encoder
from vflow.config.codec import level_sizes
from vflow.errors import ConfigError, InputError
from vflow.models import ClipCodec, PhotoCodec
from vflow.models.codec import Codec
from vflow.models.lattice import Place, QuantizedMixture, image_pyramid, phases

STRIP = 1 << 14  # cells whose networks run at once


@final
class PyramidCoder(FrameCoder):
    """Codec of photos, or of clips given the two frames before: exact sums decide.

    A frame that costs more bits than the newest one that was coded alone is coded alone, too, and the shorter
    of both is kept: so cuts cost no more than new pictures.
    """

    def __init__(self, model: Codec) -> None:
        self.model = model
        self.past: list[Tensor] = []
        self.cost_alone = 0.0  # −log₂ p of the newest frame that was coded alone
        self.grey = False

    def begin(self, pictures: np.ndarray) -> None:
        self.grey = is_grey(pictures)
        if len(pictures) > 1 and isinstance(self.model, PhotoCodec):
            remedy = "choose a checkpoint of kind clip_codec"
            raise ConfigError(f"a photo_codec compresses single images; {remedy}")

    @torch.inference_mode()
    def encode(self, pixels: np.ndarray, count: Count) -> tuple[bytes, float]:
        converted = convert(self.model, pixels)
        if self.grey:
            converted = converted._replace(color_map="grey")
        self.color_map, self.alone = converted.color_map, False
        image, past = _tensor(converted.planes), self.past
        coded = self._encoded(image, converted, pixels, count)
        if not past:
            self.cost_alone = coded[1]
        elif coded[1] > self.cost_alone:
            self.past = []
            again = self._encoded(image, converted, pixels, lambda values: count(0))
            self.cost_alone = again[1]
            self.alone = len(again[0]) < len(coded[0])
            coded, self.past = (again, []) if self.alone else (coded, past)
        self._remember(image)
        return coded

    def _encoded(
        self, image: Tensor, converted: Converted, pixels: np.ndarray, count: Count
    ) -> tuple[bytes, float]:
        """Bytes of an image (1, 3, H, W) given the past, and −log₂ p."""
        encoder, pyramid = Encoder(), image_pyramid(image)
        lattices = [phases(level) for level in pyramid]
        _encode_base(pyramid[-1][:, :1] if self.grey else pyramid[-1], encoder)

        cells = [np.zeros(level.shape[-2:], np.float32) for level in pyramid[1:]]  # bits of cells of 2×2
        base = np.full(pyramid[-1].shape[-2:], encoder.information / pyramid[-1][0, 0].numel(), np.float32)

        def code(place: Place, mixture: QuantizedMixture) -> Tensor:
            values = lattices[place.level][place.phase][:, place.channel, place.start : place.stop]
            if not (self.grey and place.channel):
                costs = encoder.levels(CumulativeTable(mixture), values).reshape(values.shape[1:])
                cells[place.level][place.start : place.stop, : costs.shape[1]][: len(costs)] += costs
            count(values.numel())
            return values

        self._network(pyramid[-1], (pixels.shape[0], pixels.shape[1]), code, converted.color_map)
        self.costs = _shared_out(base, cells, [(level.shape[-2], level.shape[-1]) for level in pyramid])
        return encode_remainder(converted, pixels, encoder) + encoder.finish(), encoder.information

    def remember(self, pixels: np.ndarray) -> None:
        self._remember(_tensor(pixels[..., GREEN_FIRST]))

    def restart(self) -> None:
        self.past = []

    @torch.inference_mode()
    def decode(self, header: Header, data: bytes, count: Count) -> np.ndarray:
        size, rates = (header.height, header.width), data[: rates_size(header.color_map)]
        if len(rates) < rates_size(header.color_map):
            raise InputError("the coded pixels end too early")
        decoder, grey = Decoder(data[len(rates) :]), header.color_map == "grey"
        first = torch.empty(0)  # values of the first channel where the next ones are

        def code(place: Place, mixture: QuantizedMixture) -> Tensor:
            nonlocal first
            shape = (1, *mixture.mean.shape[2:])
            if grey and place.channel:
                values = self._implied(first)
            else:
                values = first = decoder.levels(CumulativeTable(mixture)).view(shape).float()
            count(values.numel())
            return values

        base = _decode_base(level_sizes(size)[-1], decoder, 1 if grey else 3)
        if grey:
            base = torch.cat([base, *[self._implied(base)] * 2], 1)
        image = self._network(base, size, code, header.color_map)
        self._remember(image)
        planes = image[0].permute(1, 2, 0).to(torch.uint8).numpy()
        return decode_pixels(Converted(header.color_map, planes), rates, decoder)

    def _implied(self, first: Tensor) -> Tensor:
        """Values of another channel of a grey picture, given those of the first."""
        return first if isinstance(self.model, ClipCodec) else torch.full_like(first, NEUTRAL)

    def _network(
        self,
        base: Tensor,
        size: tuple[int, int],
        code: Callable[[Place, QuantizedMixture], Tensor],
        color_map: str,
    ) -> Tensor:
        pyramid, references = self.model.pyramid(len(self.past), color_map), self.model.references(self.past)
        return pyramid.code(base, size, code, references, strip=STRIP)

    def _remember(self, image: Tensor) -> None:
        self.past = [*self.past, image][-2:]


def convert(model: Codec, pixels: np.ndarray) -> Converted:
    """``pixels``, uint8 (H, W, 3), in the planes that ``model`` codes."""
    if isinstance(model, ClipCodec):
        return Converted("rgb", pixels[..., GREEN_FIRST])
    return to_planes(pixels, direct=model.direct is not None)


def _shared_out(base: np.ndarray, cells: list[np.ndarray], sizes: list[tuple[int, int]]) -> np.ndarray:
    """Bits of each pixel, float32 (H, W): those of a cell are shared by its 2×2 pixels, which stand for more.

    Args:
        base: bits of the coarsest pixels. cells: of what is coded of each level beside its first lattice.
        sizes: of the levels, fine to coarse; the base's is the last.
    """
    found = base
    for bits, (height, width) in zip(reversed(cells), reversed(sizes[:-1]), strict=True):
        rows, columns = (np.minimum(2, side - np.arange(0, side, 2)) for side in (height, width))
        shares = (found + bits) / np.outer(rows, columns).astype(np.float32)
        found = shares.repeat(2, 0)[:height].repeat(2, 1)[:, :width]
    return found


def _tensor(planes: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(planes)).permute(2, 0, 1)[None].float()


def _encode_base(base: Tensor, encoder: Encoder) -> None:
    values = base.flatten().to(torch.int32).numpy()
    for bit in range(8):
        encoder.bits((values >> bit) & 1, 0.5)


def _decode_base(size: tuple[int, int], decoder: Decoder, channels: int) -> Tensor:
    count = channels * size[0] * size[1]
    values = sum(decoder.bits(count, 0.5) << bit for bit in range(8))
    return torch.from_numpy(np.asarray(values)).view(1, channels, *size).float()
