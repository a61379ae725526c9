"""Frames in NumPy arrays and files (npz, npy): shape and type read from the header before any value."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import IO
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.lib import format as npy

from vflow.data.media.clip import MAX_RATE
from vflow.data.media.limits import Limits
from vflow.data.media.sniff import Kind
from vflow.errors import InputError

_SHAPES = "give T×H×W×3, T×H×W×1 or T×H×W"
_RATE = f"fps must be one number above 0 and up to {MAX_RATE:g}; store another, or leave it out"
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


def read(
    path: Path, kind: Kind, limits: Limits, max_frames: int | None = None
) -> tuple[np.ndarray, float | None]:
    """Frames, uint8 (T, H, W, 3), and their rate (an optional scalar ``fps`` in an npz).

    Of an npz the array ``frames`` is taken, or the only one in it. The first ``max_frames`` alone are looked
    at and converted.

    Raises:
        InputError: damaged, pickled, of a wrong shape or type, non-finite, without a sensible rate, or beyond
            ``limits``.
    """
    try:
        if kind.name == "NPY":
            with path.open("rb") as file:
                _check_frames(path.name, file, limits, max_frames)
            return _first(np.load(path, allow_pickle=False), path.name, max_frames), None
        with ZipFile(path) as archive:
            members = archive.namelist()
            key = f"{_key(path.name, members)}.npy"  # whole names: NumPy takes an entry "frames" for it, too
            with archive.open(key) as entry:
                count = _check_frames(path.name, entry, limits, max_frames)
            if "fps.npy" in members:
                with archive.open("fps.npy") as entry:
                    _check_rate(path.name, entry)
        with np.load(path, allow_pickle=False) as arrays:
            fps = _rate(path.name, arrays["fps.npy"], count, limits) if "fps.npy" in members else None
            return _first(arrays[key], path.name, max_frames), fps
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


def _header(name: str, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first (Fortran's order), and type that an array announces."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    read_header = readers.get(npy.read_magic(file))
    if read_header is None:
        raise InputError(f"{name}: an unknown version of NumPy's format; write it with numpy.savez")
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise InputError(f"{name}: holds Python objects; save a plain number array")
    return shape, fortran, dtype


def _check_frames(name: str, file: IO[bytes], limits: Limits, max_frames: int | None) -> int:
    """Hold the limits against what an array of frames announces; how many of them are wanted."""
    shape, fortran, dtype = _header(name, file)
    count, height, width, channels = _layout(shape, name)
    wanted = count if max_frames is None else min(count, max_frames)
    limits.check_frames(name, wanted)
    stored = count * height * width * channels * dtype.itemsize
    as_it_is = dtype == np.uint8 and channels == 3 and not fortran
    limits.check_memory(name, stored if as_it_is else stored + 3 * wanted * height * width)
    return wanted


def _check_rate(name: str, file: IO[bytes]) -> None:
    shape, _, dtype = _header(name, file)
    if math.prod(shape) != 1 or dtype.kind not in "iuf":
        raise InputError(f"{name}: {_RATE}")


def _rate(name: str, fps: np.ndarray, count: int, limits: Limits) -> float:
    """The rate of ``count`` frames; a clip that it stretches beyond the limit is refused."""
    rate = float(fps.item())
    if not 0 < rate <= MAX_RATE:
        raise InputError(f"{name}: {_RATE}")
    least = math.ceil((count - 1) / limits.seconds)
    other = f"store an fps of {least} or more (of a time-lapse the one it is played at), or leave fps out"
    limits.check_seconds(name, (count - 1) / rate, f"trim it, or {other}")
    return rate


def as_frames(array: np.ndarray, source: str = "frames") -> np.ndarray:
    """Check an array of frames and bring it to uint8 (T, H, W, 3).

    Args:
        array: (T, H, W, C) or (T, H, W), or one picture (H, W, C) with C 1 or 3; whole numbers in 0..255, or
            floats in 0..1.
        source: name for messages.

    Raises:
        InputError: another shape or type, values out of range, NaN or infinite.
    """
    return _first(array, source, None)


def _first(array: np.ndarray, source: str, max_frames: int | None) -> np.ndarray:
    """As ``as_frames``, of the first ``max_frames``; beside its result it takes hardly any memory."""
    array = array.reshape(_layout(array.shape, source))[:max_frames]
    _check_values(array, source)
    if array.dtype == np.uint8 and array.shape[-1] == 3:
        return np.ascontiguousarray(array)
    frames = np.empty((*array.shape[:3], 3), np.uint8)
    if np.issubdtype(array.dtype, np.floating):
        _scale(array, frames)
    else:
        np.copyto(frames, array, casting="unsafe")
        if array.dtype == np.bool_:
            frames *= 255
    return frames


def _layout(shape: tuple[int, ...], source: str) -> tuple[int, int, int, int]:
    """T, H, W and C of an array of this shape."""
    full = shape
    if len(shape) == 3:
        full = (1, *shape) if shape[-1] in (1, 3) else (*shape, 1)
    if len(full) != 4 or full[-1] not in (1, 3) or min(full) < 1:
        given = "×".join(map(str, full)) or "()"
        raise InputError(f"{source}: an array of shape {given} is not frames; {_SHAPES}")
    return full[0], full[1], full[2], full[3]


def _check_values(array: np.ndarray, source: str) -> None:
    if array.dtype in (np.uint8, np.bool_):
        return
    if not np.issubdtype(array.dtype, np.floating) and not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"{source}: values of type {array.dtype}; give uint8 in 0..255 or floats in 0..1")
    low, high = array.min(), array.max()
    if np.issubdtype(array.dtype, np.integer):
        if low < 0 or high > 255:
            raise InputError(f"{source}: whole numbers from {low} to {high}; give 0..255")
    elif not (np.isfinite(low) and np.isfinite(high)):
        bad = array.size - int(np.count_nonzero(np.isfinite(array)))
        total = f"{array.size:,}"
        raise InputError(f"{source}: {bad:,} of {total} values are NaN or infinite; give numbers in 0..1")
    elif low < 0 or high > 1:
        raise InputError(f"{source}: floats from {low:.4g} to {high:.4g}; give 0..1, or uint8 in 0..255")


def _scale(array: np.ndarray, frames: np.ndarray) -> None:
    """Fill ``frames`` with 255 times the floats in ``array``, rounded, some thousands at a time.

    At once it would take a float64 per value, up to eight times what either array does.
    """
    pieces = np.nditer(
        [array, frames],
        ["external_loop", "buffered"],
        [["readonly"], ["writeonly"]],
        op_dtypes=[np.float64, np.uint8],
        casting="same_kind",
    )
    with pieces:
        for values, levels in pieces:
            levels[...] = np.rint(255 * values)
