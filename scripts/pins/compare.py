"""Pins of two trees compared, with the excuses of pins/changed.md."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

Pins = Mapping[str, Any]
_LINE = re.compile(r"- `(?P<pattern>[^`]+)`: (?P<text>\S.*\S)")
MISSING = "(none)"


@dataclass(frozen=True)
class Excuse:
    """A deliberate change: ``- `section/pin*`: what, why``.

    Attributes:
        pattern: of the pins that differ; ``*`` stands for any characters.
        text: what changed, and why.
    """

    pattern: str
    text: str

    def covers(self, pin: str) -> bool:
        """True if the change explains a difference of ``pin``."""
        return fnmatchcase(pin, self.pattern)


@dataclass(frozen=True)
class Difference:
    """A pin whose value is another, or that only one of the trees has."""

    pin: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.pin}\n  - {self.before}\n  + {self.after}"


@dataclass(frozen=True)
class Verdict:
    """Outcome of a comparison.

    Attributes:
        unlisted: differences that no excuse covers.
        excused: differences that one covers.
        stale: excuses that cover no difference.
    """

    unlisted: tuple[Difference, ...]
    excused: tuple[Difference, ...]
    stale: tuple[Excuse, ...]


def read_excuses(path: Path) -> list[Excuse]:
    """Excuses of pins/changed.md; each entry is one line that begins with ``-``, all other lines are prose.

    Raises:
        ValueError: an entry does not name a pin in backquotes, then what changed and why.
    """
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.startswith("-"):
            continue
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            raise ValueError(f"{path}:{number}: write - `section/pin`: what changed, and why")
        found.append(Excuse(match["pattern"], match["text"]))
    return found


def compare(before: Pins, after: Pins, excuses: Sequence[Excuse], sections: Sequence[str]) -> Verdict:
    """Compare all pins of ``sections``; excuses of other sections are left alone."""
    names = sorted(before.keys() | after.keys())
    differences = [
        Difference(name, before.get(name, MISSING), after.get(name, MISSING))
        for name in names
        if name not in before or name not in after or before[name] != after[name]
    ]
    covered = [any(excuse.covers(each.pin) for excuse in excuses) for each in differences]
    stale = [
        excuse
        for excuse in excuses
        if any(fnmatchcase(section, excuse.pattern.partition("/")[0]) for section in sections)
        and not any(excuse.covers(each.pin) for each in differences)
    ]
    split = [
        tuple(each for each, is_covered in zip(differences, covered, strict=True) if is_covered == wanted)
        for wanted in (False, True)
    ]
    return Verdict(split[0], split[1], tuple(stale))
