"""The file format ``.vflow``: a header, coded frames each with its checksum, and a checksum of the file.

    offset  size  field
    0       4     magic, "VFLW"
    4       1     version: 1; 2 where the pixels have one channel; 3 of the colour map "grey"; 4 with a
                  colour profile; 5 where some frames are coded alone; 6 where some are raw
    5       1     kind: 0 picture, 1 clip, 2 grey picture, 3 grey clip
    6       1     colour map: index into ``color.COLOR_MAPS``
    7       1     bits: 1 and 2 are records before the frames, 1 arithmetic, where it is floating point, and 2
                  colour profile; 4 where frames have marks
    8       16    first half of the SHA-256 of the model's kind and weights
    24      4×3   height, width, number of frames
    36      8     frames per second, float64, 0 where there is no clock
    44      4     bytes of the whole file
    48            per frame: CRC-32 of its pixels (4), bytes that follow (4), coded pixels; where frames have
                  marks, the pixels follow a byte: 1 if coded alone, plus 2 if raw. Records before the frames
                  are alike: the arithmetic, UTF-8 text, and the ICC profile, each with its CRC-32
    end−4   4     CRC-32 of all bytes before

All numbers are little-endian; pixels are uint8 (H, W, 3), rows first, or (H, W, 1), coded as colours whose
three channels are equal. Raw pixels are the bytes themselves, of one channel where the colour map is "grey".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vflow.catalog import superseded_codec
from vflow.compression.color import COLOR_MAPS, ColorMap
from vflow.data.media.sniff import CODED_SUFFIX
from vflow.errors import CheckpointError, InputError

MAGIC = b"VFLW"
VERSION = 6
HASH_BYTES = 16
MAX_PIXELS = 64_000_000
MAX_VALUES = 2**30
MAX_PROFILE = 2**20  # bytes
_HEADER = struct.Struct("<4sBBBB16sIIIdI")
_FRAME = struct.Struct("<II")
_RECORDS = _FLOATING, _PROFILE = 1, 2
_MARKED = 4
_FLAGS = (0, 1, 1, 1, 3, 7, 7)  # largest value of each version
_ALONE, _RAW = 1, 2  # marks
_KINDS = (("picture", 3), ("clip", 3), ("picture", 1), ("clip", 1))  # and channels


class Header(NamedTuple):
    """Header of a file, before its pixels; ``checkpoint`` is 32 hexadecimal digits.

    ``arithmetic`` says which processor and libraries decode a file whose probabilities are floating-point
    numbers; "" where they are whole numbers. ``channels`` is 3, or 1 of grey pixels. ``profile`` is the ICC
    profile of a picture's colours, b"" where they are sRGB.
    """

    kind: str
    color_map: ColorMap
    checkpoint: str
    height: int
    width: int
    frames: int
    fps: float | None
    arithmetic: str = ""
    channels: int = 3
    profile: bytes = b""


class CodedFrame(NamedTuple):
    """Coded pixels of one frame and the CRC-32 of what they decode to.

    ``alone`` is True of a frame after the first that is coded without those before, as after a cut; ``raw``
    of one whose pixels are stored as they are.
    """

    checksum: int
    data: bytes
    alone: bool = False
    raw: bool = False

    @property
    def mark(self) -> int:
        """The byte of a frame in files whose frames have marks."""
        return _ALONE * self.alone + _RAW * self.raw


def frame_bits(frames: Sequence[CodedFrame]) -> list[int]:
    """Bits that each frame takes in a file, with its checksum and length."""
    extra = any(frame.mark for frame in frames)
    return [8 * (_FRAME.size + len(frame.data) + extra) for frame in frames]


def checksum(pixels: np.ndarray) -> int:
    """CRC-32 of uint8 pixels."""
    return zlib.crc32(np.ascontiguousarray(pixels).tobytes())


def pack(header: Header, frames: Sequence[CodedFrame]) -> bytes:
    """Bytes of a file."""
    records = (header.arithmetic.encode(), header.profile)
    flags = sum(flag for flag, record in zip(_RECORDS, records, strict=True) if record)
    raw = any(frame.raw for frame in frames)
    if any(frame.mark for frame in frames):
        flags |= _MARKED
        frames = [frame._replace(data=bytes([frame.mark]) + frame.data) for frame in frames]
    frames = [*(CodedFrame(zlib.crc32(record), record) for record in records if record), *frames]
    total = _HEADER.size + sum(_FRAME.size + len(frame.data) for frame in frames) + 4
    kind, color = _KINDS.index((header.kind, header.channels)), COLOR_MAPS.index(header.color_map)
    version = 1 if header.channels == 3 else 2
    version = 3 if header.color_map == "grey" else version
    version = 4 if header.profile else version
    version = 5 if flags & _MARKED else version
    version = VERSION if raw else version
    parts = [
        _HEADER.pack(
            MAGIC, version, kind, color, flags, bytes.fromhex(header.checkpoint),
            header.height, header.width, header.frames, header.fps or 0.0, total,
        )
    ]  # fmt: skip
    for frame in frames:
        parts += [_FRAME.pack(frame.checksum, len(frame.data)), frame.data]
    body = b"".join(parts)
    return body + struct.pack("<I", zlib.crc32(body))


def check_size(frames: int, height: int, width: int, source: str) -> None:
    """Refuse more pixels than are decoded at once.

    Raises:
        InputError: naming ``source``.
    """
    if height * width > MAX_PIXELS or height * width * frames * 3 > MAX_VALUES:
        raise InputError(f"{source}: {frames} frames of {width}×{height} are more than vflow decodes at once")


def unpack(data: bytes, source: str) -> tuple[Header, list[CodedFrame]]:
    """Header and frames of a file's bytes.

    Raises:
        InputError: not a .vflow file, of another version, cut short, or damaged; one line naming ``source``.
    """
    if data[:4] != MAGIC:
        raise InputError(f"{source}: not a {CODED_SUFFIX} file; give one that 'vflow compress' wrote")
    if len(data) > 4 and not 1 <= data[4] <= VERSION:
        raise InputError(f"{source}: format version {data[4]}, this vflow reads 1 to {VERSION}; update vflow")
    if len(data) < _HEADER.size + 4:
        raise InputError(f"{source}: cut short, its header is incomplete; copy the file again")
    _, version, kind, color, flags, digest, height, width, count, fps, total = _HEADER.unpack_from(data)
    if len(data) < total:
        raise InputError(f"{source}: cut short, {len(data):,} of {total:,} bytes; copy the file again")
    if len(data) > total or zlib.crc32(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        raise InputError(f"{source}: damaged, its checksum differs; copy the file again")
    pixels = height * width
    known = kind < len(_KINDS) and color < len(COLOR_MAPS) and flags <= _FLAGS[version]
    if not known or not pixels or not count or not fps >= 0:
        raise InputError(f"{source}: its header makes no sense; compress the original again")
    check_size(count, height, width, source)
    frames, offset = [], _HEADER.size
    for _ in range(count + (flags & ~_MARKED).bit_count()):
        if offset + _FRAME.size > len(data) - 4:
            raise InputError(f"{source}: frames are not where its header says; compress the original again")
        crc, size = _FRAME.unpack_from(data, offset)
        offset += _FRAME.size
        frames.append(CodedFrame(crc, data[offset : min(offset + size, len(data) - 4)]))
        offset += size
    if offset != len(data) - 4:
        raise InputError(f"{source}: frames are not where its header says; compress the original again")
    arithmetic = _text(frames.pop(0), source) if flags & _FLOATING else ""
    profile = frames.pop(0).data if flags & _PROFILE else b""
    if flags & _MARKED:
        known_marks = _ALONE | _RAW if version >= 6 else _ALONE
        frames = [_split_mark(frame, known_marks, source) for frame in frames]
    (name, channels), map_, digits, clock = _KINDS[kind], COLOR_MAPS[color], digest.hex(), fps or None
    return Header(name, map_, digits, height, width, count, clock, arithmetic, channels, profile), frames


def _split_mark(frame: CodedFrame, known: int, source: str) -> CodedFrame:
    """A frame whose first byte is its mark, of the bits in ``known``."""
    if not frame.data or frame.data[0] & ~known:
        raise InputError(f"{source}: a frame makes no sense; compress the original again")
    mark = frame.data[0]
    return CodedFrame(frame.checksum, frame.data[1:], bool(mark & _ALONE), bool(mark & _RAW))


def _text(record: CodedFrame, source: str) -> str:
    try:
        return record.data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{source}: its header makes no sense; compress the original again") from error


def check_checkpoint(header: Header, digest: str, source: str) -> None:
    """Refuse a file that was coded with another checkpoint than the one whose SHA-256 is ``digest``.

    Raises:
        CheckpointError: it was.
    """
    if header.checkpoint != digest[: 2 * HASH_BYTES]:
        other = (
            f"coded with checkpoint {header.checkpoint[:12]}…, not {digest[:12]}…; "
            "give the one it was coded with by --checkpoint"
        )
        raise CheckpointError(f"{source}: {superseded_codec(header.checkpoint) or other}")


def check_frame(frame: CodedFrame, pixels: np.ndarray, index: int, source: str) -> None:
    """Refuse pixels that are not those which were coded.

    Raises:
        InputError: their CRC-32 differs.
    """
    if checksum(pixels) != frame.checksum:
        raise InputError(
            f"{source}: frame {index + 1} does not decode to the pixels that were coded; "
            "compress the original again"
        )
