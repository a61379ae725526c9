"""Records of a run: settings, enough to draw the same pixels again, and the manifest of outputs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, create_model

from vflow.config import Config, parse
from vflow.config.settings import Settings, Shown
from vflow.disk import parse_json, read_regular
from vflow.errors import InputError
from vflow.pipelines.batch.stores import Store
from vflow.pipelines.common import temperature_text, versions

OF_ONE_ITEM = ("context_sha", "remarks", "command")
"""Entries that a settings file has of the one item it was made with, and a run of several has not."""
OF_ONE_RUN = ("checkpoint", "versions", *OF_ONE_ITEM)

NO_FLAGS = ("checkpoint_hash", "device", "dtype", *OF_ONE_RUN)
"""Entries that a command of the same machine does not name, or names by itself."""


class Record(Config):
    """Settings and origin of what is drawn; threads and versions are this process's unless given.

    ``record_class`` adds the settings' fields.

    ``remarks`` are for people: how the input fits the model, and what was done to it. ``command`` makes the
    same again.
    """

    kind: ClassVar[type[Settings]]

    checkpoint: str
    checkpoint_hash: str
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16"] = "float32"
    threads: int = Field(default_factory=torch.get_num_threads)
    versions: dict[str, str] = Field(default_factory=versions)
    remarks: tuple[str, ...] | None = None
    command: str | None = None

    def fields(self) -> dict[str, Any]:
        """All settings that are given, as JSON takes them."""
        return self.model_dump(mode="json", exclude_none=True)

    def cache_key(self) -> dict[str, Any]:
        """Settings on which an item's bytes depend, whatever its checkpoint is called; for manifests.

        What is not given is None, so that it differs from what an earlier run was given.
        """
        return self.model_dump(mode="json", exclude=set(OF_ONE_RUN)) | {"torch": self.versions["torch"]}

    def settings(self) -> Any:
        """Settings that decide what is drawn."""
        return self.kind(**{name: getattr(self, name) for name in self.kind.model_fields})

    def with_command(self, verb: str, files: Sequence[str] = ()) -> Self:
        """The record with the command that makes the same of these files, into a folder called like it.

        As it is where a setting has no flag.
        """
        words = ["vflow", verb, "--checkpoint", self.checkpoint, *(["--input", *files] if files else [])]
        fields = dict(type(self).model_fields)
        fields["threads"] = fields.pop("threads")  # last: of least interest
        for name, field in fields.items():
            value, flag = getattr(self, name), Shown.of(field).flag
            if flag is False and value != field.default and name not in NO_FLAGS:
                return self
            if name in NO_FLAGS or value is None or (name == "format" and value == field.default):
                continue
            single = name == "temperature" or isinstance(value, float)
            texts = [temperature_text(value)] if single else _texts(value)
            named = flag if flag and isinstance(flag, str) else name
            words += [f"--{named.replace('_', '-')}", *texts] if texts else []
        return self.model_copy(update={"command": shlex.join([*words, "--output", verb])})

    def to_json(self) -> str:
        """Text of a settings file."""
        return json.dumps(self.fields(), indent=2) + "\n"

    def differences(self) -> list[str]:
        """Remarks where this process differs from the one recorded, so that bytes may differ."""
        here = versions()
        return [
            f"made with {name} {value}, here {here[name]}: pixels may differ"
            for name, value in self.versions.items()
            if name in ("torch", "machine") and name in here and here[name] != value
        ]


@cache
def record_class(kind: type[Settings]) -> type[Record]:
    """Class of the records of a task with these settings."""
    fields: dict[str, Any] = {name: (field.annotation, field) for name, field in kind.model_fields.items()}
    made = create_model(kind.__name__.replace("Settings", "Record"), __base__=Record, **fields)
    made.kind = kind
    return made


def _texts(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, tuple) else [str(value)]


def read_record(path: Path, kind: type[Record]) -> Record:
    """Read a settings file that holds a ``kind``.

    Raises:
        InputError: no such file, or not JSON. ConfigError: unknown or missing key, or a value out of range.
    """
    try:
        data = parse_json(read_regular(path))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not valid JSON"
        raise InputError(f"{path}: {why}; give the settings.json of a download or a run.json") from error
    return parse(kind, data, str(path))


Entry = dict[str, Any]


class Manifest:
    """``manifest.jsonl`` of a store of outputs (``manifest-i-of-n.jsonl`` for shard i of n).

    Entries of all shards' files are known to ``find``; only the own file is written. It has all
    items of its run, also those that another shard's run had done.
    """

    def __init__(self, store: Store, name: str = "manifest.jsonl") -> None:
        self.store, self.name = store, name
        self.others: dict[str, Entry] = {}
        for other in store.lists("manifest"):
            self.others |= {} if other == name else _read(store, other)
        self.entries = _read(store, self.name)

    def find(self, item: str) -> Entry | None:
        """Last entry of an item, from the own file or another shard's."""
        return self.entries.get(item) or self.others.get(item)

    def owner(self, names: Iterable[str], item: str) -> str | None:
        """An item other than ``item`` among whose outputs one of ``names`` is."""
        known = {**self.others, **self.entries}
        wanted = set(names)
        return next((k for k, e in known.items() if k != item and wanted & e.get("outputs", {}).keys()), None)

    def add(self, entry: Entry) -> None:
        """Append an entry and have it stored."""
        self.entries[entry["item"]] = entry
        self.store.append(self.name, entry["item"], _line(entry))

    def adopt(self, entry: Entry) -> None:
        """Take an entry over from another file; ``compact`` writes it."""
        self.entries.setdefault(entry["item"], entry)

    def absorb(self, start: str) -> None:
        """Take over the manifests of all parts whose names begin with ``start``, which are then deleted."""
        names = self.store.lists(f"manifest-{start}")
        for name in names:
            self.entries |= _read(self.store, name)
        if names:
            self.compact()
        for name in names:
            self.store.drop(name)

    def compact(self) -> None:
        """Keep one line per item, its last."""
        if self.entries or self.store.has(self.name):
            self.store.rewrite(self.name, {item: _line(entry) for item, entry in self.entries.items()})


def outputs_match(store: Store, entry: Entry) -> bool:
    """True if all outputs of an entry are there, with the bytes that were written."""
    return all(store.has(name) and store.sha256(name) == sha for name, sha in entry["outputs"].items())


def _line(entry: Entry) -> str:
    return json.dumps(entry) + "\n"  # ASCII: names of files need not be text


def _read(store: Store, name: str) -> dict[str, Entry]:
    """Entries of a manifest, but for those whose item is simply not done: half a line of a killed run, or
    outputs outside the manifest's folder, which no run writes."""
    entries: dict[str, Entry] = {}
    for line in store.lines(name):
        try:
            entry = parse_json(line)
            item, entry["outputs"] = entry["item"], dict(entry.get("outputs", {}))
            if all(map(store.contains, entry["outputs"])):
                entries[item] = entry
        except (ValueError, KeyError, TypeError):
            continue
    return entries
