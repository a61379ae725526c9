"""Noise is data: standard-normal arrays that are functions of a key, never of a generator's state."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

_FORKED = threading.RLock()
Key = int | str | bytes | np.integer[Any]


def generator(*key: Key) -> np.random.Generator:
    """Counter-based generator (Philox) named by ``key``; the same key gives the same numbers anywhere."""
    plain = tuple(int(k) if isinstance(k, np.integer) else k for k in key)  # repr tells the two apart
    digest = hashlib.sha256(repr(plain).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def normal(shape: Sequence[int], *key: Key) -> torch.Tensor:
    """Standard-normal float32 tensor of ``shape``, a function of ``key`` alone."""
    import torch

    return torch.from_numpy(generator(*key).standard_normal(tuple(shape), dtype=np.float32))


@contextmanager
def forked_rng(seed: int | None = None) -> Iterator[None]:
    """Context where torch's global generator, which draws initial weights, starts from ``seed``, if given.

    Afterwards the generator is as it was. The whole process shares it, so one thread at a time may enter.
    """
    import torch

    with _FORKED, torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        yield


def content_hash(array: np.ndarray) -> str:
    """SHA-256 of an array's shape, type and bytes: names an item's noise, wherever its file lies."""
    array = np.ascontiguousarray(array)
    return hashlib.sha256(f"{array.shape}{array.dtype}".encode() + array.tobytes()).hexdigest()
