"""Registry of the acceptance measures: figures, thresholds and protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, wraps
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter


@dataclass(frozen=True)
class Figure:
    """One promised figure. Without a threshold it is only reported.

    ``of``: the value that it is, where a measure's value has another name.
    """

    what: str
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    aim: str = ""
    of: str = ""

    def met(self, value: float) -> bool:
        """True if ``value`` keeps the promise; NaN never does."""
        low = self.at_least is None or value >= self.at_least
        high = self.at_most is None or value <= self.at_most
        return value == value and low and high

    def threshold(self) -> str:
        """``≤ 0.06 (aim 0.037)``; empty if nothing is promised."""
        limits = [("≤", self.at_most), ("≥", self.at_least)]
        text = ", ".join(f"{sign} {limit:g}" for sign, limit in limits if limit is not None)
        return f"{text} (aim {self.aim})" if self.aim else text


@dataclass(frozen=True)
class Result:
    """Values by figure key, and a note on how they were obtained."""

    values: Mapping[str, Any]
    note: str = ""


@dataclass(frozen=True)
class Measure:
    """A function that measures one or more figures of a section."""

    section: str
    name: str
    protocol: str
    figures: Mapping[str, Figure]
    run: Callable[[], Result] = field(repr=False)

    @property
    def key(self) -> str:
        return f"{self.section}.{self.name}"


_TABLE = Path(__file__).with_name("figures.yaml").read_text(encoding="utf-8")
FIGURES = TypeAdapter(dict[str, dict[str, Figure]]).validate_python(yaml.safe_load(_TABLE))
"""Key of a measure → its figures."""
MEASURES: dict[str, Measure] = {}


class NotHere(Exception):
    """Data or a program that a measure needs is missing here; the message says how to provide it."""


def measure(
    section: str, name: str = "", protocol: str | None = None
) -> Callable[[Callable[[], Result]], Callable[[], Result]]:
    """Register a function in the given section; its figures are those of figures.yaml, its result is cached.

    Name and protocol are the function's name and docstring where none are given.
    """

    def register(run: Callable[[], Result]) -> Callable[[], Result]:
        text = " ".join((protocol or run.__doc__ or "").split())
        key = f"{section}.{name or run.__name__}"
        names = {own: figure.of or own for own, figure in FIGURES[key].items()}

        @cache
        @wraps(run)
        def once() -> Result:
            found = run()
            known = {own: found.values[other] for own, other in names.items() if other in found.values}
            return Result(known, found.note)

        MEASURES[key] = Measure(section, key.partition(".")[2], text, FIGURES[key], once)
        return once

    return register


def select(wanted: list[str]) -> list[Measure]:
    """Measures in ``wanted``, by section (``A``) or name (``A.shapes_bits``), or all if it is empty.

    Raises:
        KeyError: a name in ``wanted`` matches nothing.
    """
    for name in wanted:
        if not any(name in (m.key, m.section) for m in MEASURES.values()):
            raise KeyError(f"{name}: no such section or measure; available: {', '.join(MEASURES)}")
    return [m for m in MEASURES.values() if not wanted or m.key in wanted or m.section in wanted]
