"""Registry of the acceptance measures: figures, thresholds and protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache


@dataclass(frozen=True)
class Figure:
    """One promised figure. Without a threshold it is only reported."""

    what: str
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    aim: str = ""

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

    values: Mapping[str, float]
    note: str = ""


@dataclass(frozen=True)
class Measure:
    """A function that measures one or more figures of a section."""

    section: str
    name: str
    protocol: str
    figures: dict[str, Figure]
    run: Callable[[], Result] = field(repr=False)

    @property
    def key(self) -> str:
        return f"{self.section}.{self.name}"


MEASURES: dict[str, Measure] = {}


class NotHere(Exception):
    """Data or a program that a measure needs is missing here; the message says how to provide it."""


def measure(section: str, **figures: Figure) -> Callable[[Callable[[], Result]], Callable[[], Result]]:
    """Register a function in the given section; its docstring is its protocol. Its result is cached."""

    def register(run: Callable[[], Result]) -> Callable[[], Result]:
        protocol, once = " ".join((run.__doc__ or "").split()), cache(run)
        entry = Measure(section, run.__name__, protocol, figures, once)
        MEASURES[entry.key] = entry
        return once

    return register


def select(wanted: list[str]) -> list[Measure]:
    """Measures in ``wanted``, by section (``A``) or name (``A.shapes_bits``); all if it is empty.

    Raises:
        KeyError: a name in ``wanted`` matches nothing.
    """
    for name in wanted:
        if not any(name in (m.key, m.section) for m in MEASURES.values()):
            raise KeyError(f"{name}: no such section or measure; available: {', '.join(MEASURES)}")
    return [m for m in MEASURES.values() if not wanted or m.key in wanted or m.section in wanted]
