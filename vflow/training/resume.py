"""Committing a run and taking it up again, the same on all processes."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError

from vflow.checkpoint import save_checkpoint
from vflow.config import Preset, parse
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.models import Model
from vflow.training.commit import commits, newest_commit, write_commit
from vflow.training.launch import restarted
from vflow.training.options import TrainOptions
from vflow.training.progress import Progress
from vflow.training.state import changed_keys, gather, read_state, restore, write_state
from vflow.training.step import Learner


def choose_commit(options: TrainOptions, accelerator: Accelerator) -> Path | None:
    """The commit to continue from, chosen by the main process; None to start afresh.

    A worker that an elastic launcher started again resumes by itself.

    Raises:
        ConfigError: the folder holds a run and ``--resume`` was not given.
        CheckpointError: none of the run's commits is intact.
    """
    found = commits(options.output) if options.output.is_dir() else []
    if found and not options.resume and not restarted():
        raise ConfigError(
            f"{options.output}: holds a run already ({found[-1].name}); add --resume to continue it, "
            "or choose another --output"
        )
    return agreed_commit(options.output, accelerator)


def agreed_commit(run: Path, accelerator: Accelerator) -> Path | None:
    """The newest intact commit, as the main process sees it."""
    answer: list[object] = [None, None]
    if accelerator.is_main_process:
        try:
            answer[0] = newest_commit(run)
        except CheckpointError as error:
            answer[1] = str(error)
    commit, fault = broadcast_object_list(answer)
    if fault:
        raise CheckpointError(fault)
    return commit


def load_commit(commit: Path, learner: Learner, preset: Preset) -> tuple[Progress, list[str]]:
    """Put a commit's tensors into ``learner``; returns progress and the settings that have changed since.

    Raises:
        CheckpointError: the commit is of another model.
    """
    tensors, progress, before = read_state(commit / "state")
    with suppress(ConfigError):  # settings that came later were at their defaults then
        before = parse(Preset, before, str(commit)).model_dump(mode="json")
    changed = changed_keys(before, preset.model_dump(mode="json"))
    model_keys = [key for key in changed if key.startswith("model.")]
    if model_keys:
        raise CheckpointError(
            f"{commit}: trained with another {', '.join(model_keys)}; restore that setting, or start a new "
            f"--output with --init-from {commit / 'model'}"
        )
    restore(tensors, learner.plain, learner.optimizer, learner.ema)
    return progress, [key for key in changed if key != "note"]


def save_commit(
    run: Path, learner: Learner, average: Model, progress: Progress, preset: Preset, keep: int, card: str
) -> None:
    """Commit the run as it stands; the averaged weights become its ``model/``, with the text ``card``.

    Raises:
        InputError: the disk is full or not writable; on all processes, and the last commit is intact.
    """
    accelerator = learner.accelerator
    tensors = gather(learner.plain, learner.optimizer, learner.ema)
    learner.ema.copy_to(average, learner.plain)

    def fill(folder: Path) -> None:
        config = preset.model.model_copy(update={"typical_bits": progress.typical_bits})
        statistics = {"step": progress.step, "val_bits_per_dim": progress.val_bits_per_dim}
        save_checkpoint(folder / "model", average, config=config, card=card, extra=statistics)
        write_state(folder / "state", tensors, progress, preset)

    fault = [""]
    if accelerator.is_main_process:
        try:
            write_commit(run, progress.step, fill, keep)
        except (OSError, SafetensorError) as error:
            fault[0] = disk_fault(run, error)
    if message := broadcast_object_list(fault)[0]:
        raise InputError(message)


def disk_fault(run: Path, error: OSError | SafetensorError) -> str:
    """One line for a file operation that failed: why, what is left, what to do."""
    earlier = commits(run)
    kept = f"{earlier[-1].name} is untouched; " if earlier else ""
    full = any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT))
    if full:
        return f"{run}: the disk is full; {kept}make room (or lower --keep) and run again with --resume"
    return f"{run}: {error}; {kept}mend that and run again with --resume"
