"""Errors that people meet: one line, naming the file and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

_LONGEST = 2_000
_NO_MEMORY = re.compile("out of memory|allocate memory|not enough memory|bad_alloc|ALLOC_FAILED")


class VflowError(Exception):
    """Base of every expected failure; ``exit_code`` is what the command line returns."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class InputError(VflowError):
    """A given file, folder or array cannot be used."""


class ConfigError(VflowError):
    """A setting is unknown, contradictory or out of range.

    Of one parameter the message begins with its name, then a colon, "must", "has" or "is"; in place of the
    name the command line puts the flag.
    """

    exit_code = 2


class CheckpointError(VflowError):
    """A checkpoint is missing, damaged, or does not belong to this model."""

    exit_code = 3


@contextmanager
def naming_memory(remedy: str) -> Iterator[None]:
    """Context in which an allocation that fails, on any device, becomes one line.

    Raises:
        InputError: out of memory, with the ``remedy``.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch has a type of its own for GPUs alone
        if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
            raise InputError(f"out of memory; {remedy}") from error
        raise


def require(module: str, what: str, extra: str) -> None:
    """Refuse to go on without an optional package.

    Raises:
        ConfigError: ``module`` is not installed; names the extra that brings it.
    """
    try:
        found = find_spec(module) is not None
    except ImportError:
        found = False
    if not found:
        remedy = f"install vflow-torch's extra '{extra}' (in its checkout: pip install -e '.[{extra}]')"
        raise ConfigError(f"{what} needs {module}, which is not installed; {remedy}")


def printable(text: str) -> str:
    """``text`` on one line, of at most 2,000 characters.

    Names of files may hold line breaks and codes that command a terminal; these come escaped, as in Python.
    """
    if len(text) > _LONGEST:
        half = _LONGEST // 2 - 2
        text = f"{text[:half]} … {text[-half:]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(number: int, noun: str) -> str:
    """The number with its noun, for messages: "1 frame", "2 frames"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
