"""Base of published benchmarks, and the files that they read, checked against their digests."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from vflow.errors import ConfigError, InputError

Row = dict[str, Any]
UNCONFIRMED = "from memory, unconfirmed"


class Benchmark(NamedTuple):
    """A benchmark.

    summary: a line of help.
    folder: where its files lie inside the data folder.
    run: figures of a folder, a row after another as they are known, given the seeds of its splits.
    figures: key of a row → heading of its column.
    note: what the figures are, in a sentence.
    """

    summary: str
    folder: str
    run: Callable[[Path, range], Iterator[Row]]
    figures: dict[str, str]
    note: str


def data_folder(given: Path | None, name: str) -> Path:
    """Folder of a benchmark's files: as given, or ``name`` in ``VFLOW_DATA``.

    Raises:
        ConfigError: neither. InputError: there is no such folder.
    """
    root = os.environ.get("VFLOW_DATA", "")
    if given is None and not root:
        raise ConfigError(f"--data: give the folder of {name}, or set VFLOW_DATA to the one that holds it")
    folder = given or Path(root) / name
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; it holds the benchmark's files")
    return folder


def digests(name: str) -> dict[str, str]:
    """SHA-256 of each file of a benchmark, by its name."""
    text = resources.files("vflow.benchmarks").joinpath("digests.json").read_text(encoding="utf-8")
    found: dict[str, str] = json.loads(text)[name]
    return found


def checked(folder: Path, name: str) -> list[Path]:
    """Files of a benchmark in ``folder``, each with the SHA-256 that digests.json has.

    Raises:
        InputError: a file is missing or another one.
    """
    paths = []
    for file, digest in digests(name).items():
        path = folder / file
        if not path.is_file():
            raise InputError(f"{path}: missing; the benchmark {name} reads it")
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise InputError(f"{path}: not the published file (its SHA-256 differs); fetch it again")
        paths.append(path)
    return paths


def table(benchmark: Benchmark, rows: list[Row]) -> str:
    """Rows as a table in Markdown."""
    heads = list(benchmark.figures.values())
    cells = [["" if row[key] is None else str(row[key]) for key in benchmark.figures] for row in rows]
    lines = [f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *cells)]
    return "\n".join(lines)
