"""The browser app; the only place that imports gradio."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def _no_stubs() -> Iterator[None]:
    """Keep gradio from writing type stubs beside its own sources, which takes a second of every start.

    It does so as it defines each component, except where the component has no file.
    """
    real = inspect.getfile

    def getfile(object: Any) -> str:
        if isinstance(object, type):
            raise OSError("no stubs")
        return real(object)

    inspect.getfile = getfile
    try:
        yield
    finally:
        inspect.getfile = real


with _no_stubs(), contextlib.suppress(ImportError):
    import gradio  # noqa: F401
