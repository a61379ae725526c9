"""The engine on many processes: each works on a part of the items at a time, with a manifest of its own.

A part is what ``engine.run`` does for a shard, so a part that is started again goes on where it stopped. The
process that shares them out holds the lock and makes one manifest of theirs.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path

from vflow import errors, registry
from vflow.errors import ConfigError, InputError, VflowError
from vflow.pipelines.batch import engine
from vflow.pipelines.batch.engine import Options, Summary
from vflow.pipelines.batch.inputs import Item
from vflow.pipelines.batch.launchers import Launcher
from vflow.pipelines.batch.records import Entry, Manifest
from vflow.pipelines.batch.tasks import RunnerTask, task_of
from vflow.remote import Staging, as_url

PARTS, MOST = 4, 50
"""Parts for each worker, so that all end at about the same time; and items of a part, at most."""


def run(
    items: Sequence[Item],
    task: RunnerTask,
    options: Options,
    launcher: Launcher,
    *,
    report: Callable[[Entry], None] = lambda entry: None,
) -> Summary:
    """As ``engine.run``, with the same bytes, by the processes of ``launcher``; entries come as parts end.

    Raises:
        As ``engine.run``. ConfigError: also what the launcher lacks, or a store of this process alone.
    """
    launcher.check()
    if (as_url(options.output) or "").startswith("memory:"):
        raise ConfigError(f"{options.output}: is of one process alone; choose another --output")
    index, count = options.shard
    own, prefix = items[index - 1 :: count], f"{'' if count == 1 else f'{options.writer}-'}part-"
    with engine.writing(own, task, options) as manifest:
        manifest.absorb(prefix)  # parts of a run that was killed
        planned = [(item, engine.is_done(item, task, options, manifest.find(item.name))) for item in own]
        found = {item.name: entry for item, done in planned if done and (entry := manifest.find(item.name))}
        skipped = set(found)
        for entry in found.values():
            manifest.adopt(entry)
            report(entry)
        parts = _parts([item for item, done in planned if not done], launcher.workers)
        jobs = [_job(part, task, replace(options, shard=(1, 1), part=f"{prefix}{number}"), launcher.memory)
                for number, part in enumerate(parts)]  # fmt: skip
        for number, text in launcher.run(work, jobs) if jobs else ():
            part = Manifest(options.store, f"manifest-{prefix}{number}.jsonl")
            entries = _entries(text, parts[number], part, task)
            found |= {entry["item"]: entry for entry in entries}
            for entry in entries:
                report(entry)
        manifest.absorb(prefix)
        manifest.entries = {item.name: found[item.name] for item in own} | manifest.entries
    ordered = [found[item.name] for item in own]
    return Summary(
        [entry for entry in ordered if entry["status"] == "done"],
        [entry for entry in ordered if entry["item"] in skipped],
        [entry for entry in ordered if entry["status"] == "failed"],
    )


def _parts(items: Sequence[Item], workers: int) -> list[Sequence[Item]]:
    size = max(1, min(MOST, math.ceil(len(items) / (PARTS * workers))))
    return [items[first : first + size] for first in range(0, len(items), size)]


def _job(items: Sequence[Item], task: RunnerTask, options: Options, memory: float | None) -> str:
    """All that another process needs, as JSON: no credentials, and no code."""
    job = {
        "folder": os.getcwd(),
        "memory": memory,
        "task": task.recipe(),
        "options": asdict(options) | {"output": str(options.output)},
        "items": [[item.name, item.given] for item in items],
    }
    return json.dumps(job)


def work(text: str) -> str:
    """Work of one process: the items of a job; returns their entries and remarks, or its error, as JSON.

    What the part's manifest has as done, an earlier process has done that died before it was through.
    """
    job, notes = json.loads(text), list[str]()
    os.chdir(job["folder"])
    if job["memory"] is not None:
        _limit_memory(job["memory"])
    fields = job["options"]
    options = Options(**fields | {"output": Path(fields["output"]), "shard": tuple(fields["shard"])})
    try:
        known = Manifest(options.store, options.manifest).entries
        done = [entry for entry in known.values() if entry["status"] == "done"]
        names, staging = {entry["item"] for entry in done}, Staging()
        left = [(name, map(Path, given)) for name, given in job["items"] if name not in names]
        items = [
            Item(name, tuple(staging.place(path, is_file=bool(path.suffix)) for path in given), staging)
            for name, given in left
        ]
        task = replace(_task(json.dumps(job["task"])), note=notes.append)
        engine.run(items, task, options, report=done.append)
    except VflowError as error:
        return json.dumps({"error": [type(error).__name__, str(error)]})
    return json.dumps({"entries": done, "notes": notes})


@lru_cache(1)
def _task(recipe: str) -> RunnerTask:
    """Task with its model, which a process keeps from job to job."""
    registry.load_plugins()
    return task_of(json.loads(recipe))


def _limit_memory(gigabytes: float) -> None:
    """Let allocations fail beyond this, where the system can: an item that needs more then fails alone."""
    try:
        import resource
    except ImportError:
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (int(gigabytes * 1e9), hard))


def _entries(text: str | None, items: Sequence[Item], part: Manifest, task: RunnerTask) -> list[Entry]:
    """Entries of a part; of one whose process died each time, those that it had, and errors.

    Raises:
        VflowError: what the part's process met.
    """
    if text is None:
        why = "its process was killed each time it was started; use fewer workers, or smaller inputs"
        lost: Entry = {**task.cache_key(), "input_sha256": None, "outputs": {}, "status": "failed"}
        for item in items:
            if item.name not in part.entries:
                error = f"{item.name}: {why}"
                part.add({"item": item.name, "inputs": item.given, **lost, "error": error, "duration_s": 0.0})
        return list(part.entries.values())
    answer = json.loads(text)
    if "error" in answer:
        kind, message = answer["error"]
        raise getattr(errors, kind, InputError)(message)
    for remark in answer["notes"]:
        task.note(remark)
    entries: list[Entry] = answer["entries"]
    return entries
