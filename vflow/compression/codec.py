"""Lossless files of pictures and clips: pixels to bytes and back, under a model's likelihood."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vflow.compression import container
from vflow.compression.color import (
    GREEN_FIRST,
    Converted,
    decode_pixels,
    encode_remainder,
    rates_size,
    to_planes,
)
from vflow.compression.container import CodedFrame, Header
from vflow.compression.entropy import Decoder, Encoder
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.models import ClipCodec, PhotoCodec
from vflow.models.codec import Codec
from vflow.models.lattice import Mixture, Place, image_pyramid, level_sizes, phases
from vflow.nn.exact import is_exact

STRIP = 1 << 14  # cells whose networks run at once
Progress = Callable[[int, int], None]


class Compressed(NamedTuple):
    """Bytes of a .vflow file, and −log₂ p of its pixels under the model."""

    data: bytes
    information: float
    values: int

    @property
    def bits_per_dim(self) -> float:
        """Bits on disk per value, the header's included."""
        return 8 * len(self.data) / self.values


class Decompressed(NamedTuple):
    """Pixels, uint8 (T, H, W, 3); kind is picture or clip."""

    frames: np.ndarray
    kind: str
    fps: float | None


def _no_progress(done: int, total: int) -> None:
    return None


def model_digest(model: Codec) -> str:
    """SHA-256 of a codec's kind and weights, hexadecimal: files open with no other."""
    digest = hashlib.sha256(model.config.kind.encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def made_with(model: Codec, header: Header) -> bool:
    """True where the file of a header was coded with ``model``."""
    return model_digest(model)[: 2 * container.HASH_BYTES] == header.checkpoint


def compress_frames(
    model: Codec, frames: np.ndarray, *, fps: float | None = None, progress: Progress = _no_progress
) -> Compressed:
    """Code a picture, uint8 (H, W, 3), or a clip, uint8 (T, H, W, 3), without loss.

    Args:
        fps: frames per second, kept in the file.

    Raises:
        ConfigError: ``model`` is no codec of such data, or ``constriction`` is not installed.
        InputError: not uint8 RGB, or empty.
    """
    if frames.dtype != np.uint8 or frames.ndim not in (3, 4) or frames.shape[-1] != 3 or not frames.size:
        raise InputError(f"array {frames.shape} {frames.dtype}: give uint8 (H, W, 3) or (T, H, W, 3)")
    check_codec(model)
    kind = "picture" if frames.ndim == 3 else "clip"
    pictures = frames[None] if frames.ndim == 3 else frames
    if len(pictures) > 1 and isinstance(model, PhotoCodec):
        raise ConfigError("a photo_codec compresses single pictures; choose a checkpoint of kind clip_codec")
    coded: list[CodedFrame] = []
    past: list[Tensor] = []
    information = 0.0
    for index, pixels in enumerate(pictures):
        converted, encoder = convert(model, pixels), Encoder()
        rates = _encode(model, converted, pixels, past, encoder)
        coded.append(CodedFrame(container.checksum(pixels), rates + encoder.finish()))
        information += encoder.information
        past = [*past, _tensor(converted.planes)][-2:]
        progress(index + 1, len(pictures))
    height, width = pictures.shape[1:3]
    digest = model_digest(model)[: 2 * container.HASH_BYTES]
    header = Header(kind, converted.color_map, digest, height, width, len(pictures), fps)
    return Compressed(container.pack(header, coded), information, frames.size)


def decompress_frames(
    model: Codec, data: bytes, *, source: str = "data", progress: Progress = _no_progress
) -> Decompressed:
    """Pixels of the bytes of a .vflow file.

    Raises:
        CheckpointError: coded with another checkpoint. InputError: no such file, damaged, or cut short.
    """
    check_codec(model)
    header, frames = container.unpack(data, source)
    container.check_checkpoint(header, model_digest(model), source)
    pictures: list[np.ndarray] = []
    past: list[Tensor] = []
    for index, frame in enumerate(frames):
        try:
            planes, pixels = _decode(model, header, frame, past)
        except InputError as error:
            raise InputError(f"{source}: frame {index}: {error}; compress the original again") from error
        container.check_frame(frame, pixels, index, source)
        pictures.append(pixels)
        past = [*past, planes][-2:]
        progress(index + 1, len(frames))
    return Decompressed(np.stack(pictures), header.kind, header.fps)


def check_codec(model: object) -> None:
    """Refuse models that do not code, or whose sums float32 cannot hold.

    Raises:
        ConfigError: another kind of model. CheckpointError: weights too large for exact arithmetic.
    """
    if not isinstance(model, PhotoCodec | ClipCodec):
        raise ConfigError(
            f"{type(model).__name__} does not compress; give --checkpoint a codec, as photos or clips"
        )
    if not is_exact(model):
        raise CheckpointError("the codec's weights are too large for exact sums in float32; use another")


def convert(model: Codec, pixels: np.ndarray) -> Converted:
    """``pixels``, uint8 (H, W, 3), in the planes that ``model`` codes."""
    return Converted("rgb", pixels[..., GREEN_FIRST]) if isinstance(model, ClipCodec) else to_planes(pixels)


def _tensor(planes: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(planes)).permute(2, 0, 1)[None].float()


@torch.inference_mode()
def _encode(
    model: Codec, converted: Converted, pixels: np.ndarray, past: list[Tensor], encoder: Encoder
) -> bytes:
    size = (pixels.shape[0], pixels.shape[1])
    pyramid = image_pyramid(_tensor(converted.planes))
    lattices = [phases(image) for image in pyramid]
    _encode_base(pyramid[-1], encoder)

    def code(place: Place, mixture: Mixture) -> Tensor:
        values = lattices[place.level][place.phase][:, place.channel, place.start : place.stop]
        encoder.levels(mixture, values)
        return values

    network = model.pyramid(len(past))
    network.code(pyramid[-1], size, code, model.references(past), strip=STRIP)
    return encode_remainder(converted, pixels, encoder)


@torch.inference_mode()
def _decode(model: Codec, header: Header, frame: CodedFrame, past: list[Tensor]) -> tuple[Tensor, np.ndarray]:
    size = (header.height, header.width)
    rates, data = frame.data[: rates_size(header.color_map)], frame.data[rates_size(header.color_map) :]
    if len(rates) < rates_size(header.color_map):
        raise InputError("the coded pixels end too early")
    decoder = Decoder(data)
    base = _decode_base(level_sizes(size)[-1], decoder)
    network = model.pyramid(len(past))
    image = network.code(
        base, size, lambda place, mixture: decoder.levels(mixture), model.references(past), strip=STRIP
    )
    planes = image[0].permute(1, 2, 0).to(torch.uint8).numpy()
    return image, decode_pixels(Converted(header.color_map, planes), rates, decoder)


def _encode_base(base: Tensor, encoder: Encoder) -> None:
    values = base.flatten().to(torch.int32).numpy()
    for bit in range(8):
        encoder.bits((values >> bit) & 1, 0.5)


def _decode_base(size: tuple[int, int], decoder: Decoder) -> Tensor:
    count = 3 * size[0] * size[1]
    values = sum(decoder.bits(count, 0.5) << bit for bit in range(8))
    return torch.from_numpy(np.asarray(values)).view(1, 3, *size).float()
