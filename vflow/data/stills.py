"""Sizes of pictures in lossless formats: what a codec of one's own is measured against."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from vflow.errors import ConfigError

STILL_FORMATS = {
    "png": "oxipng, level 4",
    "webp": "libwebp, lossless, method 6, quality 80",
    "jxl": "libjxl, lossless, effort 7",
}
"""Format → the encoder and its settings."""


def still_bytes(pixels: np.ndarray, name: str) -> int:
    """Bytes of ``pixels``, uint8 (H, W, 3), in one of ``STILL_FORMATS``, headers included.

    Raises:
        ConfigError: the encoder's package is missing.
    """
    try:
        match name:
            case "png":
                import oxipng

                return len(oxipng.optimize_from_memory(_save(pixels, "PNG"), level=4))
            case "webp":
                return len(_save(pixels, "WEBP", lossless=True, quality=80, method=6))
            case "jxl":
                from imagecodecs import jpegxl_encode

                return len(jpegxl_encode(np.ascontiguousarray(pixels), lossless=True, effort=7))
            case _:
                raise ValueError(f"{name}: no such format; one of {', '.join(STILL_FORMATS)}")
    except ImportError as error:
        raise ConfigError(f"the size as {name} needs a package; pip install 'vflow-torch[eval]'") from error


def _save(pixels: np.ndarray, kind: str, **options: int) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()
