"""Decoding of pictures, still or animated, with Pillow to upright 8-bit sRGB."""

from __future__ import annotations

import io
import mmap
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps
from pillow_heif import register_heif_opener

from vflow.data.media.clip import Collector, measure_rate, ticks
from vflow.data.media.limits import Budget, Limits
from vflow.data.media.sniff import Kind
from vflow.errors import InputError

Image.core.set_block_size(2**26)  # those of 16 MiB stay with a thread that has decoded a large picture
register_heif_opener(decode_threads=1)  # with more, the budget would not see all of its time
_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
_EXIF_ORIENTATION = 0x0112
_TIFF_BITS = 258
_GIF_IMAGE, _GIF_EXTENSION, _GIF_COMMENT = 0x2C, 0x21, b"\x21\xfe"
_GIF_CONTROL = b"\x21\xf9\x04"
_GIF_COMMENT_BYTES = 2**16
_GIF_BLOCKS = 32  # of at most 255 bytes, that count as one part
_AVIF_HEADERS = 2**16  # bytes in which a picture's properties lie
_WHITE = (255, 255, 255, 255)
_PLAIN_MODES = ("1", "L", "RGB", "I", "I;16", "F")  # whose values are grey levels or sRGB
_COLOR_SPACES = {"RGB": "RGB ", "L": "GRAY"}  # of ICC profiles, by Pillow's modes; others are not kept
# What Pillow's decoders raise on damaged bytes.
_DAMAGED = (
    AssertionError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    RuntimeError,
    TypeError,
    ZeroDivisionError,
    struct.error,
    zlib.error,
)


def check_mode(picture: object, name: str) -> None:
    """Refuse a picture of Pillow whose values are neither grey levels nor RGB, such as those of a palette.

    Raises:
        InputError: with the ``name``.
    """
    if isinstance(picture, Image.Image) and picture.mode not in _PLAIN_MODES:
        raise InputError(f"{name}: a picture of Pillow's mode {picture.mode}; convert it, by convert('RGB')")


def decode(path: Path, kind: Kind, collector: Collector) -> None:
    """Decode all frames of a picture into ``collector``, remarks included.

    Raises:
        InputError: damaged, of an undecided pixel type, or beyond the collector's limits.
    """
    with _opened(path, kind, collector.limits) as image:
        _note_pages(image, collector)
        if collector.max_frames is None:
            frames = _count(image)
            collector.limits.check_frames(path.name, frames)
            collector.limits.check_decoded_pixels(path.name, frames * image.width * image.height)
        shown = 0.0
        for frame in _frames(path, image, collector.budget):
            rgb = _rgb(path, frame, collector)
            if not collector.add(rgb, shown, grey=_is_grey(frame, rgb)):
                break
            shown += _seconds(frame.info.get("duration") or 0)


def decode_straight(path: Path, kind: Kind, collector: Collector) -> np.ndarray | None:
    """Decode the first frame of a picture as it is stored, not laid on white.

    Returns:
        Its opacity, uint8 (H, W); None where it has none.

    Raises:
        InputError: as ``decode``.
    """
    with _opened(path, kind, collector.limits) as image:
        _note_pages(image, collector)
        if image.format in _ANIMATED and getattr(image, "is_animated", False):
            collector.note("first frame of an animated image")
        frame = next(_frames(path, image, collector.budget))
        upright = _upright(path, frame, collector)
        icc, alpha = frame.info.get("icc_profile"), None
        if upright.has_transparency_data:
            grey = upright.mode == "LA"
            upright = upright.convert("RGBA")
            alpha = np.array(upright.getchannel("A"))
            upright = upright.convert("L" if grey else "RGB")
        rgb = np.asarray(_srgb(upright, icc, collector))
        collector.add(rgb, None, grey=_is_grey(frame, rgb))
        return alpha


def _is_grey(frame: Image.Image, rgb: np.ndarray) -> bool:
    """True for a frame of one channel beside opacity, whose numbers its colour profile leaves equal."""
    one = frame.mode in ("1", "L", "LA") or frame.mode.startswith("I;16")
    return one and bool((rgb == rgb[..., :1]).all())


def _note_pages(image: Image.Image, collector: Collector) -> None:
    """Remark on a second page or picture; to count all of a TIFF's could take minutes."""
    if image.format == "TIFF":
        with suppress(EOFError):
            image.seek(1)
            collector.lose("first of several pages", "give a file of one page")
        image.seek(0)
    if image.format == "HEIF" and getattr(image, "n_frames", 1) > 1:
        collector.lose("main image of several", "give a file of one image")


def probe(path: Path, kind: Kind, limits: Limits) -> tuple[int, float | None]:
    """Frames and rate of a picture, from its headers.

    Of a GIF those that ``decode`` gives, long frames repeated. Other animated pictures tell only when decoded
    how long their frames are shown: these are counted as they are stored, and the rate is None.

    Raises:
        InputError: damaged, or beyond ``limits``.
    """
    with _opened(path, kind, limits) as image:
        frames, rate = _count(image), None
        limits.check_frames(path.name, frames)
        delays = _scan_gif(path, limits) if kind.name == "GIF" and frames > 1 else []
        if len(delays) == frames:
            times = np.cumsum([0.0, *map(_seconds, delays[:-1])])
            rate, constant = measure_rate(times, None)
            if not constant:
                frames, rate = len(ticks(times, limits.frames)), 1 / float(np.median(np.diff(times)))
                limits.check_frames(path.name, frames)
        return frames, rate


def _seconds(milliseconds: int) -> float:
    """Time that a frame is shown: browsers play frames without a sensible duration for 100 ms."""
    return (milliseconds if milliseconds >= 20 else 100) / 1000


def _count(image: Image.Image) -> int:
    """Frames of a picture; 1 for formats that hold pages instead of time."""
    return getattr(image, "n_frames", 1) if image.format in _ANIMATED else 1


@contextmanager
def _opened(path: Path, kind: Kind, limits: Limits) -> Iterator[Image.Image]:
    if kind.name == "GIF":
        _scan_gif(path, limits)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they name files of the installation
            with Image.open(path, formats=(kind.name,)) as image:
                limits.check_size(path.name, *image.size)
                yield image
    except (Image.DecompressionBombError, *_DAMAGED) as error:
        if bomb := re.match(r"Image size \((\d+) pixels\)", str(error)):
            limits.check_size(path.name, int(bomb[1]), 1)
        raise InputError(f"{path.name}: damaged or cut short {kind.name}; save or upload it again") from error


def _scan_gif(path: Path, limits: Limits) -> list[int]:
    """Milliseconds that each frame of a GIF is shown, 0 where it does not say.

    Refuses one of too many blocks, or of long comments: Pillow's time grows as their square.
    """
    delays, delay = list[int](), 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        size, comments, pictures, blocks = len(data), 0, 0, 0
        most = _GIF_BLOCKS * (limits.parts + 1)
        position = 13 + _color_table(data[10]) if size > 10 else size
        while position + 10 < size and data[position] in (_GIF_IMAGE, _GIF_EXTENSION):
            comment = data[position : position + 2] == _GIF_COMMENT
            picture = data[position] == _GIF_IMAGE
            pictures += picture
            if data[position : position + 3] == _GIF_CONTROL:
                delay = 10 * int.from_bytes(data[position + 4 : position + 6], "little")
            if picture:
                delays.append(delay)
                delay = 0
            position += 11 + _color_table(data[position + 9]) if picture else 2
            blocks += 1
            while position < size and blocks < most and (length := data[position]):
                position += 1 + length
                comments += length if comment else 0
                blocks += 1
            position += 1
            limits.check_parts(path.name, pictures + blocks // _GIF_BLOCKS)
            if comments > _GIF_COMMENT_BYTES:
                raise InputError(f"{path.name}: comments of over 64 KiB; export it again without them")
    return delays


def _color_table(flags: int) -> int:
    """Bytes of the colour table that a GIF's ``flags`` announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _frames(path: Path, image: Image.Image, budget: Budget) -> Iterator[Image.Image]:
    """Each frame, loaded; the first alone for formats that hold pages instead of time."""
    for index in range(_count(image)):
        budget.add_frame(path.name, *image.size)
        with budget.timed(path.name):
            if index:  # the main picture, at which a file opens, need not be its first
                image.seek(index)
            image.load()
        budget.limits.check_size(path.name, *image.size)  # headers of HEIC files may understate it
        yield image


def _rgb(path: Path, image: Image.Image, collector: Collector) -> np.ndarray:
    """Upright sRGB pixels, uint8 (H, W, 3); every conversion that changes the look is noted."""
    gif, icc = image.format == "GIF", image.info.get("icc_profile")
    upright = _upright(path, image, collector)
    if upright.has_transparency_data:
        upright = _flatten(upright, collector, note=not gif)
    return np.asarray(_srgb(upright, icc, collector))


def _upright(path: Path, image: Image.Image, collector: Collector) -> Image.Image:
    """The picture turned as its EXIF tag says, 8 bits per channel, without a palette."""
    gif = image.format == "GIF"  # always a palette: not worth a remark
    if (bits := _bits(path, image)) > 8:
        collector.lose(f"{bits}-bit samples scaled to 8 bits", "convert it to 8 bits per channel")
    if image.getexif().get(_EXIF_ORIENTATION, 1) != 1:
        collector.note("rotated as its EXIF tag says")
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise InputError(f"{path.name}: 32-bit samples are not supported; save it with 8 bits per channel")
    if image.mode == "1":
        image = image.convert("L")
    if image.mode in ("P", "PA"):
        if not gif:
            collector.note("palette converted to RGB")
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image


def _bits(path: Path, image: Image.Image) -> int:
    """Bits per sample as stored: Pillow itself reduces 16-bit colour without a word."""
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24]
    if image.format == "AVIF":
        with path.open("rb") as file:
            return _av1_bits(file.read(_AVIF_HEADERS))
    if image.format == "HEIF":
        return int(image.info.get("bit_depth", 8))
    if image.format == "TIFF":
        return int(max(image.tag_v2.get(_TIFF_BITS, (8,))))  # type: ignore[attr-defined]
    return 8


def _av1_bits(head: bytes) -> int:
    """Bits per sample by the decoder configurations (boxes av1C) in an AVIF's headers; 8 without any."""
    flags = [head[match.end() + 2] for match in re.finditer(b"av1C", head[:-3])]
    return max((8 if not byte & 0x40 else 12 if byte & 0x20 else 10 for byte in flags), default=8)


def _flatten(image: Image.Image, collector: Collector, *, note: bool) -> Image.Image:
    """Lay a transparent picture on white, as a page would show it."""
    image = image.convert("RGBA")
    if image.getchannel("A").getextrema() != (255, 255):
        collector.lose("transparency laid on white", "flatten it", note=note)
    return Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image).convert("RGB")


def _srgb(image: Image.Image, icc: bytes | None, collector: Collector) -> Image.Image:
    """Convert by the embedded colour profile, if there is a usable one, else by Pillow's rules.

    A collector that does not convert keeps the numbers and the profile of RGB and grey.
    """
    if image.mode == "CMYK":
        collector.lose("CMYK converted to RGB", "convert it to sRGB")
    if icc and image.mode in ("RGB", "L", "CMYK"):
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            if "srgb" not in ImageCms.getProfileDescription(profile).lower():
                if not collector.convert and profile.profile.xcolor_space == _COLOR_SPACES.get(image.mode):
                    collector.profile = icc
                    return image.convert("RGB")
                target = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(image, profile, target, outputMode="RGB")
                if converted is not None:
                    collector.lose("colours converted from its profile to sRGB", "convert it to sRGB")
                    return converted
        except (ImageCms.PyCMSError, *_DAMAGED):
            collector.note("unusable colour profile ignored")
    return image.convert("RGB")
