"""Checks of numbers that arrive from a form or an endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic.fields import FieldInfo

from vflow.config.settings import MAX_SERVED_SEED, Shown, bounds
from vflow.errors import InputError
from vflow.pipelines.common import Temperature

MAX_TEMPERATURE = 2
MAX_SEED = MAX_SERVED_SEED
LEVELS = "level_temperatures"
"""Name of a temperature per level, as text."""


def number_within(name: str, value: Any, low: float, high: float) -> float:
    """The number, if it lies in ``low``..``high``; programs may send anything in its place.

    Raises:
        InputError: it is missing, no number, or out of range; the message names it and the range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InputError(f"{name}: give a number from {low} to {high}")
    return float(value)


def whole_number(name: str, value: Any, low: int, high: int) -> int:
    """The whole number, if it lies in ``low``..``high``.

    Raises:
        InputError: it is missing, out of range or not whole.
    """
    number = number_within(name, value, low, high)
    if number != int(number):
        raise InputError(f"{name}: give a whole number from {low} to {high}")
    return int(number)


def seed_number(value: Any) -> int:
    """The seed; raises as ``whole_number``."""
    return whole_number("seed", value, 0, MAX_SEED)


def single_temperature(value: Any) -> float:
    """The temperature of all levels; raises as ``number_within``."""
    return number_within("temperature", value, 0, MAX_TEMPERATURE)


def temperature(single: Any, levels: str | None) -> Temperature:
    """The temperatures listed in ``levels``, fine to coarse; where there are none, ``single`` for all levels.

    Raises:
        InputError: one of them is not a number, or out of range.
    """
    return listed_temperatures(levels) or single_temperature(single)


def listed_temperatures(levels: str | None) -> tuple[float, ...]:
    """The temperatures listed in ``levels``, fine to coarse; raises as ``temperature``."""
    parts = [part for part in re.split(r"[,;\s]+", levels or "") if part]
    return tuple(
        number_within(f"temperature per level: '{part}'", _number(part), 0, MAX_TEMPERATURE) for part in parts
    )


def check_levels(temperature: Temperature, model: Any, name: str | None) -> None:
    """Refuse another number of temperatures than the model has levels.

    Raises:
        InputError: naming both.
    """
    if isinstance(temperature, tuple) and len(temperature) != (levels := len(model.latent_shapes)):
        raise InputError(f"temperature per level: {len(temperature)} given, {name} has {levels} levels")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def setting(name: str, field: FieldInfo, values: Mapping[str, Any]) -> Any:
    """The value of a task's setting among ``values``; what the page does not show has its own in the app.

    Raises:
        InputError: it is missing or out of range; the message names it and the range.
    """
    shown = Shown.of(field)
    if not shown.label and name not in values:
        return field.default if shown.served is None else shown.served
    value = values[name] if shown.form else values.get(name, field.default)
    if value is None and field.default is None:
        return None
    if shown.choices:
        return _chosen(name, value, [choice for _, choice in shown.choices])
    if name == "temperature":
        return temperature(value, values.get(LEVELS))
    if isinstance(field.default, tuple) and not isinstance(value, tuple):
        return tuple(part.strip() for part in re.split(r"[;\n]+", value or "") if part.strip())
    low, high = bounds(field)
    most = high if shown.most is None else shown.most
    if low is not None and most is not None:
        if field.annotation in (int, int | None):
            return whole_number(name, value, int(low), int(most))
        return number_within(name, value, low, most)
    return value


def _chosen(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """The choice that ``value`` spells."""
    for choice in choices:
        if value == choice or str(value or "").strip().lower() == str(choice):
            return choice
    raise InputError(f"{name}: give {', '.join(map(str, choices[:-1]))} or {choices[-1]}")
