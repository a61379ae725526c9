"""Writing of media, each file whole or not at all."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vflow.disk import sync
from vflow.errors import InputError


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it takes the place of ``path`` when the block succeeds.

    The suffix is kept, since writers choose the format by it. Missing folders are made.

    Raises:
        InputError: the folder cannot be written; the message names the file and the cause.
    """
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); choose another place or free some space"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_png(path: str | Path, frame: np.ndarray) -> None:
    """Write one picture, uint8 (H, W, C) with C 1, 3 or 4 (opacity last), or (H, W), at its own pixels."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(image_bytes_png(frame))


def image_bytes_png(frame: np.ndarray) -> bytes:
    """PNG bytes of one picture, uint8 (H, W, C) with C 1, 3 or 4 (opacity last), or (H, W)."""
    buffer = io.BytesIO()
    Image.fromarray(frame[..., 0] if frame.ndim == 3 and frame.shape[-1] == 1 else frame).save(buffer, "PNG")
    return buffer.getvalue()


def write_npz(path: str | Path, /, **arrays: Any) -> None:
    """Write named arrays to a compressed npz; the same arrays give the same bytes."""
    path = Path(path)
    if path.suffix != ".npz":
        raise InputError(f"{path.name}: arrays go to a file named .npz")
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, **arrays)
