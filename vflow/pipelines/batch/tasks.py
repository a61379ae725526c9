"""Tasks of the engine: futures of a clip, and all tasks of the runner, as files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch

from vflow import checkpoint as checkpoints
from vflow import registry
from vflow.config import parse
from vflow.data import media
from vflow.data.actions import Actions
from vflow.data.rain import color_rain, read_rain
from vflow.devices import choose_device
from vflow.errors import CheckpointError, ConfigError, counted
from vflow.pipelines.batch.inputs import Item
from vflow.pipelines.batch.records import OF_ONE_ITEM, PredictRecord, Record, TaskRecord, record_class
from vflow.pipelines.batch.writers import future_writer
from vflow.pipelines.common import DEFAULT_FPS, Counts, precision, set_threads
from vflow.pipelines.nowcast import check_given, draw_ensemble, given_frames, nowcast_config
from vflow.pipelines.runner import Task
from vflow.pipelines.video.actions import NO_ACTIONS, actions_of
from vflow.pipelines.video.predict import GROUP, groups, prepare
from vflow.randomness import content_hash

if TYPE_CHECKING:
    from torch import nn

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class SamplingTask(ABC, Generic[R]):
    """Task that draws and writes samples of an item.

    Attributes:
        model: from ``vflow.load``.
        record: all settings.
        note: takes remarks for people.
        progress: takes (samples or frames drawn, of how many) of the item at hand.
    """

    model: nn.Module
    record: R
    note: Callable[[str], None] = lambda text: None
    progress: Callable[[int, int], None] = lambda done, total: None

    def run_record(self) -> dict[str, Any]:
        return {key: value for key, value in self.record.fields().items() if key not in OF_ONE_ITEM}

    def cache_key(self) -> dict[str, Any]:
        return self.record.cache_key()

    @abstractmethod
    def run(self, item: Item, folder: Path) -> dict[str, Any]:
        """As for ``engine.Task``."""

    def recipe(self) -> dict[str, Any]:
        """All that ``task_of`` makes the same task of in another process, as JSON takes it."""
        config: Any = self.model.config
        return {"family": config.family, "record": self.record.fields()}

    @property
    def as_array(self) -> bool:
        """True if an item's samples make one array."""
        return bool(self.record.fields().get("format") == "npz")

    def remark(self, item: Item, texts: Iterable[str]) -> None:
        """Pass remarks on, each with the item's name."""
        for text in texts:
            self.note(f"{item.name}: {text}")

    def remark_redraws(self, item: Item, counts: Counts, what: str) -> None:
        if counts.redrawn:
            self.remark(item, [f"{counted(counts.redrawn, what)} drawn again: not finite"])

    def autocast(self) -> AbstractContextManager[object]:
        """Context in which networks compute in the type that the record names."""
        return precision(self.record.dtype, torch.device(self.record.device))


@dataclass(frozen=True)
class PredictTask(SamplingTask[PredictRecord]):
    """``vflow predict`` and ``vflow generate video``: futures in the record's format.

    Attributes:
        batch_size: samples in memory together; the bytes do not depend on it.
        actions: a file of actions, or a folder with one of each clip's name.
    """

    batch_size: int = GROUP
    actions: Path | None = None

    def recipe(self) -> dict[str, Any]:
        actions = None if self.actions is None else str(self.actions)
        return super().recipe() | {"batch_size": self.batch_size, "actions": actions}

    def plan(self, item: Item) -> Actions | None:
        """Actions of an item's frames and of those to come, if there are some."""
        return None if self.actions is None else actions_of(self.model, self.actions, item.name)

    def run(self, item: Item, folder: Path) -> dict[str, Any]:
        record, settings = self.record, self.record.settings()
        clip = media.read_frames(item.paths)
        with self.autocast():
            prepared = prepare(
                self.model, clip, start=record.begins,
                actions=self.plan(item), num_frames=settings.num_frames,
            )  # fmt: skip
            self.remark(item, prepared.notes)
            if prepared.far_outside:
                self.remark(item, ["far from what the model was trained on; expect poor futures"])
            sha = content_hash(prepared.context)
            if record.context_sha not in (None, sha):
                self.remark(item, ["not the input that the settings were made with; futures will differ"])
            drawn = groups(
                self.model, prepared.context, settings, progress=self.progress, size=self.batch_size,
                actions=prepared.actions,
            )  # fmt: skip
            counts, fps = Counts(), record.fps or DEFAULT_FPS
            with future_writer(str(record.format), folder, settings, prepared.context, fps) as write:
                for group in drawn:
                    write(group.first, group.frames)
                    counts = counts.plus(group.counts)
        self.remark_redraws(item, counts, "frame")
        return {
            "checkpoint": record.checkpoint,
            "context_sha": sha,
            "bits_per_dim": prepared.bits,
            **counts._asdict(),
        }


@dataclass(frozen=True)
class NowcastTask(PredictTask):
    """``vflow predict`` of rain radar: members at the radar's own size.

    ``futures.npz`` also holds ``valid``, bool (H, W): where something is known. Previews have rain's colours.
    """

    def run(self, item: Item, folder: Path) -> dict[str, Any]:
        if self.actions is not None:
            raise ConfigError(NO_ACTIONS)
        record, settings = self.record, self.record.settings()
        sequence, config, name = read_rain(item.paths[0]), nowcast_config(self.model), item.paths[0].name
        check_given(sequence.frames, config, name)
        sequence.check_minutes(config.minutes, name)
        context = config.context
        given = given_frames(sequence.frames, context, record.begins)[0]
        with self.autocast():
            ensemble = draw_ensemble(
                self.model, given, settings, valid=sequence.valid, progress=self.progress
            )
        sha = content_hash(given)
        if record.context_sha not in (None, sha):
            self.remark(item, ["not the input that the settings were made with; futures will differ"])
        if record.format == "npz":
            arrays = {"frames": ensemble.frames[..., None], "context": given[..., None]}
            media.write_npz(folder / "futures.npz", **arrays, valid=ensemble.valid)
        else:
            shown, fps = color_rain(given, ensemble.valid), record.fps or DEFAULT_FPS
            with future_writer(str(record.format), folder, settings, shown, fps) as write:
                write(0, color_rain(ensemble.frames, ensemble.valid))
        return {
            "checkpoint": record.checkpoint,
            "context_sha": sha,
            "bits_per_dim": None,
            "nonfinite": ensemble.nonfinite,
        }


@dataclass(frozen=True)
class RunnerTask(SamplingTask[TaskRecord]):
    """A task of the runner, on the engine."""

    runner: Task[Any, Any, Any] = field(kw_only=True)

    def items(self) -> list[Item]:
        """Items of a task that reads no files; raises as ``Task.items``."""
        return self.runner.items(self.model, self.record.settings())

    def cache_key(self) -> dict[str, Any]:
        told = self.runner.told_by_items(self.record.settings())
        return {name: value for name, value in super().cache_key().items() if name not in told}

    def run(self, item: Item, folder: Path) -> dict[str, Any]:
        runner, settings, counts = self.runner, self.record.settings(), Counts()
        given = runner.read(self.model, item, settings)
        told = list(runner.notes(given))
        self.remark(item, told)

        def results() -> Iterator[Any]:
            nonlocal counts
            done, total = 0, runner.total(given, settings)
            for result in runner.iterate(self.model, given, settings):
                counts, done = counts.plus(result.counts), done + result.size
                self.progress(done, max(done, total))
                yield result

        with self.autocast():
            runner.write(folder, given, results(), settings)
        self.remark(item, runner.notes(given)[len(told) :])
        self.remark_redraws(item, counts, runner.unit)
        return {**runner.facts(given), **counts._asdict()}


def task_of(recipe: dict[str, Any]) -> SamplingTask[Any]:
    """Task of a recipe, with its model and as many threads as its record says.

    Raises:
        CheckpointError: no such model here, or another version of it.
    """
    family = registry.families()[recipe["family"]]
    made = registry.resolve(family.task)
    kind = record_class(registry.resolve(family.settings)) if family.settings else PredictRecord
    record: Any = parse(kind, recipe["record"], "settings")
    set_threads(record.threads)
    folder = checkpoints.checkpoint_folder(record.checkpoint, allow_hub=True)
    if checkpoints.checkpoint_hash(folder) != record.checkpoint_hash:
        raise CheckpointError(f"{record.checkpoint}: is another version on this machine; copy the same here")
    model = checkpoints.load(folder, device=choose_device(record.device))
    if family.settings:
        return RunnerTask(model, record, runner=made)
    actions = None if recipe["actions"] is None else Path(recipe["actions"])
    task: PredictTask = made(model, record, batch_size=recipe["batch_size"], actions=actions)
    return task
