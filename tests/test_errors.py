"""Messages on one line, whatever names they carry."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch

from vflow.errors import CheckpointError, InputError, naming_memory, printable


def on_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


@pytest.mark.parametrize("allocate", [lambda: np.empty(2**60, np.int8), lambda: torch.empty(2**52), on_a_gpu])
def test_allocations_that_fail_are_one_line(allocate: Callable[[], object]) -> None:
    with pytest.raises(InputError, match=r"^out of memory; take less$"), naming_memory("take less"):
        allocate()
    with pytest.raises(RuntimeError, match="another"), naming_memory("take less"):
        raise RuntimeError("another")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("übung – 日本.png", "übung – 日本.png"),
        ("a\nerror: b", "a\\nerror: b"),
        ("\x1b[2Ja\u202eb", "\\x1b[2Ja\\u202eb"),
        (os.fsdecode(b"caf\xe9"), "caf\\udce9"),
    ],
)
def test_controls_are_escaped(text: str, expected: str) -> None:
    assert printable(text) == str(InputError(text)) == expected
    assert printable(expected) == expected


def test_long_names_are_cut_in_the_middle() -> None:
    message = str(CheckpointError("x" * 480_000 + ": no such checkpoint; give a folder"))
    assert len(message) <= 2_000 and message.startswith("xxx") and message.endswith("give a folder")


def test_errors_pass_between_processes() -> None:
    error = pickle.loads(pickle.dumps(InputError("a\nb: damaged")))  # noqa: S301
    assert str(error) == "a\\nb: damaged" and error.exit_code == 1
