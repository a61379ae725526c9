"""Measures of quality: likelihood, fidelity, plausibility and diversity.

Names are imported with the first use of them, since some need OpenCV or the data sets. Others stay in their
modules: ``color`` and ``shapes`` both have a ``judge``, and ``frechet.frechet`` is called like its module.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vflow.metrics.calibration import calibration_error as calibration_error
    from vflow.metrics.calibration import mmd as mmd
    from vflow.metrics.color import colorfulness as colorfulness
    from vflow.metrics.color import flicker as flicker
    from vflow.metrics.color import mean_color_variance as mean_color_variance
    from vflow.metrics.digits import DigitClassifier as DigitClassifier
    from vflow.metrics.digits import train_classifier as train_classifier
    from vflow.metrics.ensemble import Contingency as Contingency
    from vflow.metrics.ensemble import Reliability as Reliability
    from vflow.metrics.ensemble import crps as crps
    from vflow.metrics.ensemble import fss as fss
    from vflow.metrics.ensemble import power_spectrum as power_spectrum
    from vflow.metrics.ensemble import rank_histogram as rank_histogram
    from vflow.metrics.latents import LatentShare as LatentShare
    from vflow.metrics.latents import latent_share as latent_share
    from vflow.metrics.probe import ProbeSettings as ProbeSettings
    from vflow.metrics.probe import probe_accuracy as probe_accuracy
    from vflow.metrics.super_resolution import gradient_similarity as gradient_similarity
    from vflow.metrics.video import Baselines as Baselines
    from vflow.metrics.video import best_of as best_of
    from vflow.metrics.video import psnr as psnr
    from vflow.metrics.video import ssim as ssim

_NAMES = {
    "calibration": ("calibration_error", "mmd"),
    "color": ("colorfulness", "flicker", "mean_color_variance"),
    "digits": ("DigitClassifier", "train_classifier"),
    "ensemble": ("Contingency", "Reliability", "crps", "fss", "power_spectrum", "rank_histogram"),
    "latents": ("LatentShare", "latent_share"),
    "probe": ("ProbeSettings", "probe_accuracy"),
    "super_resolution": ("gradient_similarity",),
    "video": ("Baselines", "best_of", "psnr", "ssim"),
}
_HOMES = {name: f"vflow.metrics.{module}" for module, names in _NAMES.items() for name in names}


if not TYPE_CHECKING:  # for whom any name would exist

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            return getattr(import_module(_HOMES[name]), name)
        raise AttributeError(f"module 'vflow.metrics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
