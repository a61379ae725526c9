"""Compress: a photo or clip in, a smaller file with the same pixels out, and back."""

from __future__ import annotations

from ..shared.task_tab import task_tab
from .job import FACE, expected_seconds

TAB = task_tab("Compress", "compress", FACE, expected_seconds)
