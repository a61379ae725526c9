"""Digits: a class in, many handwritten digits out, and anyone's digit as all ten."""

from __future__ import annotations

from ..shared.task_tab import task_tab
from .job import FACE

TAB = task_tab("Digits", "digits", FACE)
