"""The nowcasting flow as a pysteps nowcast method.

After ``register()`` it is ``pysteps.nowcasts.get_method("vflow")`` (pysteps has no entry point for nowcast
methods, so its table of them gets an entry).
"""

from __future__ import annotations

import inspect
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
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
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Settings that pysteps' methods share.

    Attributes:
        precip_thr: in the units of precip; what is drawn below counts as dry. None: as ``metadata`` says.
        kmperpixel, timestep: of precip, to be checked; None: as the model has them.
        callback: called after the forecast, for each of its times, with its members (N, H, W).
        return_output: False returns None, for who has a callback.
        measure_time: True returns (members, seconds of loading, seconds of drawing).
    """

    precip_thr: float | None = None
    kmperpixel: float | None = None
    timestep: float | None = None
    callback: Callable[[np.ndarray], object] | None = None
    return_output: bool = True
    measure_time: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """The options ``given``, of which settings of STEPS' and LINDA's own parts are logged and left out.

        Raises:
            ConfigError: these do not have it either.
        """
        own = {field.name for field in fields(cls)}
        others = sorted(given.keys() - own)
        unknown = sorted(set(others) - _settings_of_peers()) if others else []
        if unknown:
            raise ConfigError(f"{', '.join(unknown)}: no setting of vflow's nowcasts; leave it out")
        if others:
            _log.warning("%s: without effect, a flow has no such part", ", ".join(others))
        return cls(**{name: given[name] for name in own & given.keys()})

    def check(self, minutes: float) -> None:
        """Raises ConfigError unless pixels and time steps are the model's."""
        for name, value, expected in (
            ("kmperpixel", self.kmperpixel, 1),
            ("timestep", self.timestep, minutes),
        ):
            if value is not None and value != expected:
                raise ConfigError(f"{name} is {value:g}; the model knows {expected:g} alone: resample precip")


def forecast(
    precip: np.ndarray,
    velocity: np.ndarray | None,
    timesteps: int | Sequence[int],
    n_ens_members: int = 20,
    *,
    metadata: Mapping[str, Any] = DECIBEL,
    checkpoint: str = "rain",
    temperature: float | None = None,
    seed: int | None = None,
    **options: Any,
) -> np.ndarray | tuple[np.ndarray, float, float] | None:
    """Ensemble nowcast in the units of ``precip``, called as pysteps' methods are.

    Args:
        precip: (n, H, W), newest last, n at least the model's context (4), the model's minutes apart (5). NaN
            where nothing is known.
        velocity: (2, H, W), (x, y) in pixels per time step, as pysteps' motion methods return it; None: vflow
            estimates it.
        timesteps: frames ahead, or which of them, as ascending whole numbers from 1.
        metadata: pysteps' description of ``precip``; read are ``transform`` (None or ``dB``), ``unit``
            (``mm/h``), ``threshold`` and ``zerovalue``.
        checkpoint: as ``vflow.load`` takes it.
        temperature: scale of the noise, 0..2; None: as the checkpoint suggests.
        seed: names the noise; None: another at each call.
        options: see ``Options``.

    Returns:
        (n_ens_members, timesteps, H, W), float32, NaN where one of the given frames has it; other things as
        ``Options`` has them.

    Raises:
        ConfigError: another unit, transform, grid or time step, parts of time steps, or an unknown option.
            InputError: too few frames, one that is NaN everywhere, or a velocity of another size.
    """
    asked, began = Options.of(options), time.perf_counter()
    ahead = _steps(timesteps)
    rate = _to_rate(np.asarray(precip, dtype=np.float64), metadata)
    if rate.ndim != 3:
        raise InputError(f"precip has shape {rate.shape}; give the last frames, (time, rows, columns)")
    if velocity is not None and np.shape(velocity) != (2, *rate.shape[1:]):
        raise InputError(
            f"velocity has shape {np.shape(velocity)}; give {(2, *rate.shape[1:])}, as the frames"
        )
    model = load(checkpoint)
    config = nowcast_config(model)
    asked.check(config.minutes)
    settings = PredictSettings.of(
        num_frames=ahead[-1],
        num_samples=n_ens_members,
        temperature=temperature_or_suggested(temperature, config),
        seed=secrets.randbits(31) if seed is None else seed,
    )
    loaded = time.perf_counter()
    sequence = RainSequence.of_rates(rate[-config.context :])
    ensemble = draw_ensemble(model, sequence.frames, settings, valid=sequence.valid, motion=_shrunk(velocity))
    threshold = {} if asked.precip_thr is None else {"threshold": asked.precip_thr}
    members = _from_rate(ensemble.rates[:, [step - 1 for step in ahead]], {**metadata, **threshold})
    if asked.callback is not None:
        for lead in range(len(ahead)):
            asked.callback(members[:, lead])
    if not asked.return_output:
        return None
    if asked.measure_time:
        return members, loaded - began, time.perf_counter() - loaded
    return members


def _settings_of_peers() -> set[str]:
    """Names of the settings of STEPS and LINDA; none without pysteps."""
    if find_spec("pysteps") is None:
        return set()
    from pysteps.nowcasts import linda, steps

    return {name for method in (steps, linda) for name in inspect.signature(method.forecast).parameters}


def _steps(timesteps: int | Sequence[int]) -> list[int]:
    """Frames ahead that are asked for, from 1.

    Raises:
        ConfigError: none, not ascending, or parts of a step.
    """
    asked = range(1, timesteps + 1) if isinstance(timesteps, int | np.integer) else timesteps
    steps = [int(step) for step in asked]
    if not steps or steps != list(asked) or steps != sorted(set(steps)) or steps[0] < 1:
        raise ConfigError(f"timesteps {timesteps}: give their number, or ascending whole numbers from 1")
    return steps


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
        return np.where(rate < metadata.get("threshold", 0.0), np.float32(0), rate)
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
