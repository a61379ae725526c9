"""Lossless files of pictures and clips: pixels to bytes and back, under a model's likelihood."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from vflow.compression import container
from vflow.compression.coder import Count, FrameCoder
from vflow.compression.color import ColorMap
from vflow.compression.container import CodedFrame, Header
from vflow.compression.flow_coder import FlowCoder
from vflow.compression.pyramid_coder import PyramidCoder
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.models import ClipCodec, PhotoCodec, configuration
from vflow.models.codec import Codec
from vflow.models.lattice_videoflow import LatticeVideoFlow
from vflow.nn.exact import is_exact

Progress = Callable[[int, int], None]
"""Called with the values coded so far and their total, several times per frame where frames are large."""


class FrameSize(NamedTuple):
    """Bits of a frame on disk, its checksum included, and −log₂ p of its pixels under the model."""

    bits: int
    information: float


class Compressed(NamedTuple):
    """Bytes of a .vflow file, the number of its values, and the sizes of its frames.

    ``costs``: bits of each pixel of a picture, float32 (H, W); those of a pixel that others build on are
    shared with them. None of clips, and of a picture stored as it is.
    """

    data: bytes
    values: int
    frames: tuple[FrameSize, ...]
    costs: np.ndarray | None = None

    @property
    def information(self) -> float:
        """−log₂ p of all pixels."""
        return sum(frame.information for frame in self.frames)

    def after(self, context: int) -> FrameSize:
        """Sum of the frames after the first ``context``: what the whole takes beyond a file of those."""
        return FrameSize(
            sum(frame.bits for frame in self.frames[context:]),
            sum(frame.information for frame in self.frames[context:]),
        )

    @property
    def bits_per_dim(self) -> float:
        """Bits on disk per value, the header's included."""
        return 8 * len(self.data) / self.values


class Decompressed(NamedTuple):
    """Pixels, uint8 (T, H, W, C), C as it was coded; kind is picture or clip.

    ``profile`` is the ICC profile of a picture's colours, b"" where they are sRGB.
    """

    frames: np.ndarray
    kind: str
    fps: float | None
    profile: bytes = b""


def model_digest(model: Codec | LatticeVideoFlow) -> str:
    """SHA-256 of a codec's kind and weights, hexadecimal: files open with no other."""
    digest = hashlib.sha256(model.config.kind.encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def made_with(model: Codec | LatticeVideoFlow, header: Header) -> bool:
    """True where the file of a header was coded with ``model``."""
    return model_digest(model)[: 2 * container.HASH_BYTES] == header.checkpoint


def compress_frames(
    model: Codec | LatticeVideoFlow,
    frames: np.ndarray,
    *,
    fps: float | None = None,
    profile: bytes = b"",
    progress: Progress = lambda done, total: None,
) -> Compressed:
    """Code a picture, uint8 (H, W, C), or a clip, uint8 (T, H, W, C), without loss; C is 3, or 1 for grey.

    Args:
        fps: frames per second, kept in the file.
        profile: ICC profile of a picture's colours, kept in the file; b"" of sRGB.

    Raises:
        CheckpointError: ``model`` is no codec. ConfigError: it codes other data, ``fps`` is negative or
            not finite, or ``constriction`` is not installed. InputError: not uint8 of one or three channels,
            empty, or of more pixels than are decoded at once; a clip with a profile, or one of more than
            1 MiB.
    """
    if (
        frames.dtype != np.uint8
        or frames.ndim not in (3, 4)
        or frames.shape[-1] not in (1, 3)
        or not frames.size
    ):
        raise InputError(
            f"array {frames.shape} {frames.dtype}: give uint8 (H, W, C) or (T, H, W, C), C 3 or 1"
        )
    if fps is not None and not 0 <= fps < math.inf:
        raise ConfigError(f"fps must be a number from 0 on, got {fps}")
    kind = "picture" if frames.ndim == 3 else "clip"
    pictures = frames[None] if kind == "picture" else frames
    count, height, width, channels = pictures.shape
    container.check_size(count, height, width, "array")
    coder = _coder(model)
    if profile and (kind == "clip" or len(profile) > container.MAX_PROFILE):
        raise InputError(f"a colour profile of {len(profile):,} bytes for a {kind}; convert it to sRGB first")
    coder.begin(pictures)
    size = 3 * height * width
    coded: list[CodedFrame] = []
    information: list[float] = []
    for index, pixels in enumerate(pictures):
        color = pixels if channels == 3 else pixels.repeat(3, -1)
        with _full_precision(model):
            data, own = coder.encode(color, _counted(progress, index, size, count * size))
        frame = CodedFrame(container.checksum(pixels), data, coder.alone)
        coded.append(_shorter(frame, _to_raw(pixels, coder.color_map)))
        information.append(own)
        progress((index + 1) * size, count * size)
    digest = model_digest(model)[: 2 * container.HASH_BYTES]
    header = Header(
        kind, coder.color_map, digest, height, width, count, fps, coder.arithmetic, channels, profile
    )
    sizes = tuple(map(FrameSize, container.frame_bits(coded), information))
    costs = coder.costs if kind == "picture" and not coded[0].raw else None
    return Compressed(container.pack(header, coded), frames.size, sizes, costs)


def decompress_frames(
    model: Codec | LatticeVideoFlow,
    data: bytes,
    *,
    source: str = "data",
    progress: Progress = lambda done, total: None,
) -> Decompressed:
    """Pixels of the bytes of a .vflow file.

    Raises:
        CheckpointError: coded with another checkpoint. InputError: no such file, damaged, or cut short.
    """
    coder = _coder(model)
    header, frames = container.unpack(data, source)
    container.check_checkpoint(header, model_digest(model), source)
    if header.arithmetic != coder.arithmetic:
        there, here = (text or "whole numbers" for text in (header.arithmetic, coder.arithmetic))
        raise InputError(
            f"{source}: coded with the arithmetic of {there}, here it is that of {here}; "
            "decompress it where it was compressed"
        )
    pictures: list[np.ndarray] = []
    size = 3 * header.height * header.width
    for index, frame in enumerate(frames):
        try:
            count = _counted(progress, index, size, size * len(frames))
            if frame.alone:
                coder.restart()
            if frame.raw:
                color = _from_raw(frame.data, header)
                coder.remember(color)
            else:
                with _full_precision(model):
                    color = coder.decode(header, frame.data, count)
        except InputError as error:
            raise InputError(f"{source}: frame {index + 1}: {error}; compress the original again") from error
        pixels = color[..., : header.channels]
        container.check_frame(frame, pixels, index, source)
        pictures.append(pixels)
        progress((index + 1) * size, size * len(frames))
    return Decompressed(np.stack(pictures), header.kind, header.fps, header.profile)


def _shorter(frame: CodedFrame, raw: bytes) -> CodedFrame:
    """``frame``, or its raw pixels where they are shorter with the byte that says so."""
    return frame if len(frame.data) <= len(raw) + 1 else frame._replace(data=raw, raw=True)


def _to_raw(pixels: np.ndarray, color_map: ColorMap) -> bytes:
    """Bytes of ``pixels``, uint8 (H, W, C), themselves: what a frame takes at most."""
    return (pixels[..., :1] if color_map == "grey" else pixels).tobytes()


def _from_raw(data: bytes, header: Header) -> np.ndarray:
    """Pixels, uint8 (H, W, 3), of what ``_to_raw`` made.

    Raises:
        InputError: too few bytes, or too many.
    """
    channels = 1 if header.color_map == "grey" else header.channels
    if len(data) != header.height * header.width * channels:
        raise InputError("its raw pixels are not as many as its header says")
    pixels = np.frombuffer(data, np.uint8).reshape(header.height, header.width, channels)
    return pixels.repeat(3 // channels, -1)


def _full_precision(model: nn.Module) -> torch.autocast:
    """No autocast inside: a file written under a caller's could not be read without."""
    return torch.autocast(next(model.parameters()).device.type, enabled=False)


def _counted(progress: Progress, index: int, size: int, total: int) -> Count:
    """Progress within the frame at ``index``, of ``size`` values."""
    done = index * size

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(done, total)

    return count


def check_codec(model: object) -> None:
    """Refuse models that do not code, or whose sums float32 cannot hold.

    Raises:
        CheckpointError: another kind of model, one on a GPU, or weights too large for exact arithmetic.
    """
    if not isinstance(model, PhotoCodec | ClipCodec | LatticeVideoFlow):
        kind = configuration(model).kind
        raise CheckpointError(
            f"a model of kind {kind} does not compress; choose codec-photo, or for clips codec-clip or a "
            "video model with exact likelihood, such as grasp"
        )
    if isinstance(model, LatticeVideoFlow) and model.image_shape[0] != 3:
        raise CheckpointError("a model of grey frames does not compress; choose one of colour frames")
    if next(model.parameters()).device.type != "cpu":
        raise CheckpointError("arithmetic is exact on CPUs alone; load the model with device='cpu'")
    if isinstance(model, PhotoCodec | ClipCodec) and not is_exact(model):
        raise CheckpointError("the codec's weights are too large for exact sums in float32; use another")


def _coder(model: Codec | LatticeVideoFlow) -> FrameCoder:
    check_codec(model)
    return FlowCoder(model) if isinstance(model, LatticeVideoFlow) else PyramidCoder(model)
