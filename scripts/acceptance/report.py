"""docs/acceptance.json: what the measures found, one entry each."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.acceptance.registry import Figure

ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / "docs" / "acceptance.json"


WRITTEN = ("docs/acceptance.json", "docs/RESULTS.md")  # by `make accept` itself


def clean_commit(root: Path = ROOT) -> str:
    """Short hash of the measured source.

    Raises:
        DirtyTreeError: files differ from the commit, so the figures could not be traced to a source.
    """
    hash_, changes = (
        subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
        for words in (
            ["rev-parse", "--short", "HEAD"],
            ["status", "--porcelain", "--", ".", *(f":!{path}" for path in WRITTEN)],
        )
    )
    if changes:
        names = ", ".join(line.split(maxsplit=1)[1] for line in changes.splitlines()[:3])
        raise DirtyTreeError(f"figures are recorded from a clean tree; commit or remove first: {names}")
    return hash_


class DirtyTreeError(Exception):
    """Uncommitted changes in the source to be measured."""


def stored(name: str) -> dict[str, Any]:
    """docs/results/``name``.json; empty if there is none."""
    path = ROOT / "docs" / "results" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def read_store() -> dict[str, Any]:
    return json.loads(STORE.read_text()) if STORE.is_file() else {}


def store(key: str, entry: dict[str, Any]) -> None:
    """Replace one measure's entry."""
    entries = read_store() | {key: entry}
    temporary = STORE.with_suffix(".tmp")
    temporary.write_text(json.dumps(dict(sorted(entries.items())), indent=2, ensure_ascii=False) + "\n")
    temporary.replace(STORE)


def row(key: str, figure: Figure, entry: Mapping[str, Any] | None) -> str:
    """Start of a table row: figure, measured value, threshold, whether it is met."""
    value = (entry or {}).get("values", {}).get(key)
    if value is None:
        shown, verdict = "–", "failed" if (entry or {}).get("error") else "not measured"
    else:
        shown = f"{value:.4g} {figure.unit}".strip()
        verdict = ("pass" if figure.met(value) else "**fail**") if figure.threshold() else ""
    what = figure.what.replace("|", r"\|")
    return f"| {what} | {shown} | {figure.threshold()} | {verdict} |"
