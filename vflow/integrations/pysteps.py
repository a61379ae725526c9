"""The nowcasting flow as a pysteps nowcast method.

After ``register()`` it is ``pysteps.nowcasts.get_method("vflow")`` (pysteps has no entry point for nowcast
methods, so its table of them gets an entry).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from vflow.checkpoint import load
from vflow.data.motion import SHRINK
from vflow.data.rain import RainSequence
from vflow.errors import ConfigError, InputError
from vflow.pipelines.common import temperature_or_suggested
from vflow.pipelines.nowcast import draw_ensemble, nowcast_config
from vflow.tasks.video.settings import PredictSettings

DRY = -15.0  # of pixels in decibels, where metadata does not say
DECIBEL = {"transform": "dB", "unit": "mm/h", "zerovalue": DRY}
"""Unit of precip: 10 · log10 of mm/h, dry pixels at −15."""


def forecast(
    precip: np.ndarray,
    velocity: np.ndarray | None,
    timesteps: int,
    n_ens_members: int = 20,
    *,
    metadata: Mapping[str, Any] = DECIBEL,
    checkpoint: str = "rain",
    temperature: float | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Ensemble nowcast in the units of ``precip``.

    Args:
        precip: (n, H, W), newest last, n at least the model's context (4), the model's minutes apart (5). NaN
            where nothing is known.
        velocity: (2, H, W), (x, y) in pixels per time step, as pysteps' motion methods return it; None: vflow
            estimates it.
        timesteps: frames ahead.
        metadata: pysteps' description of ``precip``; read are ``transform`` (None or ``dB``), ``unit``
            (``mm/h``), ``threshold`` and ``zerovalue``.
        checkpoint: as ``vflow.load`` takes it.
        temperature: scale of the noise, 0..2; None: as the checkpoint suggests.

    Returns:
        (n_ens_members, timesteps, H, W), float32, NaN where one of the given frames has it.

    Raises:
        ConfigError: another unit or transform, or a list of time steps. InputError: too few frames, one
            that is NaN everywhere, or a velocity of another size.
    """
    if not isinstance(timesteps, int | np.integer):
        raise ConfigError(f"timesteps {timesteps}: give their number; vflow draws whole steps")
    rate = _to_rate(np.asarray(precip, dtype=np.float64), metadata)
    if rate.ndim != 3:
        raise InputError(f"precip has shape {rate.shape}; give the last frames, (time, rows, columns)")
    if velocity is not None and np.shape(velocity) != (2, *rate.shape[1:]):
        raise InputError(
            f"velocity has shape {np.shape(velocity)}; give {(2, *rate.shape[1:])}, as the frames"
        )
    model = load(checkpoint)
    config = nowcast_config(model)
    settings = PredictSettings.of(
        num_frames=int(timesteps),
        num_samples=n_ens_members,
        temperature=temperature_or_suggested(temperature, config),
        seed=seed,
    )
    sequence = RainSequence.of_rates(rate[-config.context :])
    ensemble = draw_ensemble(model, sequence.frames, settings, valid=sequence.valid, motion=_shrunk(velocity))
    return _from_rate(ensemble.rates, metadata)


def register(name: str = "vflow") -> None:
    """Make ``forecast`` known to ``pysteps.nowcasts.get_method`` under ``name``."""
    from pysteps.nowcasts import interface

    interface._nowcast_methods[name] = forecast


def _to_rate(precip: np.ndarray, metadata: Mapping[str, Any]) -> np.ndarray:
    """mm/h, 0 where dry."""
    _check(metadata)
    if metadata.get("transform") is None:
        return precip
    dry = precip <= metadata.get("zerovalue", DRY)
    rate: np.ndarray = np.where(dry, 0.0, 10 ** (precip / 10))
    return rate


def _from_rate(rate: np.ndarray, metadata: Mapping[str, Any]) -> np.ndarray:
    if metadata.get("transform") is None:
        return rate
    threshold = float(metadata.get("threshold", -10.0))
    with np.errstate(divide="ignore"):
        decibel = 10 * np.log10(rate)
    dry = decibel < threshold  # NaN stays
    result: np.ndarray = np.where(dry, metadata.get("zerovalue", DRY), decibel).astype(np.float32)
    return result


def _check(metadata: Mapping[str, Any]) -> None:
    if metadata.get("unit", "mm/h") != "mm/h":
        raise ConfigError(f"precip in {metadata['unit']}: convert it, pysteps.utils.conversion.to_rainrate")
    if metadata.get("transform") not in (None, "dB"):
        raise ConfigError(f"precip with transform {metadata['transform']}: use dB, or mm/h without one")


def _shrunk(velocity: np.ndarray | None) -> np.ndarray | None:
    """The motion field at a quarter of its resolution, in pixels of the frames."""
    if velocity is None:
        return None
    height, width = (-(-side // SHRINK) for side in velocity.shape[1:])
    field = np.nan_to_num(velocity.astype(np.float32))
    return np.stack([cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA) for plane in field])
