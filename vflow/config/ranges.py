"""Ranges of settings that commands, the app and Python share, and their refusal. Imports no torch."""

from __future__ import annotations

import operator
import os
from typing import Any

from vflow.errors import ConfigError, counted

MAX_SEED = 2**63 - 1
"""Largest seed: those beyond do not fit the generators."""
MAX_SAMPLES, MAX_TEMPERATURE = 10_000, 2.0
MAX_FRAMES = 1000
"""Frames of a future."""
MIN_FPS, MAX_FPS = 0.01, 1000.0
"""Frames per second that every format of previews can hold."""


def max_threads() -> int:
    """Largest number of threads that torch may use: four times the processors."""
    return 4 * (os.cpu_count() or 1)


def check_whole(name: str, value: Any) -> None:
    """Refuse a setting that is no whole number; True and False are none.

    Raises:
        ConfigError: names it.
    """
    try:
        if isinstance(value, bool):
            raise TypeError("a bool counts nothing")
        operator.index(value)
    except TypeError as error:
        raise ConfigError(f"{name} must be a whole number, got {value!r}") from error


def check_range(name: str, value: float, low: float, high: float, *, whole: bool = False) -> None:
    """Refuse a setting outside its range, whose ends are allowed.

    Args:
        whole: it counts something.

    Raises:
        ConfigError: naming the range, or saying that the value is not a number.
    """
    if whole:
        check_whole(name, value)
    try:
        inside = low <= value <= high
    except TypeError as error:
        raise ConfigError(f"{name} must be a number, got {value!r}") from error
    if not inside:
        raise ConfigError(f"{name} must be between {low:g} and {high:.10g}, got {value:g}")


def check_seed(seed: int, name: str = "seed") -> None:
    """Refuse a seed out of range; ``name`` is what the message calls it.

    Raises:
        ConfigError: says the range.
    """
    check_whole(name, seed)
    if not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"{name} must be between 0 and 2^63 − 1, got {seed}")


def check_threads(count: int) -> None:
    """Refuse a number of threads below 1 or beyond four times the processors.

    Raises:
        ConfigError: says the range.
    """
    if not 1 <= count <= max_threads():
        raise ConfigError(f"--threads {count}: must be between 1 and {max_threads()} on this machine")


def temperature_per_level(
    temperature: float | tuple[float, ...] | list[float], count: int
) -> tuple[float, ...]:
    """One temperature for each of ``count`` levels.

    Raises:
        ConfigError: there are several temperatures, but not ``count``.
    """
    if not isinstance(temperature, tuple | list):
        return (float(temperature),) * count
    if len(temperature) != count:
        raise ConfigError(
            f"temperature has {counted(len(temperature), 'value')}, the model "
            f"{counted(count, 'level')}; give 1" + (f" or {count}" if count > 1 else "")
        )
    return tuple(map(float, temperature))
