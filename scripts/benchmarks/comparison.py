"""Comparison of models in the format of scripts/results.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vflow.pipelines.common import versions


def comparison(title: str, rows: Sequence[dict[str, Any]], note: str, command: str) -> dict[str, Any]:
    """JSON object of a comparison: a row of figures for each model, a note, and the protocol.

    ``command`` is the part after ``python -m``.
    """
    protocol = {"command": f"python -m {command}", "versions": versions()}
    return {"title": title, "rows": list(rows), "note": note, "protocol": protocol}
