"""Settings of a task: flags, forms, endpoints, records and help are made of them. Imports no torch."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from annotated_types import Ge, Le
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from vflow.config import models
from vflow.config.base import Config
from vflow.config.ranges import MAX_SAMPLES, MAX_SEED, temperature_per_level
from vflow.errors import ConfigError


def _whole(value: Any) -> Any:
    try:
        return value if isinstance(value, str | bool) else operator.index(value)
    except TypeError:
        return value


WholeNumber = Annotated[int, BeforeValidator(_whole), Field(strict=True)]
Samples = Annotated[WholeNumber, Field(ge=1, le=MAX_SAMPLES)]
"""Number of samples."""
Seed = Annotated[WholeNumber, Field(ge=0, le=MAX_SEED)]
Temperature = models.Temperatures
"""Scale of the noise: one number, or one per level, fine to coarse."""


@dataclass(frozen=True)
class Shown:
    """Face of a setting, beside its bounds, default and description.

    Attributes:
        label: on the page; without one it is in no form and no endpoint, where it has its default, or what is
            ``served``.
        info: a sentence below it. choices: (text, value) of buttons.
        most: the largest value that the app serves, where others have their turn.
        step: of its slider.
        metavar: its value in help. flag: its name where that is another, empty where all commands have it;
            False where none has.
        form: False where the page has it elsewhere.
        levels: name of a temperature's last level, where each may have its own on the page.
    """

    label: str = ""
    info: str | None = None
    choices: tuple[tuple[str, Any], ...] = ()
    most: float | None = None
    step: float = 1
    metavar: str = ""
    flag: bool | str = True
    form: bool = True
    levels: str = ""
    served: Any = None

    @classmethod
    def of(cls, field: FieldInfo) -> Shown:
        """Face of a field."""
        return next((part for part in field.metadata if isinstance(part, cls)), cls())


MAX_SERVED_SEED = 2**31 - 1
"""Largest seed in the app: a browser's numbers end before Python's."""
SEED = Shown("Seed", most=MAX_SERVED_SEED, flag="")
"""Face of a seed, which is a flag of all commands."""


class Settings(Config):
    """Settings of a task: each field has a default, bounds where it is a number, and a sentence below it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    @classmethod
    def of(cls, **given: Any) -> Self:
        """Settings that are given in Python, the others at their defaults.

        Raises:
            ConfigError: one is out of range or of another type; names it.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            raise ConfigError("; ".join(cls._told(fault) for fault in error.errors())) from error

    @classmethod
    def _told(cls, fault: Mapping[str, Any]) -> str:
        name, ends, got = str(fault["loc"][0]), fault.get("ctx", {}), fault["input"]
        got = f"{got:g}" if isinstance(got, float) else got
        low, high = bounds(cls.model_fields[name]) if name in cls.model_fields else (None, None)
        beyond = fault["type"] in ("greater_than_equal", "less_than_equal")
        if low is not None and high is not None and (beyond or fault["type"] == "finite_number"):
            return f"{name} must be between {low} and {high}, got {got}"
        if not beyond:
            return f"{name}: {fault['msg']}"
        least = f"at least {ends['ge']:g}" if "ge" in ends else f"at most {ends['le']:g}"
        return f"{name} must be {least}, got {got}"

    def levels(self, count: int) -> tuple[float, ...]:
        """One temperature for each of ``count`` levels.

        Raises:
            ConfigError: there are several temperatures, but not ``count``.
        """
        return temperature_per_level(getattr(self, "temperature", 1.0), count)


def description(field: FieldInfo) -> str:
    """Words on a field, in a line without its final stop."""
    return " ".join(str(field.description).split()).rstrip(".")


def bounds(field: FieldInfo) -> tuple[Any, Any]:
    """Least and largest value of a field that is a number; None where it has no such."""
    low = next((part.ge for part in field.metadata if isinstance(part, Ge)), None)
    return low, next((part.le for part in field.metadata if isinstance(part, Le)), None)
