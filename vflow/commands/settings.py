"""Settings of a run and its model, from flags, a settings file and defaults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vflow.commands.common import note, open_model, parse_temperature
from vflow.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from vflow.commands.draw import DrawFlags
    from vflow.config import Config
    from vflow.pipelines.batch.records import SamplingRecord

C = TypeVar("C", bound="Config")
R = TypeVar("R", bound="SamplingRecord")


def given_flags(command: DrawFlags, kind: type[SamplingRecord]) -> dict[str, Any]:
    """Flags of the command line that were given and that a ``kind`` has an entry for."""
    flags = vars(command) | vars(command.common)
    flags = {name: flags[name] for name in kind.model_fields.keys() & flags.keys()}
    flags = {name: value for name, value in flags.items() if value not in (None, "auto", ())}
    if command.temperature is not None:
        flags["temperature"] = parse_temperature(command.temperature)
    return flags


def resolve(
    command: DrawFlags,
    kind: type[R],
    config_of: Callable[[Any], C],
    defaults: Callable[[C], dict[str, Any]] = lambda config: {},
) -> tuple[R, Any]:
    """All settings, from flags, then the settings file, then ``defaults`` of the model; and the model.

    Args:
        config_of: configuration of a model of the wanted kind; refuses others.

    Raises:
        ConfigError: a setting is out of range. CheckpointError: no such model, another kind, or another
            version than the file's. InputError: the file cannot be read.
    """
    from vflow import checkpoint as checkpoints
    from vflow.config import parse
    from vflow.pipelines.batch.records import read_record
    from vflow.pipelines.common import resolve_dtype, set_threads, versions

    flags, file = given_flags(command, kind), command.settings
    old = read_record(file, kind) if file else None
    threads = set_threads(flags.get("threads", _possible_threads(file, old.threads) if old else None))
    model, folder, device = open_model(
        flags.get("checkpoint", old.checkpoint if old else None),
        flags.get("device", _available_device(file, old.device) if old else "auto"),
    )
    sha = checkpoints.checkpoint_hash(folder)
    if old:
        _note_differences(file, old, sha, flags.get("checkpoint"))
    fields = defaults(config_of(model))
    fields |= old.model_dump(exclude_none=True) if old else {}
    fields |= flags
    fields |= {
        "checkpoint": fields.get("checkpoint", str(folder)),
        "checkpoint_hash": sha,
        "threads": threads,
    }
    fields |= {"device": device.type, "dtype": resolve_dtype(fields.get("dtype", "auto"))}
    resolved = parse(kind, fields | {"versions": versions()}, "settings")
    resolved.settings().levels(len(model.latent_shapes))
    suggested = model.config.temperature
    if not old and "temperature" not in flags and suggested != resolved.temperature:
        text = ",".join(f"{t:g}" for t in suggested) if isinstance(suggested, tuple) else f"{suggested:g}"
        note(f"drawn at temperature 1; {folder.name} suggests --temperature {text}")
    return resolved, model


def _possible_threads(file: Path | None, threads: int) -> int:
    """Threads that another machine used, no more than this one can."""
    from vflow.pipelines.common import max_threads

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


def _note_differences(file: Path | None, old: SamplingRecord, sha: str, checkpoint: str | None) -> None:
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
