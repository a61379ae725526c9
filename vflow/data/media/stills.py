"""Decoding of pictures, still or animated, with Pillow: header and size first, then upright 8-bit sRGB."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from vflow.data.media.clip import Collector
from vflow.data.media.limits import Limits, too_many_pixels
from vflow.data.media.sniff import Kind
from vflow.errors import InputError

_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
_EXIF_ORIENTATION = 0x0112
_TIFF_BITS = 258
_WHITE = (255, 255, 255, 255)
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


def decode(path: Path, kind: Kind, collector: Collector, limits: Limits) -> None:
    """Decode all frames of a picture into ``collector``, remarks included.

    Raises:
        InputError: damaged, of an undecided pixel type, or beyond ``limits``.
    """
    with _opened(path, kind, limits) as image:
        _note_pages(image, collector)
        shown = 0.0
        for frame in _frames(image):
            limits.check_pixels(path.name, *frame.size)
            rgb = _rgb(path, frame, collector)
            # Browsers play frames without a sensible duration for 100 ms.
            milliseconds = frame.info.get("duration") or 0
            if not collector.add(rgb, shown):
                break
            shown += (milliseconds if milliseconds >= 20 else 100) / 1000


def decode_straight(path: Path, kind: Kind, collector: Collector, limits: Limits) -> np.ndarray | None:
    """Decode the first frame of a picture as it is stored, not laid on white.

    Returns:
        Its opacity, uint8 (H, W); None where it has none.

    Raises:
        InputError: as ``decode``.
    """
    with _opened(path, kind, limits) as image:
        _note_pages(image, collector)
        frame = next(_frames(image))
        limits.check_pixels(path.name, *frame.size)
        upright = _upright(path, frame, collector)
        icc, alpha = frame.info.get("icc_profile"), None
        if upright.has_transparency_data:
            upright = upright.convert("RGBA")
            alpha = np.array(upright.getchannel("A"))
            upright = upright.convert("RGB")
        collector.add(np.asarray(_srgb(upright, icc, collector)), None)
        return alpha


def _note_pages(image: Image.Image, collector: Collector) -> None:
    count = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    if count > 1:
        collector.note(f"first of {count} pages")


def size(path: Path, kind: Kind, limits: Limits) -> tuple[int, int, int]:
    """Width, height and number of frames, from the headers."""
    with _opened(path, kind, limits) as image:
        frames = getattr(image, "n_frames", 1) if image.format in _ANIMATED else 1
        return *image.size, frames


@contextmanager
def _opened(path: Path, kind: Kind, limits: Limits) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=(kind.name,)) as image:
                limits.check_pixels(path.name, *image.size)
                yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        pixels = int((re.findall(r"\d+", str(error)) or [limits.pixels])[0])
        raise InputError(too_many_pixels(path.name, pixels, limits)) from error
    except _DAMAGED as error:
        raise InputError(f"{path.name}: damaged or cut short {kind.name}; save or upload it again") from error


def _frames(image: Image.Image) -> Iterator[Image.Image]:
    """Each frame, loaded; the first alone for formats that hold pages instead of time."""
    index = 0
    while True:
        try:
            image.seek(index)
        except EOFError:
            return
        image.load()
        yield image
        index += 1
        if image.format not in _ANIMATED:
            return


def _rgb(path: Path, image: Image.Image, collector: Collector) -> np.ndarray:
    """Upright sRGB pixels, uint8 (H, W, 3); every conversion that changes the look is noted."""
    gif, icc = image.format == "GIF", image.info.get("icc_profile")
    upright = _upright(path, image, collector)
    if upright.has_transparency_data:
        upright = _flatten(upright, None if gif else collector)
    return np.asarray(_srgb(upright, icc, collector))


def _upright(path: Path, image: Image.Image, collector: Collector) -> Image.Image:
    """The picture turned as its EXIF tag says, 8 bits per channel, without a palette."""
    gif = image.format == "GIF"  # always a palette: not worth a remark
    if _bits(path, image) > 8:
        collector.note("16-bit samples scaled to 8 bits")
    if image.getexif().get(_EXIF_ORIENTATION, 1) != 1:
        collector.note("rotated as its EXIF tag says")
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise InputError(f"{path.name}: 32-bit samples are not supported; save it with 8 bits per channel")
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
    if image.format == "TIFF":
        return int(max(image.tag_v2.get(_TIFF_BITS, (8,))))  # type: ignore[attr-defined]
    return 8


def _flatten(image: Image.Image, collector: Collector | None) -> Image.Image:
    """Lay a transparent picture on white, as a page would show it."""
    image = image.convert("RGBA")
    if image.getchannel("A").getextrema() != (255, 255) and collector is not None:
        collector.note("transparency laid on white")
    return Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image).convert("RGB")


def _srgb(image: Image.Image, icc: bytes | None, collector: Collector) -> Image.Image:
    """Convert by the embedded colour profile, if there is a usable one, else by Pillow's rules."""
    if image.mode == "CMYK":
        collector.note("CMYK converted to RGB")
    if icc and image.mode in ("RGB", "L", "CMYK"):
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            if "srgb" not in ImageCms.getProfileDescription(profile).lower():
                target = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(image, profile, target, outputMode="RGB")
                if converted is not None:
                    collector.note("colours converted from its profile to sRGB")
                    return converted
        except (ImageCms.PyCMSError, *_DAMAGED):
            collector.note("unusable colour profile ignored")
    return image.convert("RGB")
