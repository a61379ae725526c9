"""Values of pins: digests of pixels and weights, and figures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from scripts.pins.vflow_command import Ended

UNPINNED = ("command", "versions", "seconds", "per_s", "remarks")
"""Parts of names of figures that say where and how fast, or in prose."""


def array_sha(array: np.ndarray) -> str:
    """Digest of an array's shape, type and content."""
    digest = hashlib.sha256(f"{array.dtype.name} {array.shape} ".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def tensors_sha(path: Path) -> str:
    """Digest of the names, shapes, types and contents of a safetensors file."""
    from safetensors.numpy import load_file

    found = load_file(path)
    parts = [f"{name} {array_sha(found[name])}\n" for name in sorted(found)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def file_sha(path: Path) -> str:
    """Digest of what a file shows: pixels, arrays or weights where it has them, else its bytes."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            parts = [f"{name} {array_sha(arrays[name])}" for name in sorted(arrays.files)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    if path.suffix == ".png":
        from PIL import Image

        with Image.open(path) as image:
            return array_sha(np.asarray(image))
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def files_sha(folder: Path, pattern: str) -> str:
    """Digest of names and contents of the files of ``folder`` that a glob finds."""
    found = sorted(folder.glob(pattern))
    parts = [f"{path.relative_to(folder)} {file_sha(path)}\n" for path in found]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16] if found else "no file"


def flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Leaves of nested JSON, lists of values among them, by path; not ``UNPINNED`` ones, nor sentences."""
    if isinstance(value, dict):
        for key in sorted(value):
            if not any(part in key for part in UNPINNED):
                yield from flat(f"{prefix}/{key}", value[key])
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        for number, each in enumerate(value):
            yield from flat(f"{prefix}/{number}", each)
    elif not (isinstance(value, str) and " " in value):
        yield prefix, value


def figures(prefix: str, ended: Ended) -> Iterator[tuple[str, Any]]:
    """Figures of a command's JSON lines; its exit code where that is not 0."""
    if ended.code:
        yield f"{prefix}/exit", ended.code
        return
    lines = [json.loads(line) for line in ended.output.splitlines()]
    yield from flat(prefix, lines[0] if len(lines) == 1 else lines)
