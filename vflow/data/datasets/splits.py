"""Splits of a data set by hash of its examples' names."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from typing import Literal

from vflow.errors import printable

Split = Literal["train", "validation", "test"]
HELD_OUT = 0.05
_log = logging.getLogger(__name__)


def hash_fraction(name: str) -> float:
    """A number in [0, 1) that depends on ``name`` alone (the first 8 bytes of its SHA-256).

    Parts of one thing, whose names agree up to an "@", have the same number. A name that is not UTF-8 counts
    by its bytes.
    """
    thing = name.partition("@")[0]
    return int.from_bytes(hashlib.sha256(os.fsencode(thing)).digest()[:8], "big") / 2**64


def choose_split(
    names: Sequence[str], split: Split, source: str, held_out: int | None = None, noun: str = "file"
) -> list[str]:
    """The ``names`` of one split, in the given order; "test" is all of them.

    In small sets at least one name goes to each side: the one with the lowest hash is held out. A single
    name, of a ``noun``, serves both, and a warning says so as validation is opened. ``held_out`` names are
    held out where it is given, else 5%.
    """
    if split == "test":
        return list(names)
    if len(names) == 1:
        if split == "validation":  # and not twice
            _log.warning("%s: only one %s, so validation uses it too", printable(source), noun)
        return list(names)
    ranked = sorted(names, key=hash_fraction)
    share = sum(hash_fraction(name) < HELD_OUT for name in names)
    count = min(max(1, share if held_out is None else held_out), len(names) - 1)
    held = set(ranked[:count])
    return [name for name in names if (name in held) == (split == "validation")]
