"""The list of acceptance measures: what each measures and the threshold it has to meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache


@dataclass(frozen=True)
class Figure:
    """One promised figure. Without a threshold it is reported only."""

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
        """``≤ 0.06 (aim 0.037)``; empty where nothing is promised."""
        limits = [("≤", self.at_most), ("≥", self.at_least)]
        text = ", ".join(f"{sign} {limit:g}" for sign, limit in limits if limit is not None)
        return f"{text} (aim {self.aim})" if self.aim else text


@dataclass(frozen=True)
class Result:
    """Values by figure key, and what a reader needs to know of how they came about."""

    values: Mapping[str, float]
    note: str = ""


@dataclass(frozen=True)
class Measure:
    """A function that measures some figures of one section."""

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
    """A measure needs data or a program that this machine lacks; the message says how to give it."""


def measure(section: str, **figures: Figure) -> Callable[[Callable[[], Result]], Callable[[], Result]]:
    """Register a function of the given section; its docstring is its protocol. It runs once, whoever asks."""

    def register(run: Callable[[], Result]) -> Callable[[], Result]:
        protocol, once = " ".join((run.__doc__ or "").split()), cache(run)
        entry = Measure(section, run.__name__, protocol, figures, once)
        MEASURES[entry.key] = entry
        return once

    return register


def select(wanted: list[str]) -> list[Measure]:
    """Measures of the sections (``A``) or single measures (``A.shapes_bits``) in ``wanted``; all when empty.

    Raises:
        KeyError: a name in ``wanted`` selects nothing.
    """
    for name in wanted:
        if not any(name in (m.key, m.section) for m in MEASURES.values()):
            raise KeyError(f"{name}: no such section or measure; there are: {', '.join(MEASURES)}")
    return [m for m in MEASURES.values() if not wanted or m.key in wanted or m.section in wanted]
