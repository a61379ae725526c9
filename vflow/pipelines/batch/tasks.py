"""Tasks of the runner on the engine: samples of an item as files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vflow import checkpoint as checkpoints
from vflow import registry
from vflow.config import parse
from vflow.devices import choose_device
from vflow.errors import CheckpointError, counted
from vflow.pipelines.batch.inputs import Item
from vflow.pipelines.batch.records import OF_ONE_ITEM, Record, record_class
from vflow.pipelines.common import Counts, precision, set_threads
from vflow.pipelines.runner import Task

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class RunnerTask:
    """A task of the runner, which draws and writes samples of an item.

    Attributes:
        model: from ``vflow.load``.
        record: all settings.
        note: takes remarks for people.
        progress: takes (samples or frames drawn, of how many) of the item at hand.
        command: name of the command, which may be a further one of the model's family.
    """

    model: nn.Module
    record: Record
    note: Callable[[str], None] = lambda text: None
    progress: Callable[[int, int], None] = lambda done, total: None
    runner: Task[Any, Any, Any] = field(kw_only=True)
    command: str = ""

    def items(self) -> list[Item]:
        """Items of a task that reads no files; raises as ``Task.items``."""
        return self.runner.items(self.model, self.record.settings())

    def run_record(self) -> dict[str, Any]:
        return {key: value for key, value in self.record.fields().items() if key not in OF_ONE_ITEM}

    def cache_key(self) -> dict[str, Any]:
        told = self.runner.told_by_items(self.record.settings())
        return {name: value for name, value in self.record.cache_key().items() if name not in told}

    def recipe(self) -> dict[str, Any]:
        """All that ``task_of`` makes the same task of in another process, as JSON takes it."""
        config: Any = self.model.config
        options = {
            name: str(each) if isinstance(each, Path) else each for name, each in vars(self.runner).items()
        }
        own = {"family": config.family, "command": self.command}
        return {**own, "record": self.record.fields(), "options": options}

    @property
    def as_array(self) -> bool:
        """True if an item's samples make one array."""
        return bool(self.record.fields().get("format") == "npz")

    def run(self, item: Item, folder: Path) -> dict[str, Any]:
        """As for ``engine.Task``."""
        runner, settings, counts = self.runner, self.record.settings(), Counts()

        def results() -> Iterator[Any]:
            nonlocal counts
            done, total = 0, runner.total(given, settings)
            for result in runner.iterate(self.model, given, settings):
                counts, done = counts.plus(result.counts), done + result.size
                self.progress(done, max(done, total))
                yield result

        with precision(self.record.dtype, torch.device(self.record.device)):
            given = runner.read(self.model, item, settings)
            told = list(runner.notes(given))
            self._remark(item, told)
            runner.write(folder, given, results(), settings)
        self._remark(item, runner.notes(given)[len(told) :])
        if counts.redrawn:
            self._remark(item, [f"{counted(counts.redrawn, runner.unit)} drawn again: not finite"])
        return {"checkpoint": self.record.checkpoint, **runner.facts(given), **counts._asdict()}

    def _remark(self, item: Item, texts: Iterable[str]) -> None:
        """Pass remarks on, each with the item's name."""
        for text in texts:
            self.note(f"{item.name}: {text}")


def task_of(recipe: dict[str, Any]) -> RunnerTask:
    """Task of a recipe, with its model and as many threads as its record says.

    Raises:
        CheckpointError: no such model here, or another version of it.
    """
    task, settings = registry.parts(recipe["family"], recipe["command"])
    record = parse(record_class(settings), recipe["record"], "settings")
    set_threads(record.threads)
    folder = checkpoints.checkpoint_folder(record.checkpoint, allow_hub=True)
    if checkpoints.checkpoint_hash(folder) != record.checkpoint_hash:
        raise CheckpointError(f"{record.checkpoint}: is another version on this machine; copy the same here")
    model = checkpoints.load(folder, device=choose_device(record.device))
    return RunnerTask(model, record, runner=type(task)(**recipe["options"]), command=recipe["command"])
