"""Sizes of pictures in lossless formats: what a codec of one's own is measured against."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from vflow.errors import ConfigError, InputError

STILL_FORMATS = {
    "png": "oxipng, level 4",
    "webp": "libwebp, lossless, method 6, quality 80",
    "jxl": "libjxl, lossless, effort 7",
}
"""Format → the encoder and its settings."""


def still_bytes(pixels: np.ndarray, name: str, profile: bytes = b"") -> int:
    """Bytes of ``pixels``, uint8 (H, W, C) with C 3 or 1, in one of ``STILL_FORMATS``, headers included.

    ``profile``: ICC profile of their colours, which PNG and WebP then hold.

    Raises:
        ConfigError: the encoder's package is missing.
    """
    try:
        match name:
            case "png":
                import oxipng

                return len(oxipng.optimize_from_memory(_save(pixels, "PNG", icc_profile=profile), level=4))
            case "webp":
                return len(lossless_webp(pixels, profile))
            case "jxl":
                from imagecodecs import jpegxl_encode

                return len(jpegxl_encode(np.ascontiguousarray(pixels), lossless=True, effort=7))
            case _:
                raise ValueError(f"{name}: no such format; one of {', '.join(STILL_FORMATS)}")
    except ImportError as error:
        raise ConfigError(f"the size as {name} needs a package; pip install 'vflow-torch[eval]'") from error


def lossless_webp(pixels: np.ndarray, profile: bytes = b"") -> bytes:
    """``pixels``, uint8 (H, W, 3), as a lossless WebP file, with the ICC ``profile`` of their colours."""
    return _save(pixels, "WEBP", lossless=True, quality=80, method=6, icc_profile=profile)


def read_webp(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """Pixels, uint8 (H, W, 3), of a WebP file of the given height and width.

    Raises:
        InputError: it is none.
    """
    try:
        with Image.open(BytesIO(data), formats=["WEBP"]) as picture:
            if picture.size == (size[1], size[0]):
                return np.array(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"its WebP image cannot be read ({error})") from error
    raise InputError(f"its WebP image is {picture.size[0]}×{picture.size[1]}, not {size[1]}×{size[0]}")


def _save(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, kind, **options)
    return file.getvalue()
