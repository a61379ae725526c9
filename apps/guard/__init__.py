"""Guard of the app: who may ask, for what, how much at once, and what a browser may do with the answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from starlette.types import ASGIApp

from .bodies import Bodies
from .doors import Doors
from .hosts import HostGuard


def guarded(app: ASGIApp, served: str, allowed: Sequence[str], files: Path) -> ASGIApp:
    """``app`` behind all guards, which see a request before anything of gradio's does.

    Args:
        app: what is guarded.
        served: address that the app listens on.
        allowed: further host names.
        files: folder of uploads and results.
    """
    return HostGuard(Doors(Bodies(app, files), files), served, allowed)
