"""``vflow generate``: predict, colorize and digits for folders and clusters."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from vflow.commands.colorize import Colorize
from vflow.commands.common import Inputs, Text, Whole, note, progress_bar, report_summary, reporter
from vflow.commands.digits import Digits
from vflow.commands.draw import DrawFlags
from vflow.commands.predict import Predict
from vflow.errors import ConfigError

if TYPE_CHECKING:
    from vflow.pipelines.batch.engine import Options, Task
    from vflow.pipelines.batch.inputs import Item

MAX_BATCH = 10_000


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Flags of every ``vflow generate``."""

    shard: Annotated[Text, tyro.conf.arg(metavar="I/N")] = None
    """Every N-th item from the I-th, 1/1 to N/N; under accelerate launch or torchrun, one per process."""
    batch_size: Whole = None
    """Samples of a video in memory together (64); schedules only, no byte depends on it."""
    on_error: Literal["continue", "fail"] = "continue"
    """An item that cannot be used: go on with the next, or stop."""
    dry_run: bool = False
    """Print the items and whether each is done; write nothing."""


BatchFlags = Annotated[Batch, tyro.conf.arg(name="")]
ALL = Batch()


@dataclass(frozen=True, kw_only=True)
class GenerateVideo(Predict):
    """Draw futures of every clip of folders, globs and manifests."""

    input: Inputs = ()
    """Clips, folders of them, globs in quotes, or JSONL manifests: {"input": …, "name": …}."""
    batch: BatchFlags = ALL

    def run(self) -> int:
        """Returns 0, or 1 when some items failed."""
        from vflow.pipelines.batch.inputs import sources
        from vflow.pipelines.batch.tasks import PredictTask
        from vflow.pipelines.video.predict import GROUP

        options = _options(self, self.batch)
        found = sources(self.input, "clip", self.output)
        resolved, model = self._resolve()
        with progress_bar("frame") as progress:
            size = self.batch.batch_size or GROUP
            task = PredictTask(model, resolved, note, progress, size)
            return _work(found, task, options, self.batch, self.json)


@dataclass(frozen=True, kw_only=True)
class GenerateColorize(Colorize):
    """Draw colourings of every photo of folders, globs and manifests."""

    input: Inputs = ()
    """Photos, videos, folders of them, globs in quotes, or JSONL manifests: {"input": …, "name": …}."""
    batch: BatchFlags = ALL

    def run(self) -> int:
        """Returns 0, or 1 when some photos failed."""
        from vflow.pipelines.batch.inputs import sources
        from vflow.pipelines.batch.tasks import ColorizeTask

        options = _options(self, self.batch)
        found = sources(self.input, "picture", self.output)
        resolved, model = self._resolve()
        with progress_bar("picture") as progress:
            task = ColorizeTask(model, resolved, note, progress)
            return _work(found, task, options, self.batch, self.json)


@dataclass(frozen=True, kw_only=True)
class GenerateDigits(Digits):
    """Draw digits of every class asked for; a class is an item (all of them together, as npz)."""

    batch: BatchFlags = ALL

    def run(self) -> int:
        """Returns 0, or 1 when some classes failed."""
        from vflow.pipelines.batch.tasks import DigitsTask

        options = _options(self, self.batch)
        resolved, model = self._resolve()
        options = replace(options, flat=resolved.format == "npz")
        with progress_bar("digit") as progress:
            task = DigitsTask(model, resolved, note, progress)
            return _work(task.items(), task, options, self.batch, self.json)


Generate = (
    Annotated[GenerateVideo, tyro.conf.subcommand("video", prefix_name=False)]
    | Annotated[GenerateColorize, tyro.conf.subcommand("colorize", prefix_name=False)]
    | Annotated[GenerateDigits, tyro.conf.subcommand("digits", prefix_name=False)]
)
"""Flags that tyro parses: the word after ``generate`` chooses."""


def _options(command: DrawFlags, batch: Batch) -> Options:
    """The engine's options.

    Raises:
        ConfigError: no output, or a flag out of range.
    """
    from vflow.pipelines.batch.engine import Options

    output = command.folder()
    if batch.batch_size is not None and not 1 <= batch.batch_size <= MAX_BATCH:
        raise ConfigError(f"--batch-size {batch.batch_size}: must lie in 1..{MAX_BATCH}")
    shard = parse_shard(batch.shard) if batch.shard else shard_of_process(os.environ)
    return Options(output, on_existing=command.on_existing, on_error=batch.on_error, shard=shard)


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


def _work(items: Sequence[Item], task: Task, options: Options, batch: Batch, as_json: bool) -> int:
    """Run the engine, or with --dry-run print its plan; returns the exit code."""
    from vflow.pipelines.batch import engine

    if batch.dry_run:
        _print_plan(engine.plan(items, task, options), as_json)
        return 0
    summary = engine.run(items, task, options, report=reporter(options.output, as_json))
    code = report_summary(summary, len(summary.done) + len(summary.failed))
    if code and shard_of_process(os.environ)[1] > 1:
        # A launcher ends all processes when one returns an error; the others' items are not to blame.
        note("exit code 0, so that the launcher lets other processes finish; the manifests have what failed")
        return 0
    return code


def _print_plan(plan: Sequence[tuple[Item, bool]], as_json: bool) -> None:
    for item, done in plan:
        status, inputs = "done" if done else "to do", [str(path) for path in item.paths]
        if as_json:
            print(json.dumps({"item": item.name, "inputs": inputs, "status": status}))
        else:
            print(f"{status}: {item.name}" + (f" ← {', '.join(inputs)}" if inputs else ""))
