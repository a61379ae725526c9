"""Samples many plausible futures of a short video with normalizing flows.

>>> import vflow
>>> model = vflow.load("shapes")                                                  # doctest: +SKIP
>>> futures = vflow.predict(model, frames, num_frames=10, num_samples=8, seed=0)  # doctest: +SKIP

Importing the package is cheap: torch is imported by the first function that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vflow.checkpoint import load as load
    from vflow.pipelines.color.hints import Hint as Hint
    from vflow.pipelines.colorize import colorize as colorize
    from vflow.pipelines.digits import digits as digits
    from vflow.pipelines.directions import load_directions as load_directions
    from vflow.pipelines.predict import predict as predict
    from vflow.pipelines.score import score as score
    from vflow.pipelines.surprise import surprise as surprise
    from vflow.pipelines.typical import load_typical as load_typical
    from vflow.pipelines.walk import walk as walk
    from vflow.pipelines.walks.space import WalkSettings as WalkSettings

__version__ = "0.1.0"

_HOMES = {
    "Hint": "vflow.pipelines.color.hints",
    "colorize": "vflow.pipelines.colorize",
    "digits": "vflow.pipelines.digits",
    "load": "vflow.checkpoint",
    "predict": "vflow.pipelines.predict",
    "score": "vflow.pipelines.score",
    "surprise": "vflow.pipelines.surprise",
    "walk": "vflow.pipelines.walk",
    "WalkSettings": "vflow.pipelines.walks.space",
    "load_directions": "vflow.pipelines.directions",
    "load_typical": "vflow.pipelines.typical",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'vflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
