"""``vflow generate``: predict and the tasks of the registry, for folders and clusters."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from vflow.commands.common import note
from vflow.commands.draw import TaskFlags
from vflow.commands.task import command_class
from vflow.errors import ConfigError, printable
from vflow.flags import Number, Text, Whole
from vflow.registry import generated
from vflow.remote import as_url

if TYPE_CHECKING:
    from vflow.pipelines.batch.engine import Options, Summary
    from vflow.pipelines.batch.inputs import Item
    from vflow.pipelines.batch.launchers import Launcher
    from vflow.pipelines.batch.tasks import RunnerTask

MAX_BATCH, MAX_WORKERS, MAX_MEMORY = 10_000, 10_000, 10_000


@dataclass(frozen=True, kw_only=True)
class Batch(TaskFlags):
    """Flags of every ``vflow generate``."""

    more_inputs: ClassVar[str] = (
        'Also globs in quotes, and JSONL manifests: {"input": …, "name": …}; all may be s3://….'
    )

    shard: Annotated[Text, tyro.conf.arg(metavar="I/N")] = None
    """Every N-th item from the I-th, 1/1 to N/N; under accelerate launch or torchrun, one per process."""
    on_error: Literal["continue", "fail"] = "continue"
    """If an item cannot be used: continue with the next, or stop."""
    dry_run: bool = False
    """Print the items and whether each is done; write nothing."""
    engine: Literal["local", "ray", "slurm"] = "local"
    """Run here, by Ray (on this machine, or on the cluster of RAY_ADDRESS), or as arrays of Slurm (SBATCH_…
    variables name partition, account and time)."""
    workers: Whole = None
    """Processes of Ray or Slurm at once (2), each with as many processors as --threads says."""
    worker_memory: Number = None
    """GB of memory that each of them reserves, and on Linux may use at most; no bound when not given."""

    def find(self) -> list[Item]:
        from vflow.pipelines.batch.inputs import sources

        given = getattr(self, "input", None)
        return [] if given is None else sources(given, self.about.item, self.output)

    def check(self) -> None:
        if self.engine == "local" and (self.workers, self.worker_memory) != (None, None):
            raise ConfigError("--workers, --worker-memory: are for --engine ray or slurm; add one")
        if self.workers is not None and not 1 <= self.workers <= MAX_WORKERS:
            raise ConfigError(f"--workers {self.workers}: must be between 1 and {MAX_WORKERS}")
        if self.worker_memory is not None and not 0 < self.worker_memory <= MAX_MEMORY:
            raise ConfigError(f"--worker-memory {self.worker_memory}: must be between 0 and {MAX_MEMORY}")
        if self.shard:
            parse_shard(self.shard)
        super().check()

    def options(self) -> Options:
        options = super().options()
        shard = parse_shard(self.shard) if self.shard else shard_of_process(os.environ)
        return replace(options, on_error=self.on_error, shard=shard)

    def launcher(self, threads: int) -> Launcher:
        """Launcher of the processes, with ``threads`` each."""
        from vflow.pipelines.batch.launchers import Launcher

        assert self.engine != "local" and self.output is not None
        folder = Path(".vflow-slurm") if as_url(self.output) else self.output / ".slurm"
        return Launcher(self.engine, self.workers or 2, threads, self.worker_memory, folder.absolute())

    def execute(self, items: Sequence[Item], task: RunnerTask, options: Options) -> Summary:
        if self.engine == "local":
            return super().execute(items, task, options)
        from vflow.pipelines.batch import distribute

        launcher = self.launcher(task.record.threads)
        report = partial(self.report, store=options.store)
        return distribute.run(items, task, options, launcher, report=report)

    def work(self, items: Sequence[Item], task: RunnerTask, options: Options) -> int:
        """Run the engine, or with --dry-run print its plan; returns the exit code."""
        from vflow.pipelines.batch import engine

        if self.dry_run:
            _print_plan(engine.plan(items, task, options), self.json)
            return 0
        code = super().work(items, task, options)
        if not code or shard_of_process(os.environ)[1] == 1:
            return code
        # A launcher ends all processes when one returns an error; the others' items are not to blame.
        note("exit code 0, so that the launcher lets other processes finish; the manifests have what failed")
        return 0


@dataclass(frozen=True, kw_only=True)
class GenerateTask(Batch):
    """Flags of ``vflow generate`` with a task that draws whole items at once."""

    unused: ClassVar[tuple[str, ...]] = ("--batch-size",)


@dataclass(frozen=True, kw_only=True)
class GenerateVideo(Batch):
    """Flags of ``vflow generate video``."""

    batch_size: Whole = None
    """Futures of a clip drawn at once (64; rain: always 4 members); outputs do not depend on it."""
    folder_per_item: ClassVar[bool] = True

    def check(self) -> None:
        if self.batch_size is not None and not 1 <= self.batch_size <= MAX_BATCH:
            raise ConfigError(f"--batch-size {self.batch_size}: must be between 1 and {MAX_BATCH}")
        super().check()

    def task(self) -> RunnerTask:
        task = super().task()
        runner: Any = task.runner
        return replace(task, runner=replace(runner, batch_size=self.batch_size or runner.batch_size))


def choices() -> dict[str, Any]:
    """Flags of ``vflow generate``, by the word after it."""
    own = {"predict": ("video", GenerateVideo)}
    made = {name: (*own.get(name, (name, GenerateTask)), *task) for name, task in generated().items()}
    return {
        word: command_class(family, base, further=about if about.task else None)
        for word, base, family, about in made.values()
    }


def parse_shard(text: str) -> tuple[int, int]:
    """``"2/3"`` → (2, 3).

    Raises:
        ConfigError: not I/N with 1 ≤ I ≤ N.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    index, count = map(int, found.groups()) if found else (0, 0)
    if not 1 <= index <= count:
        raise ConfigError(f"--shard {text}: give I/N, from 1/N to N/N")
    return index, count


def shard_of_process(environment: Mapping[str, str]) -> tuple[int, int]:
    """Shard of this process among those that a launcher started; (1, 1) without one."""
    if not all(name in environment for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")):
        return 1, 1
    return int(environment["RANK"]) + 1, int(environment["WORLD_SIZE"])


def _print_plan(plan: Sequence[tuple[Item, bool]], as_json: bool) -> None:
    for item, done in plan:
        status, inputs = "done" if done else "to do", [str(path) for path in item.paths]
        if as_json:
            print(json.dumps({"item": item.name, "inputs": inputs, "status": status}))
        else:
            print(printable(f"{status}: {item.name}" + (f" ← {', '.join(inputs)}" if inputs else "")))
