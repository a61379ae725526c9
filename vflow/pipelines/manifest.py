"""The engine's memory: one JSON line per item, appended as items finish, compacted when a run ends."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vflow.data import io

Entry = dict[str, Any]


class Manifest:
    """``manifest.jsonl`` of an output folder (``manifest-i-of-n.jsonl`` for shard i of n).

    Entries of all shards' files are known to ``find``; only the own file is written.
    """

    def __init__(self, folder: Path, shard: tuple[int, int] = (1, 1)) -> None:
        index, count = shard
        name = "manifest.jsonl" if count == 1 else f"manifest-{index}-of-{count}.jsonl"
        self.folder, self.path = folder, folder / name
        self.others = read_entries(folder)
        self.entries = _read(self.path) if self.path.is_file() else {}
        self.compact()  # a killed run may have left half a line at the end

    def find(self, item: str) -> Entry | None:
        """Last entry of an item, from any shard."""
        return self.entries.get(item) or self.others.get(item)

    def owner(self, names: Iterable[str], item: str) -> str | None:
        """An item other than ``item`` among whose outputs one of ``names`` is."""
        known = {**self.others, **self.entries}
        wanted = set(names)
        return next((k for k, e in known.items() if k != item and wanted & e.get("outputs", {}).keys()), None)

    def add(self, entry: Entry) -> None:
        """Append an entry and have it on disk."""
        self.entries[entry["item"]] = entry
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(_line(entry))
            file.flush()
            os.fsync(file.fileno())

    def compact(self) -> None:
        """Keep one line per item, its last."""
        if self.entries:
            with io.atomic_write(self.path) as temporary:
                text = "".join(map(_line, self.entries.values()))
                Path(temporary).write_text(text, encoding="utf-8")


def read_entries(folder: Path) -> dict[str, Entry]:
    """Item → its last entry in any manifest of an output folder."""
    entries: dict[str, Entry] = {}
    for path in sorted(folder.glob("manifest*.jsonl")):
        entries |= _read(path)
    return entries


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def intact(folder: Path, entry: Entry) -> bool:
    """All outputs of an entry are there, with the bytes that were written."""
    return all(
        (folder / name).is_file() and file_sha256(folder / name) == sha
        for name, sha in entry["outputs"].items()
    )


def _line(entry: Entry) -> str:
    return json.dumps(entry) + "\n"  # ASCII: names of files need not be text


def _read(path: Path) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            entries[entry["item"]] = entry
        except (ValueError, KeyError, TypeError):
            continue  # half a line of a killed run: its item is simply not done
    return entries
