"""Commits: folders that either exist whole, with sizes and SHA-256 of every file, or do not count."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors import SafetensorError

from vflow.checkpoint import save_checkpoint
from vflow.checksum import content_digest
from vflow.config import DataConfig, Preset, parse
from vflow.disk import file_sha256, parse_json, read_regular, real_path, sync
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.models import Model
from vflow.training.args import TrainOptions
from vflow.training.distributed import on_main, restarted
from vflow.training.state import Progress, changed_keys, gather, read_state, restore, write_state
from vflow.training.step import TrainState

COMMIT = "COMMIT.json"
NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EROFS}
"""Errors of file systems without symbolic links: FAT, some network folders, Google Drive in Colab, and
VirtualBox's shared folders (EROFS)."""
SEARCHED = ("video-folder", "photos", "moving-photos")
"""Data sets whose folder is searched to its last corner."""
STEP = re.compile(r"step_(\d{7,})")


def write_commit(run: Path, step: int, fill: Callable[[Path], None], keep: int) -> Path:
    """Let ``fill`` write a folder under a temporary name, seal it, and rename it to step_NNNNNNN.

    A kill at any moment leaves the earlier commits untouched and at worst a ``.tmp`` folder, which the
    next commit removes. Older commits than the ``keep`` newest are pruned afterwards (0 keeps all).

    Raises:
        OSError: from the file system, such as a full disk; nothing is left of the attempt.
    """
    _remove_leftovers(run)
    final, draft = run / f"step_{step:07d}", run / f".tmp_step_{step:07d}"
    try:
        draft.mkdir()
        fill(draft)
        _seal(draft, step)
        if final.exists():  # a damaged one that was passed over, or the same step trained again
            final.rename(run / f".tmp_step_{step:07d}_old")
        draft.rename(final)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        _put_back(run)
        raise
    sync(run)
    shutil.rmtree(run / f".tmp_step_{step:07d}_old", ignore_errors=True)
    _point(run / "last", final.name)
    _prune(run, final, keep)
    return final


def newest_commit(run: Path) -> Path | None:
    """The newest intact commit, None when there has been none; damaged ones are passed over with a warning.

    Raises:
        CheckpointError: there are commits, but none is intact.
    """
    _put_back(run)
    folders = commits(run)
    for folder in reversed(folders):
        fault = find_fault(folder)
        if fault is None:
            return folder
        print(f"warning: {fault}; passing over this commit", file=sys.stderr)
    if folders:
        raise CheckpointError(f"{run}: none of its {len(folders)} commits is intact; choose another --output")
    return None


def commits(run: Path) -> list[Path]:
    """Step folders of a run, oldest first, intact or not."""
    found = [folder for folder in run.glob("step_*") if STEP.fullmatch(folder.name)]
    return sorted(found, key=lambda folder: int(folder.name.removeprefix("step_")))


def find_fault(folder: Path) -> str | None:
    """The first thing wrong with a commit, naming the file; None when it is intact."""
    path = folder / COMMIT
    try:
        content = parse_json(read_regular(path))
        listed = content["files"]
        digest = content.pop("sha256", None)  # None: written before there was one
        whole = content.keys() == {"schema", "step", "files"} and digest in (None, content_digest(content))
        entries = {str(name): (int(entry["bytes"]), str(entry["sha256"])) for name, entry in listed.items()}
    except FileNotFoundError:
        return f"{path} is missing"
    except (OSError, ValueError, OverflowError, KeyError, TypeError, AttributeError):
        return f"{path} is damaged"
    if not whole:
        return f"{path} does not match its own SHA-256"
    for name, (size, digest) in entries.items():
        fault = _file_fault(folder / name, size, digest)
        if fault:
            return fault
    return None


def _file_fault(path: Path, size: int, digest: str) -> str | None:
    try:
        if not path.is_file():
            return f"{path} is missing"
        if path.stat().st_size != size:
            return f"{path} has {path.stat().st_size} bytes instead of {size}"
        return None if file_sha256(path) == digest else f"{path} does not match its SHA-256"
    except OSError as error:  # such as a name that is too long
        return f"{path} cannot be read ({error.strerror})"


def _seal(folder: Path, step: int) -> None:
    """Sync every file, then write and sync COMMIT.json."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in paths:
        sync(path)
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in paths
    }
    content = {"schema": 1, "step": step, "files": files}
    (folder / COMMIT).write_text(json.dumps(content | {"sha256": content_digest(content)}, indent=1))
    sync(folder / COMMIT)
    for inner in [*(path for path in folder.rglob("*") if path.is_dir()), folder]:
        sync(inner)


def _put_back(run: Path) -> None:
    """Give back its name to a commit that a kill between two renames of ``write_commit`` left without it."""
    for old in run.glob(".tmp_step_*_old"):
        final = run / old.name.removeprefix(".tmp_").removesuffix("_old")
        if not final.exists():
            old.rename(final)


def _remove_leftovers(run: Path) -> None:
    _put_back(run)
    for stale in run.glob(".tmp_step_*"):
        shutil.rmtree(stale)


def _point(link: Path, target: str) -> None:
    """Make ``link`` a symbolic link to ``target``, without a moment in which it does not exist.

    A folder in its place, as copying a run without links leaves one, is removed. Where links cannot be made,
    one to an earlier commit is removed too: the newest commit is found without it.
    """
    fresh = link.with_name(f".tmp_{link.name}")
    fresh.unlink(missing_ok=True)
    linked = _make_link(fresh, target)
    copy = None
    if link.is_dir() and not link.is_symlink():
        copy = link.rename(link.with_name(f".tmp_step_{link.name}"))
    if linked:
        fresh.replace(link)
    elif link.is_symlink():
        link.unlink()
    if copy:
        shutil.rmtree(copy)


def _make_link(link: Path, target: str) -> bool:
    """Make a symbolic link; False where that is not possible."""
    if os.name == "nt":  # it takes special rights there, and cannot replace another
        return False
    try:
        link.symlink_to(target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return False
    return True


def make_room(run: Path, commit: Path, keep: int) -> None:
    """Remove what the first commit of a resumed run would, so that a lower ``keep`` helps on a full disk.

    ``commit``, from which the run goes on, and any later than that stay.
    """
    _remove_leftovers(run)
    _prune(run, commit, keep)


def _prune(run: Path, newest: Path, keep: int) -> None:
    """Remove all but the ``keep`` newest commits up to ``newest``; renamed first, so none is half there."""
    folders = commits(run)
    upto = folders[: folders.index(newest) + 1]
    for folder in upto[:-keep] if keep else []:
        doomed = folder.rename(run / f".tmp_{folder.name}")
        shutil.rmtree(doomed)


def check_output(output: Path, data: DataConfig) -> None:
    """Refuse a new run's folder inside its clips or photos, whose sample grids would be some of them.

    Raises:
        ConfigError: naming both folders.
    """
    if data.name not in SEARCHED or data.path is None or commits(output):
        return
    if real_path(output).is_relative_to(real_path(Path(data.path))):
        raise ConfigError(
            f"--output {output}: lies in the data, {data.path}, which the run's samples would become a part "
            "of; choose a folder outside"
        )


def choose_commit(options: TrainOptions, accelerator: Accelerator) -> Path | None:
    """The commit to continue from, chosen by the main process; None to start afresh.

    A worker that an elastic launcher started again resumes by itself.

    Raises:
        ConfigError: the folder holds a run and ``--resume`` was not given, or something else under ``last``.
        CheckpointError: none of the run's commits is intact.
    """
    found = commits(options.output) if options.output.is_dir() else []
    last = options.output / "last"
    if last.exists() and not last.is_symlink() and not _is_copy(last, found):
        raise ConfigError(
            f"{last}: not the link that a run keeps there; move it away, or choose another --output"
        )
    if found and not options.resume and not restarted():
        raise ConfigError(
            f"{options.output}: holds a run already ({found[-1].name}); add --resume to continue it, "
            "or choose another --output"
        )
    return agreed_commit(options.output, accelerator)


def _is_copy(last: Path, found: list[Path]) -> bool:
    """True if the folder ``last`` is a copy of a commit in ``found``, as of a run copied without links."""
    own = _checksums_of(last)
    return own is not None and any(_checksums_of(folder) == own for folder in found)


def _checksums_of(folder: Path) -> bytes | None:
    try:
        return read_regular(folder / COMMIT)
    except OSError:
        return None


def agreed_commit(run: Path, accelerator: Accelerator) -> Path | None:
    """The newest intact commit, as the main process sees it."""
    return on_main(accelerator, lambda: newest_commit(run))


def load_commit(
    commit: Path, state: TrainState, preset: Preset, best: Model | None = None
) -> tuple[Progress, list[str]]:
    """Put a commit's tensors into ``state``, and into ``best`` those that were best for validation.

    Returns progress and the settings that have changed since.

    Raises:
        CheckpointError: the commit is of another model.
    """
    tensors, progress, before = read_state(commit / "state")
    with suppress(ConfigError):  # settings that came later were at their defaults then
        before = parse(Preset, before, str(commit)).model_dump(mode="json")
    changed = changed_keys(before, preset.model_dump(mode="json"))
    model_keys = [key for key in changed if key.startswith("model.")]
    if "model.kind" in model_keys:
        kinds = f"{before['model']['kind']}, not {preset.model.kind}"
        raise CheckpointError(f"{commit}: trained with another model.kind ({kinds}); choose another --output")
    if model_keys:
        raise CheckpointError(
            f"{commit}: trained with another {', '.join(model_keys)}; restore that setting, or start a new "
            f"--output with --init-from {commit / 'model'}"
        )
    restore(tensors, state.plain, state.optimizer, state.ema)
    if best is not None and progress.best_bits is not None:
        best.load_state_dict({name: tensors[f"best.{name}"] for name in best.state_dict()})
    return progress, [key for key in changed if key != "note"]


@dataclass(frozen=True)
class Outcome:
    """Contents of a commit: the model that becomes its ``model/``, with the text ``card``, ``pictures`` by
    name and ``statistics`` of its data; and the weights that were best so far, if the run keeps such.
    """

    model: Model
    card: str
    pictures: dict[str, bytes]
    best: Model | None
    statistics: dict[str, Any]


def save_commit(
    run: Path, state: TrainState, outcome: Outcome, progress: Progress, preset: Preset, keep: int
) -> None:
    """Commit the run as it stands.

    Raises:
        InputError: the disk is full or not writable; on all processes, and the last commit is intact.
    """
    tensors = gather(state.plain, state.optimizer, state.ema)
    if outcome.best is not None:
        tensors |= {
            f"best.{name}": value.cpu().contiguous() for name, value in outcome.best.state_dict().items()
        }

    def fill(folder: Path) -> None:
        config = preset.model.model_copy(update={"validation_bits": progress.validation_bits})
        statistics = {"step": progress.step, "val_bits_per_dim": progress.val_bits_per_dim}
        statistics |= outcome.statistics
        save_checkpoint(folder / "model", outcome.model, config=config, card=outcome.card, extra=statistics)
        for name, content in outcome.pictures.items():
            (folder / "model" / name).write_bytes(content)
        write_state(folder / "state", tensors, progress, preset)

    def write() -> None:
        try:
            write_commit(run, progress.step, fill, keep)
        except (OSError, SafetensorError) as error:
            raise InputError(disk_fault(run, error)) from error

    on_main(state.accelerator, write)


def disk_fault(run: Path, error: OSError | SafetensorError) -> str:
    """One line for a file operation that failed: why, what is left, what to do."""
    earlier = commits(run)
    kept = f"{earlier[-1].name} is untouched; " if earlier else ""
    full = any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT))
    if full:
        fewer = " (or keep fewer commits: --keep 1)" if len(earlier) > 1 else ""
        return f"{run}: the disk is full; {kept}make room{fewer} and run again with --resume"
    return f"{run}: {error}; {kept}mend that and run again with --resume"
