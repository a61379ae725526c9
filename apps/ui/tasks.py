"""Faces of all tasks of the registry: those with a tab of their own, and plain ones of the others."""

from __future__ import annotations

from vflow.registry import commands

from .colorize.job import FACE as COLORIZE
from .compress.job import COMPRESS, RESTORE
from .digits.job import FACE as DIGITS
from .enlarge.job import FACE as ENLARGE
from .predict.tab import FACE as PREDICT
from .shared.context import Tab
from .shared.faces import Face
from .shared.task_tab import task_tab
from .surprise.job import FACE as SURPRISE

OWN: dict[str, Face] = {face.family.name: face for face in (COLORIZE, DIGITS, ENLARGE, PREDICT)}


def _plain() -> list[Face]:
    """Faces of the tasks that have none of their own, such as those of other packages."""
    return [Face(family) for family in commands().values() if family.name not in OWN]


def faces() -> list[Face]:
    """A face for each task that has a command."""
    return [*OWN.values(), SURPRISE, COMPRESS, RESTORE, *_plain()]


def plain_tabs() -> list[Tab]:
    """Tabs of the tasks that have none of their own."""
    return [task_tab(face.command.name.capitalize(), face.tab, face) for face in _plain()]
