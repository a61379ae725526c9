"""pysteps' nowcast methods, set up as the figures that nowcasts are compared with (the extra ``rain``)."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vflow.data.rain import to_rate
from vflow.errors import ConfigError
from vflow.randomness import content_hash, generator

THRESHOLD, ZERO = 0.1, -15.0  # mm/h below which it is dry, and what dry is in dB
CASCADE_LEVELS = 6
KILOMETRES = 1.0

Method = Callable[[np.ndarray, int], np.ndarray]


def pysteps_methods(leads: int, members: int, minutes: float) -> dict[str, Method]:
    """Extrapolation, S-PROG and STEPS as (given grey levels (n, H, W), seed) → mm/h (N, T, H, W).

    Motion by Lucas–Kanade from all given frames; STEPS with 6 cascade levels, threshold −10 dBR,
    nonparametric noise and bps velocity perturbations, drawn anew for each case (a function of seed and given
    frames): members of all cases with the same perturbations would share their luck. What a method leaves
    unknown is NaN. ``minutes`` are those between frames.

    Raises:
        ConfigError: pysteps is not installed.
    """
    try:
        with _silence():
            from pysteps import motion, nowcasts
            from pysteps.utils import transformation
    except ImportError as error:
        raise ConfigError("pysteps is not installed; run pip install 'vflow-torch[rain]'") from error

    def prepared(given: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """mm/h, dB, motion."""
        rate = to_rate(given).astype(np.float64)
        metadata = {"transform": None, "unit": "mm/h", "accutime": minutes}
        metadata |= {"threshold": THRESHOLD, "zerovalue": 0}
        decibel, _ = transformation.dB_transform(rate, metadata=metadata, threshold=THRESHOLD, zerovalue=ZERO)
        return rate, decibel, motion.get_method("LK")(decibel)

    def back(decibel: np.ndarray) -> np.ndarray:
        rate = 10 ** (decibel / 10)
        rate[rate < THRESHOLD] = 0  # NaN stays
        return rate

    def extrapolation(given: np.ndarray, seed: int) -> np.ndarray:
        with _silence():
            rate, _, velocity = prepared(given)
            moved: np.ndarray = nowcasts.get_method("extrapolation")(rate[-1], velocity, leads)
        return moved[None]

    def cascade(name: str, given: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
        common = {"n_cascade_levels": CASCADE_LEVELS, "precip_thr": 10 * np.log10(THRESHOLD)}
        with _silence():
            _, decibel, velocity = prepared(given)
            made = nowcasts.get_method(name)(decibel[-3:], velocity, leads, **common, **settings)
        return back(made)

    def sprog(given: np.ndarray, seed: int) -> np.ndarray:
        return cascade("sprog", given, {})[None]

    def steps(given: np.ndarray, seed: int) -> np.ndarray:
        ensemble = {
            "n_ens_members": members, "kmperpixel": KILOMETRES, "timestep": minutes,
            "noise_method": "nonparametric", "vel_pert_method": "bps", "mask_method": "incremental",
            "seed": int(generator("steps", seed, content_hash(given)).integers(2**32)),
        }  # fmt: skip
        return cascade("steps", given, ensemble)

    return {"extrapolation": extrapolation, "sprog": sprog, "steps": steps}


@contextlib.contextmanager
def _silence():  # type: ignore[no-untyped-def]
    """pysteps prints its settings and warns about dry logarithms."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
