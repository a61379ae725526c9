"""Enlarge: a small photo in, large ones out that all average to it."""

from __future__ import annotations

from ..shared.task_tab import task_tab
from .job import FACE, expected_seconds

TAB = task_tab("Enlarge", "enlarge", FACE, expected_seconds)
