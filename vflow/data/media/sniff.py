"""File formats by their first bytes, and admission of files before any library opens them."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from vflow.data.media.limits import Budget, Limits
from vflow.errors import InputError

IMAGE_SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".avif", ".heic", ".heif", ".hif"),
)
STILL_SUFFIXES = tuple(suffix for suffix in IMAGE_SUFFIXES if suffix != ".gif")
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
ARRAY_SUFFIXES = (".npz", ".npy")
CODED_SUFFIX = ".vflow"
"""Of our own lossless files, which are no media."""
MEDIA_SUFFIXES = IMAGE_SUFFIXES + VIDEO_SUFFIXES + ARRAY_SUFFIXES
ACCEPTED = "PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF, HEIC, MP4, MOV, WebM, MKV, AVI, NPZ or NPY"

# ISO media files may open with any of these boxes; ftyp is the usual one, the others are old QuickTime.
_ISO_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)


class Kind(NamedTuple):
    """A file format: its ``name``, what reads it, and FFmpeg's demuxer for videos."""

    name: str
    family: Literal["still", "video", "array"]
    demuxer: str = ""


def sniff(head: bytes) -> Kind | None:
    """The format that the first 32 bytes of a file announce, or None."""
    for magic, kind in (
        (b"\x89PNG\r\n\x1a\n", Kind("PNG", "still")),
        (b"\xff\xd8\xff", Kind("JPEG", "still")),
        (b"GIF87a", Kind("GIF", "still")),
        (b"GIF89a", Kind("GIF", "still")),
        (b"II*\0", Kind("TIFF", "still")),
        (b"MM\0*", Kind("TIFF", "still")),
        (b"\x1aE\xdf\xa3", Kind("Matroska", "video", "matroska")),
        (b"PK\x03\x04", Kind("NPZ", "array")),
        (b"\x93NUMPY", Kind("NPY", "array")),
    ):
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] in (b"WEBP", b"AVI "):
        return Kind("WEBP", "still") if head[8:12] == b"WEBP" else Kind("AVI", "video", "avi")
    if head[:2] == b"BM" and len(head) >= 18 and struct.unpack("<I", head[14:18])[0] in _BMP_HEADERS:
        return Kind("BMP", "still")
    return _sniff_iso(head)


def _sniff_iso(head: bytes) -> Kind | None:
    if head[4:8] not in _ISO_BOXES:
        return None
    brands = {head[start : start + 4] for start in (8, *range(16, 32, 4))} if head[4:8] == b"ftyp" else set()
    if brands & {b"avif", b"avis"}:
        return Kind("AVIF", "still")
    if head[8:12] in (b"mif1", b"msf1") or brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}:
        return Kind("HEIF", "still")
    return Kind("MP4", "video", "mov")


def admit(path: Path, limits: Limits) -> Kind:
    """Check that ``path`` is a complete file of an accepted kind and size, before any library opens it.

    Raises:
        InputError: missing, a folder, unreadable, empty, too large, of another kind, or cut short.
    """
    require_exists(path)
    if path.is_dir():
        raise InputError(f"{path.name}: a folder where one file is expected; give the file itself")
    if not path.is_file():
        raise InputError(f"{path.name}: not a regular file; give {ACCEPTED}")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            kind = sniff(file.read(32))
            if kind is not None and kind.family == "video":
                _check_complete(path.name, file, kind, size, limits)
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read ({error.strerror}); check its permissions") from error
    if size == 0:
        raise InputError(f"{path.name}: the file is empty; copy or upload it again")
    if size > limits.file_bytes:
        raise InputError(
            f"{path.name}: {size / 2**20:,.0f} MiB; the limit is {limits.file_bytes / 2**20:,.0f} MiB; "
            "trim or compress it"
        )
    if kind is None:
        raise InputError(f"{path.name}: not an image or video (its content does not match); give {ACCEPTED}")
    return kind


def require_exists(*paths: Path) -> None:
    """Refuse paths if none of them exists; the error names the whole first one.

    Raises:
        InputError: none exists.
    """
    if not any(_exists(path) for path in paths):
        raise InputError(f"{paths[0]}: no such file or folder; check the path")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        return False


def _check_complete(name: str, file: BinaryIO, kind: Kind, size: int, limits: Limits) -> None:
    """Refuse a video whose container announces more bytes than the file has.

    Decoders return the frames before the cut and no error, so a half upload would pass for a short clip.
    """
    if kind.demuxer == "mov":
        end, indexed = _iso_end(name, file, size, limits)
        if end <= size and not indexed:
            raise InputError(f"{name}: has no index (the recording was not finished); export it again")
    else:
        end = _riff_end(file) if kind.demuxer == "avi" else _matroska_end(file)
    if end > size:
        raise InputError(f"{name}: the file is truncated (ends early); copy or upload it again")


def _iso_end(name: str, file: BinaryIO, size: int, limits: Limits) -> tuple[int, bool]:
    """End of the last top-level box, and whether there is an index (moov)."""
    position, boxes, budget = 0, set(), Budget(limits)
    while position + 8 <= size:
        budget.add_part(name)
        file.seek(position)
        head = file.read(16)
        length, box = struct.unpack(">I", head[:4])[0], head[4:8]
        if length == 1 and len(head) == 16:
            length = struct.unpack(">Q", head[8:])[0]
        if length < 8 or not box.isalnum():  # 0: to the end of the file; else padding after the last box
            position = size
        boxes.add(box)
        position += length if position < size else 0
    return position, b"moov" in boxes


def _riff_end(file: BinaryIO) -> int:
    """End of the first RIFF chunk (0 when its writer left the size open)."""
    file.seek(4)
    length = struct.unpack("<I", file.read(4))[0]
    return 8 + length if length else 0


def _matroska_end(file: BinaryIO) -> int:
    """End of the Segment (0 when its size is open, as in live recordings)."""
    file.seek(4)
    header = _vint(file)
    file.seek(header or 0, os.SEEK_CUR)
    if file.read(4) != b"\x18\x53\x80\x67":
        return 0
    length = _vint(file)
    return 0 if length is None else file.tell() + length


def _vint(file: BinaryIO) -> int | None:
    """An EBML variable-length size; None when it is the reserved "unknown"."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    width = 9 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0xFF >> width)]) + file.read(width - 1), "big")
    return None if value == (1 << (7 * width)) - 1 else value
