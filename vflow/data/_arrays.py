"""Frames in NumPy arrays and files (npz, npy): shape and type read from the header before any value."""

from __future__ import annotations

import zlib
from pathlib import Path
from tokenize import TokenError
from typing import IO
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.lib import format as npy

from vflow.data._clip import Limits
from vflow.data._kinds import Kind
from vflow.errors import InputError

_SHAPES = "give T×H×W×3, T×H×W×1 or T×H×W"
# What NumPy and zipfile raise on damaged bytes; NumPy reads headers with Python's own tokenizer.
_DAMAGED = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    SyntaxError,
    RuntimeError,
    BadZipFile,
    TokenError,
    zlib.error,
)


def read(path: Path, kind: Kind, limits: Limits) -> tuple[np.ndarray, float | None]:
    """Frames, uint8 (T, H, W, 3), and their rate (an optional scalar ``fps`` in an npz).

    Of an npz the array ``frames`` is taken, or the only one in it.

    Raises:
        InputError: damaged, pickled, of a wrong shape or type, non-finite, or beyond ``limits``.
    """
    try:
        if kind.name == "NPY":
            with path.open("rb") as file:
                _check_header(path.name, file, limits)
            return as_frames(np.load(path, allow_pickle=False), path.name), None
        with ZipFile(path) as archive:
            key = _key(path.name, archive.namelist())
            for member in {key, "fps"} & {n.removesuffix(".npy") for n in archive.namelist()}:
                with archive.open(f"{member}.npy") as entry:
                    _check_header(path.name, entry, limits)
        with np.load(path, allow_pickle=False) as arrays:
            fps = float(arrays["fps"]) if "fps" in arrays.files and arrays["fps"].size == 1 else None
            return as_frames(arrays[key], path.name), fps if fps and np.isfinite(fps) and fps > 0 else None
    except _DAMAGED as error:
        raise InputError(f"{path.name}: not a readable {kind.name}; write it with numpy.savez") from error


def _key(name: str, members: list[str]) -> str:
    keys = [m.removesuffix(".npy") for m in members if m.endswith(".npy")]
    arrays = [k for k in keys if k != "fps"]
    if "frames" in keys:
        return "frames"
    if len(arrays) == 1:
        return arrays[0]
    if not arrays:
        raise InputError(f"{name}: holds no array; write it with numpy.savez(file, frames=frames)")
    raise InputError(f"{name}: holds {', '.join(arrays[:8])} but no array 'frames'; name one so")


def _check_header(name: str, file: IO[bytes], limits: Limits) -> None:
    """Hold the limits against the shape and type that an array announces."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    read_header = readers.get(npy.read_magic(file))
    if read_header is None:
        raise InputError(f"{name}: an unknown version of NumPy's format; write it with numpy.savez")
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise InputError(f"{name}: holds Python objects; save a plain number array")
    if shape and len(shape) >= 3:
        limits.check_frames(name, shape[0])
    limits.check_memory(name, int(np.prod([int(s) for s in shape], dtype=object)) * dtype.itemsize)


def as_frames(array: np.ndarray, source: str = "frames") -> np.ndarray:
    """Check an array of frames and bring it to uint8 (T, H, W, 3).

    Args:
        array: (T, H, W, C) or (T, H, W), or one picture (H, W, C) with C 1 or 3; whole numbers in 0..255, or
            floats in 0..1.
        source: name for messages.

    Raises:
        InputError: another shape or type, values out of range, NaN or infinite.
    """
    if array.ndim == 3:
        array = array[None] if array.shape[-1] in (1, 3) else array[..., None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or array.size == 0:
        shape = "×".join(map(str, array.shape)) or "()"
        raise InputError(f"{source}: an array of shape {shape} is not frames; {_SHAPES}")
    values = _to_uint8(array, source)
    return np.ascontiguousarray(np.repeat(values, 3, axis=-1) if values.shape[-1] == 1 else values)


def _to_uint8(array: np.ndarray, source: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if not np.issubdtype(array.dtype, np.floating) and not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"{source}: values of type {array.dtype}; give uint8 in 0..255 or floats in 0..1")
    if np.issubdtype(array.dtype, np.integer):
        if array.min() < 0 or array.max() > 255:
            raise InputError(f"{source}: whole numbers from {array.min()} to {array.max()}; give 0..255")
        return array.astype(np.uint8)
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        total = f"{array.size:,}"
        raise InputError(f"{source}: {bad:,} of {total} values are NaN or infinite; give numbers in 0..1")
    if array.min() < 0 or array.max() > 1:
        span = f"{array.min():.4g} to {array.max():.4g}"
        raise InputError(f"{source}: floats from {span}; give 0..1, or uint8 in 0..255")
    return np.rint(array.astype(np.float64) * 255).astype(np.uint8)
