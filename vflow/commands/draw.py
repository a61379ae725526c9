"""Shared parts of commands that draw samples: flags, the settings they give, and the run over items."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from vflow import registry
from vflow.catalog import AUTO
from vflow.commands.common import (
    NONE_GIVEN,
    CommonFlags,
    check_checkpoint,
    note,
    open_model,
    parse_temperature,
)
from vflow.errors import CheckpointError, ConfigError
from vflow.flags import Text
from vflow.remote import as_url

if TYPE_CHECKING:
    from vflow.pipelines.batch.engine import Options, Summary
    from vflow.pipelines.batch.inputs import Item
    from vflow.pipelines.batch.records import Record
    from vflow.pipelines.batch.stores import Store
    from vflow.pipelines.batch.tasks import RunnerTask


@dataclass(frozen=True, kw_only=True)
class TaskFlags:
    """Flags of a task's command; ``command_class`` adds those of its settings.

    ``several`` of them take many values each, and may be repeated.
    """

    family: ClassVar[registry.Family]
    about: ClassVar[registry.Command]
    kind: ClassVar[Any]
    several: ClassVar[tuple[str, ...]]
    more_inputs: ClassVar[str] = ""
    """Further inputs that it takes, for help."""
    folder_per_item: ClassVar[bool] = False
    """True where even an array of a single item lies in a folder of its own."""

    checkpoint: Text = None
    """A folder, a shipped name or a hub id; auto chooses for each clip by what it shows (the default; in
    colorize, upscale and digits: colorizer, enlarge, digits)."""
    output: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder for what is drawn, manifest.jsonl and run.json; may be s3://BUCKET/FOLDER."""
    settings: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Settings to repeat (settings.json of the app, run.json of a run); flags on the command line win."""
    on_existing: Literal["skip", "overwrite", "error"] = "skip"
    """Existing outputs of the same items: skip goes on with a run of the same settings and refuses to replace
    any of others; overwrite redoes all; error replaces none."""
    json: bool = False
    """Print the manifest's entries instead of paths."""
    common: CommonFlags = NONE_GIVEN

    def find(self) -> list[Item]:
        """Items of the inputs; none of a task that takes no files.

        Raises:
            ConfigError: no inputs. InputError: none of them can be used.
        """
        from vflow.pipelines.batch.inputs import clips, existing, pictures

        given = getattr(self, "input", None)
        return [] if given is None else existing((clips if self.about.item == "clip" else pictures)(given))

    def task(self) -> RunnerTask:
        """Task that draws with the checkpoint of the flags or the settings file."""
        from vflow.pipelines.batch.tasks import RunnerTask

        record, model = resolve(self)
        runner, _ = registry.parts(model.config.family, self.about.name)
        return RunnerTask(model, record, note, runner=runner, command=self.about.name)

    def run(self) -> int:
        """Returns 0, or 1 when some items failed."""
        self.check()
        items = self.find()  # first: torch takes seconds
        if self.about.usual != AUTO or (self.checkpoint != AUTO and (self.checkpoint or self.settings)):
            task = self.task()
            return self.draw(items or task.items(), task)
        chosen, failed = self.choose(items), 0
        if len(chosen) > 1 and self.output and as_url(self.output):
            raise ConfigError(f"--checkpoint: {self.output} takes results of one model; name it")
        for name, own in chosen.items():
            command = replace(self, checkpoint=name)
            failed = max(failed, command.draw(own, command.task(), len(items) > 1))
        return failed

    def choose(self, items: Sequence[Item]) -> dict[str, list[Item]]:
        """Checkpoint that ships → the items that it suits, where none is named."""
        raise NotImplementedError

    def draw(self, items: Sequence[Item], task: RunnerTask, several: bool = False) -> int:
        """Draw for ``items``, which may be part of ``several``; returns 0, or 1 when some failed."""
        options, several = self.options(), several or len(items) > 1
        single_array = task.as_array and not several
        options = replace(options, flat=single_array and not self.folder_per_item)
        with _progress_bar(self.about.unit) as progress:
            return self.work(items, replace(task, progress=progress), options)

    def check(self) -> None:
        """Refuse flags before torch is imported, which takes seconds.

        Raises:
            ConfigError: no output, no checkpoint, or a flag out of range. CheckpointError: no such one, or it
                does something else.
        """
        if self.output is None:
            raise ConfigError("--output: give a folder for what is drawn")
        self.kind.of(**given_flags(self, self.kind))
        name = self.checkpoint or (self.about.usual if self.settings is None else None)
        if name != AUTO and (name or self.settings is None):
            check_checkpoint(name, registry.served(self.family, self.about))

    def options(self) -> Options:
        """The engine's options."""
        from vflow.pipelines.batch.engine import Options

        assert self.output is not None  # ``check``
        return Options(self.output, on_existing=self.on_existing)

    def work(self, items: Sequence[Item], task: RunnerTask, options: Options) -> int:
        """Run ``task`` over ``items``; returns the exit code, 1 if some failed."""
        summary = self.execute(items, task, options)
        count = len(summary.done) + len(summary.failed)
        if count > 1:
            done = f"{len(summary.done)} done ({len(summary.skipped)} of them before)"
            print(f"{count} items: {done}, {len(summary.failed)} failed", file=sys.stderr)
        return 1 if summary.failed else 0

    def execute(self, items: Sequence[Item], task: RunnerTask, options: Options) -> Summary:
        """Run the engine."""
        from vflow.pipelines.batch import engine

        return engine.run(items, task, options, report=lambda entry: self.report(entry, options.store))

    def report(self, entry: dict[str, Any], store: Store) -> None:
        """Print the path of an item's outputs, or its entry; errors go to stderr."""
        if entry["status"] == "failed":
            print(f"error: {entry['error']}", file=sys.stderr)
        if self.json:
            print(json.dumps(entry), flush=True)
        elif entry["status"] == "done":
            only = list(entry["outputs"]) if len(entry["outputs"]) == 1 else [entry["item"]]
            print(store.full(only[0]), flush=True)


@contextmanager
def _progress_bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of ``unit``s on stderr, if that is a terminal; takes (done, of how many), item after item."""
    from tqdm import tqdm

    with tqdm(unit=unit, disable=None, leave=False) as bar:

        def update(done: int, total: int) -> None:
            if done < bar.n or bar.total != total:
                bar.reset(total)
            bar.update(done - bar.n)

        yield update


def given_flags(command: TaskFlags, kind: Any) -> dict[str, Any]:
    """Flags of the command line that were given and that a ``kind`` has an entry for."""
    flags = vars(command) | vars(command.common)
    flags = {name: flags[name] for name in kind.model_fields.keys() & flags.keys()}
    flags = {name: value for name, value in flags.items() if value not in (None, "auto", ())}
    if isinstance(given := flags.get("temperature"), str):
        flags["temperature"] = parse_temperature(given)
    return flags


def resolve(command: TaskFlags) -> tuple[Record, Any]:
    """All settings, from flags, then the settings file, then what the model suggests; and the model.

    Raises:
        ConfigError: a setting is out of range. CheckpointError: no such model, another kind, or another
            version than the file's. InputError: the file cannot be read.
    """
    from vflow import checkpoint as checkpoints
    from vflow.config import parse
    from vflow.pipelines.batch.records import read_record, record_class
    from vflow.pipelines.common import family_config, resolve_dtype, set_threads, temperature_text, versions

    kind = record_class(command.kind)
    flags, file = given_flags(command, kind), command.settings
    old = read_record(file, kind) if file else None
    checkpoint = str(flags.get("checkpoint", old.checkpoint if old else command.about.usual))
    threads = set_threads(flags.get("threads", _possible_threads(file, old.threads) if old else None))
    device_name = flags.get("device", _available_device(file, old.device) if old else "auto")
    model, folder, device = open_model(checkpoint, device_name)
    sha = checkpoints.checkpoint_hash(folder)
    if old:
        _note_differences(file, old, sha, flags.get("checkpoint"))
    config = family_config(model, *registry.served(command.family, command.about))
    kind = record_class(registry.parts(config.family, command.about.name)[1])
    suggested = kind.model_fields.keys() & {"temperature", "fps"}
    fields = {name: getattr(config, name) for name in suggested}
    fields |= old.model_dump(exclude_none=True) if old else {}
    fields |= flags
    fields |= {
        "checkpoint": checkpoint,
        "checkpoint_hash": sha,
        "threads": threads,
    }
    fields |= {"device": device.type, "dtype": resolve_dtype(fields.get("dtype", "auto"))}
    resolved = parse(kind, fields | {"versions": versions()}, "settings")
    used = getattr(settings := resolved.settings(), "temperature", None)
    if used is not None:
        settings.levels(len(model.latent_shapes))
    if not old and "temperature" not in flags and used not in (None, 1):
        temperature = temperature_text(used)
        note(f"drawn at temperature {temperature}, as {resolved.checkpoint} suggests")
    return resolved, model


def _possible_threads(file: Path | None, threads: int) -> int:
    """Threads that another machine used, no more than this one can."""
    from vflow.config.ranges import max_threads

    if threads > max_threads():
        note(f"{file}: {threads} threads, here {max_threads()}; bytes may differ")
    return min(threads, max_threads())


def _available_device(file: Path | None, device: str) -> str:
    """Device that another machine used, or this one's own."""
    from vflow.devices import choose_device

    try:
        choose_device(device)
    except ConfigError as error:
        note(f"{file}: {error}; bytes may differ")
        return "auto"
    return device


def _note_differences(file: Path | None, old: Record, sha: str, checkpoint: str | None) -> None:
    for remark in old.differences():
        note(f"{file}: {remark}")
    if sha == old.checkpoint_hash:
        return
    if checkpoint is None:
        raise CheckpointError(
            f"{file}: made with another version of '{old.checkpoint}' (sha256 "
            f"{old.checkpoint_hash[:12]}…, here {sha[:12]}…); name a model with --checkpoint"
        )
    note(f"{file}: made with another model than {checkpoint}; what it draws will differ")
