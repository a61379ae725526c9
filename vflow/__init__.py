"""Samples many plausible futures of a short video with normalizing flows.

>>> import vflow
>>> model = vflow.load("shapes")                                                  # doctest: +SKIP
>>> futures = vflow.predict(model, frames, num_frames=10, num_samples=8, seed=0)  # doctest: +SKIP

Importing the package is cheap: torch is imported by the first function that needs it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vflow import flows as flows
    from vflow.checkpoint import load as load
    from vflow.hub import from_pretrained as from_pretrained
    from vflow.hub import push_to_hub as push_to_hub
    from vflow.models.distribution import distribution as distribution
    from vflow.pipelines.color.colorize import colorize as colorize
    from vflow.pipelines.compress import compress as compress
    from vflow.pipelines.compress import decompress as decompress
    from vflow.pipelines.density import sample as sample
    from vflow.pipelines.digits.digits import digits as digits
    from vflow.pipelines.nowcast import nowcast as nowcast
    from vflow.pipelines.upscale import upscale as upscale
    from vflow.pipelines.video.infer_actions import infer_actions as infer_actions
    from vflow.pipelines.video.predict import predict as predict
    from vflow.pipelines.video.score import score as score
    from vflow.pipelines.video.stats import load_clip_statistics as load_clip_statistics
    from vflow.pipelines.video.surprisal import surprisal as surprisal
    from vflow.pipelines.walk.directions import load_directions as load_directions
    from vflow.pipelines.walk.space import WalkSettings as WalkSettings
    from vflow.pipelines.walk.walk import walk as walk
    from vflow.tasks.colorize.settings import Hint as Hint
    from vflow.training.estimator import DensityEstimator as DensityEstimator

__version__ = "0.1.0"

_HOMES = {
    "compress": "vflow.pipelines.compress",
    "decompress": "vflow.pipelines.compress",
    "DensityEstimator": "vflow.training.estimator",
    "Hint": "vflow.tasks.colorize.settings",
    "colorize": "vflow.pipelines.color.colorize",
    "digits": "vflow.pipelines.digits.digits",
    "distribution": "vflow.models.distribution",
    "from_pretrained": "vflow.hub",
    "infer_actions": "vflow.pipelines.video.infer_actions",
    "load": "vflow.checkpoint",
    "nowcast": "vflow.pipelines.nowcast",
    "predict": "vflow.pipelines.video.predict",
    "push_to_hub": "vflow.hub",
    "sample": "vflow.pipelines.density",
    "score": "vflow.pipelines.video.score",
    "surprisal": "vflow.pipelines.video.surprisal",
    "upscale": "vflow.pipelines.upscale",
    "walk": "vflow.pipelines.walk.walk",
    "WalkSettings": "vflow.pipelines.walk.space",
    "load_directions": "vflow.pipelines.walk.directions",
    "load_clip_statistics": "vflow.pipelines.video.stats",
}


__all__ = sorted(["flows", *_HOMES])
if find_spec("sklearn") is None:  # 'help' and 'import *' ask for all
    __all__.remove("DensityEstimator")

if not TYPE_CHECKING:  # for whom any name would exist

    def __getattr__(name: str) -> Any:
        if name == "flows":
            return import_module("vflow.flows")
        if name in _HOMES:
            return getattr(import_module(_HOMES[name]), name)
        raise AttributeError(f"module 'vflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
