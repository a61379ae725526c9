"""Engine of predict, colorize, digits and generate: items in; files, manifest and run record out.

A file gets its final name when it is complete, never before; an item is done when its manifest line says so.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol

from vflow.data import media
from vflow.disk import file_sha256, parse_json
from vflow.errors import InputError, counted, naming_memory, printable
from vflow.pipelines.batch.inputs import Item
from vflow.pipelines.batch.records import Entry, Manifest, outputs_match
from vflow.pipelines.batch.stores import Store, open_store

RECORD = "run.json"
"""Name of the record of the settings that the newest outputs were made with."""


class _RefusedError(InputError):
    """Refusal before anything was done to an item: its entry in the manifest stays as it is."""


class Task(Protocol):
    """Work on one item: futures, colourings, digits."""

    def run_record(self) -> dict[str, Any]:
        """Resolved settings, checkpoint hash and versions: ``run.json``."""

    def cache_key(self) -> dict[str, Any]:
        """The settings on which an item's bytes depend; existing outputs with others are not reused."""

    def run(self, item: Item, folder: Path) -> dict[str, Any]:
        """Write the item's files into the empty ``folder``; returns fields for the manifest.

        Raises:
            InputError: this item cannot be used.
        """


@dataclass(frozen=True)
class Options:
    """Treatment of outputs and errors.

    Attributes:
        output: folder of everything that is written, or its address.
        flat: an item's files lie in ``output`` itself, not in ``output/<item>/``.
        on_existing: ``skip`` goes on with an earlier run: it keeps outputs whose bytes match, makes those
            that are missing or damaged, and refuses to replace any of other settings or of another input;
            ``overwrite`` redoes all; ``error`` refuses an item some of whose files exist, whoever wrote them.
        on_error: ``continue`` with the next item, or ``fail`` at the first.
        shard: (i, n): every n-th item from the i-th, i in 1..n.
        part: name of this part of a run that several processes share.
    """

    output: Path
    flat: bool = False
    on_existing: Literal["skip", "overwrite", "error"] = "skip"
    on_error: Literal["continue", "fail"] = "continue"
    shard: tuple[int, int] = (1, 1)
    part: str = ""

    @cached_property
    def store(self) -> Store:
        """Store that everything is written to."""
        return open_store(self.output)

    @property
    def writer(self) -> str:
        """Name of this writer among those of the same outputs."""
        return self.part or "{}-of-{}".format(*self.shard)

    @property
    def manifest(self) -> str:
        """Name of this writer's manifest."""
        return "manifest.jsonl" if self.writer == "1-of-1" else f"manifest-{self.writer}.jsonl"

    def home(self, item: Item) -> str:
        """Folder of an item's outputs, in the store; empty: the store itself."""
        return "" if self.flat else item.name


@dataclass
class Summary:
    """Outcome of a run, items in order; ``skipped`` are also among ``done``."""

    done: list[Entry] = field(default_factory=list)
    skipped: list[Entry] = field(default_factory=list)
    failed: list[Entry] = field(default_factory=list)


def run(
    items: Sequence[Item],
    task: Task,
    options: Options,
    *,
    report: Callable[[Entry], None] = lambda entry: None,
) -> Summary:
    """Work through ``items``; ``report`` is told each finished entry.

    Raises:
        InputError: the output folder cannot be written or holds outputs of other settings that are to stay,
            or an item failed under ``on_error="fail"``.
        ConfigError: another process writes there and does not end.
    """
    index, count = options.shard
    own, summary = items[index - 1 :: count], Summary()
    with writing(own, task, options) as manifest:
        for item in own:
            entry, skipped = _one(item, task, options, manifest)
            summary.done += [entry] if entry["status"] == "done" else []
            summary.failed += [entry] if entry["status"] == "failed" else []
            summary.skipped += [entry] if skipped else []
            report(entry)
    return summary


@contextmanager
def writing(items: Iterable[Item], task: Task, options: Options) -> Iterator[Manifest]:
    """Context of the one writer that may write these items' outputs, with its manifest.

    Raises:
        As ``run``, before anything is drawn.
    """
    with options.store.lock(f".lock-{options.writer}"):
        with _naming(options.store):
            manifest = Manifest(options.store, options.manifest)
            manifest.compact()  # a killed run may have left half a line at the end
            _refuse_other_settings(items, task, options, manifest)
            _claim(task, options)
        yield manifest
        manifest.compact()


def _record(task: Task) -> str:
    return json.dumps(task.run_record(), indent=2) + "\n"


def _claim(task: Task, options: Options) -> None:
    """Put the record if there is none; where no lock does, that of other settings keeps this writer out."""
    store, text = options.store, _record(task)
    there = store.claim(RECORD, text)
    if store.locks or there == text:
        return
    if options.on_existing == "overwrite":
        store.write(RECORD, text)
        return
    try:
        old, now = parse_json(there), parse_json(text)
        changed = [key for key in task.cache_key() if key != "torch" and old.get(key) != now.get(key)]
    except (ValueError, AttributeError):
        changed = ["all"]
    if changed:
        raise InputError(
            f"{store.full(RECORD)}: of other settings ({', '.join(changed)}); {media.OTHER_OUTPUT}"
        )


def _renew_record(task: Task, options: Options) -> None:
    """Put the record of what is now made in place of an earlier run's, which held until now."""
    text = _record(task)
    if options.store.locks and options.store.claim(RECORD, text) != text:
        options.store.write(RECORD, text)


@contextmanager
def _naming(store: Store) -> Iterator[None]:
    """Context that turns a folder's refusal to be written into a one-line error."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{store}: cannot write ({error.strerror}); choose another --output") from error


def plan(items: Sequence[Item], task: Task, options: Options) -> list[tuple[Item, bool]]:
    """Items that ``run`` would work on, each with True if its outputs are there already. Writes nothing.

    Raises:
        InputError: the output folder holds outputs of other settings that are to stay.
    """
    known = Manifest(options.store, options.manifest)
    index, count = options.shard
    own = items[index - 1 :: count]
    _refuse_other_settings(own, task, options, known)
    return [(item, is_done(item, task, options, known.find(item.name))) for item in own]


def is_done(item: Item, task: Task, options: Options, old: Entry | None) -> bool:
    """True if ``run`` would keep the item's outputs, of which its manifest has the entry ``old``."""
    if old is None or not all(path.exists() for path in item.paths):
        return False
    with item.fetched():
        return _reusable({**task.cache_key(), "input_sha256": item.sha256()}, old, options)


def _one(item: Item, task: Task, options: Options, manifest: Manifest) -> tuple[Entry, bool]:
    """The item's entry, and True if its outputs were there already.

    The entry of an item that failed is that of an earlier run's outputs, if any: they still lie there.
    """
    began, old, refused = time.monotonic(), manifest.find(item.name), False
    entry: Entry = {"item": item.name, "inputs": item.given, **task.cache_key(), "input_sha256": None}
    try:
        with item.fetched():
            if all(path.exists() for path in item.paths):
                entry["input_sha256"] = item.sha256()
            if old and _reusable(entry, old, options):
                manifest.adopt(old)
                return old, True
            _guard(item, entry, options, old)
            with naming_memory(f"{item.name} does not fit; use a smaller input or draw fewer samples"):
                entry |= _produce(item, task, options, manifest)
        entry |= {"status": "done", "error": None}
    except BrokenPipeError:  # nobody reads our notes any more, which is no fault of the item
        raise
    except (InputError, OSError) as error:
        refused = isinstance(error, _RefusedError)
        kept = old if old and old.get("outputs") else {"outputs": {}}
        entry |= {**kept, "status": "failed", "error": item.telling(_explain(error))}
    entry["duration_s"] = round(time.monotonic() - began, 3)
    if not (refused and old):
        manifest.add(entry)
    if entry["error"] and options.on_error == "fail":
        raise InputError(entry["error"])
    return entry, False


def _reusable(entry: Entry, old: Entry, options: Options) -> bool:
    same = all(old.get(key) == value for key, value in entry.items() if key not in ("item", "inputs"))
    if not (same and old.get("status") == "done" and options.on_existing == "skip"):
        return False
    return outputs_match(options.store, old)


def _refuse_other_settings(items: Iterable[Item], task: Task, options: Options, known: Manifest) -> None:
    """Refuse to replace outputs of other settings, before the first item, unless that is asked for."""
    if options.on_existing == "overwrite":
        return
    now = task.cache_key()
    for item in items:
        old = known.find(item.name)
        if old and _outputs_there(options, old):
            changed = [
                f"{key} {old.get(key)}, now {value}" for key, value in now.items() if old.get(key) != value
            ]
            if changed:
                what = f"has {item.name} with other settings ({'; '.join(changed)})"
                raise InputError(f"{options.store}: {what}; {media.OTHER_OUTPUT}")


def _outputs_there(options: Options, entry: Entry) -> list[str]:
    """Outputs of an entry that still exist, whatever their bytes."""
    return [name for name in entry.get("outputs", {}) if options.store.has(name)]


def _guard(item: Item, entry: Entry, options: Options, old: Entry | None) -> None:
    """Refuse to write outside the output folder, into the item's input folder, or over unwanted outputs."""
    if not options.flat and not options.store.contains(item.name):
        raise _RefusedError(f"{item.name}: outputs would lie outside {options.store}; choose another name")
    try:
        options.store.check_keeps(item, options.home(item))
    except InputError as error:
        raise _RefusedError(str(error)) from error
    there = _outputs_there(options, old or {})
    if options.on_existing == "error":
        _refuse_existing(options.store, there)
    another = entry["input_sha256"] not in (None, (old or {}).get("input_sha256"))
    if there and another and options.on_existing == "skip":
        raise _RefusedError(f"{options.store}: has {item.name} of another input; {media.OTHER_OUTPUT}")


def _refuse_existing(store: Store, names: Iterable[str]) -> None:
    if there := next((name for name in names if store.has(name)), None):
        raise _RefusedError(f"{store.full(there)}: {media.EXISTS}")


def _produce(item: Item, task: Task, options: Options, manifest: Manifest) -> Entry:
    """Run the task in a temporary folder, beside local outputs, then give its files their final names."""
    store, home = options.store, PurePosixPath(options.home(item))
    with store.scratch(f".partial-{options.writer}") as temporary:
        fields = task.run(item, temporary)
        made = sorted(path for path in temporary.rglob("*") if path.is_file())
        names = {path: (home / path.relative_to(temporary).as_posix()).as_posix() for path in made}
        outputs = {names[path]: file_sha256(path) for path in made}
        store.check_keeps(item, options.home(item), outputs)
        shared = options.flat and options.on_existing != "overwrite"  # else each item has its own folder
        if shared and (other := manifest.owner(outputs, item.name)):
            raise InputError(f"{item.name}: would replace the result of {other}; choose another --output")
        if options.on_existing == "error":
            _refuse_existing(store, outputs)
        _renew_record(task, options)
        store.publish(names)
        if stale := _remove_stale(manifest, item.name, outputs):
            print(
                f"note: {printable(item.name)}: other settings; {counted(stale, 'earlier file')} deleted",
                file=sys.stderr,
            )
    return {**fields, "outputs": outputs}


def _remove_stale(manifest: Manifest, item: str, outputs: dict[str, str]) -> int:
    """Delete files that an earlier run of this item wrote and this one did not, and folders this empties.

    Those that were changed since, or replaced by another item's, stay.
    """
    written = (manifest.find(item) or {}).get("outputs", {})
    stale = []
    for name, sha in written.items():
        if name in outputs or not manifest.store.has(name):
            continue
        # Of what lies in the item's own folder the owner is known; asking for it goes through all entries.
        own = name.startswith(f"{item}/")
        if (own or not manifest.owner([name], item)) and manifest.store.sha256(name) == sha:
            stale.append(name)
    manifest.store.remove(stale)
    return len(stale)


def _explain(error: InputError | OSError) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'output'}: {error.strerror or error}"
    return str(error)
