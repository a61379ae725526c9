"""The browser app; the only place that imports gradio, for which it first makes a private folder."""

from __future__ import annotations

import contextlib
import inspect
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .ui.shared.storage import private_folder


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


# Some of gradio's modules read it as they are imported; its default is shared by all users.
os.environ["GRADIO_TEMP_DIR"] = str(
    private_folder(Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()))
)
with _no_stubs(), contextlib.suppress(ImportError):
    import gradio  # noqa: F401
