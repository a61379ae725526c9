"""Frames in NumPy arrays and files (npz, npy): shape and type read from the header before any value."""

from __future__ import annotations

import lzma
import math
import os
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tokenize import TokenError
from typing import IO
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.lib import format as npy

from vflow.data.media.clip import MAX_RATE, Clip, Loss
from vflow.data.media.limits import DEFAULT_LIMITS, Budget, Limits
from vflow.data.media.sniff import Kind, admit
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
    MemoryError,
    BadZipFile,
    TokenError,
    zlib.error,
    lzma.LZMAError,
)
_END_LENGTH = 65_557  # bytes in which a zip's end record lies, with the longest comment
_MEMBER_LENGTH = 46  # bytes that a member takes in a zip's directory, at least


def read(path: Path, kind: Kind, budget: Budget, max_frames: int | None = None) -> Clip:
    """Frames and rate (an optional scalar ``fps`` in an npz).

    Of an npz the array ``frames`` is taken, or the only one in it; of what ``vflow predict`` wrote the array
    ``context``, which gives the same futures again. The first ``max_frames`` alone are looked
    at and converted.

    Raises:
        InputError: damaged, pickled, of a wrong shape or type, non-finite, without a sensible rate, or beyond
            the limits of ``budget``.
    """
    try:
        with path.open("rb") as file:
            if kind.name == "NPY":
                return _read_frames(path.name, file, budget, max_frames)
            _check_directory(path.name, file, budget.limits)
            with ZipFile(file) as archive:
                members = archive.namelist()
                with archive.open(_member(path.name, archive)) as entry:
                    clip = _read_frames(path.name, entry, budget, max_frames)
                if "fps.npy" not in members:
                    return clip
                with archive.open("fps.npy") as entry:
                    return replace(clip, fps=_read_rate(path.name, entry, len(clip.frames), budget.limits))
    except _DAMAGED as error:
        raise InputError(f"{path.name}: not a readable {kind.name}; write it with numpy.savez") from error


def read_members(path: Path, names: Sequence[str], limits: Limits = DEFAULT_LIMITS) -> dict[str, np.ndarray]:
    """Arrays of an npz by name, as they are stored; those that it has not are left out.

    Of what ``vflow predict`` wrote ``frames`` are those that it drew from, as in ``read``.

    Raises:
        InputError: no npz, damaged, pickled, or beyond ``limits``.
    """
    if admit(path, limits).name != "NPZ":
        raise InputError(f"{path.name}: not an npz; write it with numpy.savez")
    try:
        with path.open("rb") as file:
            _check_directory(path.name, file, limits)
            with ZipFile(file) as archive:
                found = [name for name in names if f"{name}.npy" in archive.namelist()]
                return {name: _read_member(path.name, archive, name, limits) for name in found}
    except _DAMAGED as error:
        raise InputError(f"{path.name}: not a readable npz; write it with numpy.savez") from error


def _read_member(name: str, archive: ZipFile, member: str, limits: Limits) -> np.ndarray:
    with archive.open(_frames(name, archive) if member == "frames" else f"{member}.npy") as entry:
        shape, _, dtype = _header(name if member == "frames" else f"{name}: {member}", entry)
        limits.check_memory(name, math.prod(shape) * dtype.itemsize)
        entry.seek(0)
        array: np.ndarray = npy.read_array(entry, allow_pickle=False)
        return array


def _check_directory(name: str, file: IO[bytes], limits: Limits) -> None:
    """Refuse an archive of too many members before ``zipfile`` reads its whole directory."""
    start = max(0, file.seek(0, os.SEEK_END) - _END_LENGTH)
    file.seek(start)
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0:
        raise BadZipFile
    size = int.from_bytes(tail[end + 12 : end + 16], "little")
    if tail[end - 76 : end - 72] == b"PK\x06\x06":  # the directory's size in 64 bits
        size = int.from_bytes(tail[end - 36 : end - 28], "little")
    limits.check_parts(name, size // _MEMBER_LENGTH)


def _member(name: str, archive: ZipFile) -> str:
    """Member of an archive that holds the frames."""
    keys = [m.removesuffix(".npy") for m in archive.namelist() if m.endswith(".npy")]
    arrays = [k for k in keys if k != "fps"]
    if "frames" in keys:
        return _frames(name, archive)
    if len(arrays) == 1:
        return f"{arrays[0]}.npy"
    if not arrays:
        raise InputError(f"{name}: holds no array; write it with numpy.savez(file, frames=frames)")
    raise InputError(f"{name}: holds {', '.join(arrays[:8])} but no array 'frames'; rename one")


def _frames(name: str, archive: ZipFile) -> str:
    """Member ``frames``, or of futures (N, T, H, W, C) their ``context``."""
    with archive.open("frames.npy") as entry:
        several = len(_header(name, entry)[0]) == 5
    return "context.npy" if several and "context.npy" in archive.namelist() else "frames.npy"


def _header(name: str, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran's order (columns first) or not, and type in an array's header."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    read_header = readers.get(npy.read_magic(file))
    if read_header is None:
        raise InputError(f"{name}: an unknown version of NumPy's format; write it with numpy.savez")
    shape, fortran, dtype = read_header(file)
    if any(type(length) is not int for length in shape):  # True passes for a 1
        raise InputError(f"{name}: a damaged shape in its header; write it with numpy.savez")
    if dtype.hasobject:
        raise InputError(f"{name}: holds Python objects; save a plain number array")
    return shape, fortran, dtype


def _read_frames(name: str, file: IO[bytes], budget: Budget, max_frames: int | None) -> Clip:
    """The first ``max_frames`` of an array, without a rate.

    Its header is checked before its values.
    """
    shape, fortran, dtype = _header(name, file)
    count, height, width, channels = _layout(shape, name)
    wanted = count if max_frames is None else min(count, max_frames)
    budget.limits.check_frames(name, wanted)
    stored = count * height * width * channels * dtype.itemsize
    unconverted = dtype == np.uint8 and channels == 3 and not fortran
    taken = stored if unconverted else stored + 3 * wanted * height * width
    budget.limits.check_memory(name, taken)
    budget.limits.check_size(name, width, height)
    budget.take_memory(taken)
    file.seek(0)
    frames = _first(npy.read_array(file, allow_pickle=False), name, max_frames)
    rounded = Loss(f"{dtype} values rounded to 8 bits", "store them as uint8")
    losses = (rounded,) if dtype.kind == "f" else ()
    return Clip(frames, None, name, grey=channels == 1, losses=losses)


def _read_rate(name: str, file: IO[bytes], count: int, limits: Limits) -> float:
    """Rate of ``count`` frames; one that stretches them beyond the limit is refused."""
    shape, _, dtype = _header(name, file)
    if math.prod(shape) != 1 or dtype.kind not in "iuf":
        raise InputError(f"{name}: {_RATE}")
    file.seek(0)
    rate = float(npy.read_array(file, allow_pickle=False).item())
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
    if array.dtype.kind == "f":
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
    if array.dtype.kind not in "iuf":
        raise InputError(f"{source}: values of type {array.dtype}; give uint8 in 0..255 or floats in 0..1")
    low, high = array.min(), array.max()
    if array.dtype.kind in "iu":
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
