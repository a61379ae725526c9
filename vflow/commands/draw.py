"""Shared parts of commands that draw samples: their flags, and the run over items."""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from vflow.commands.common import NONE_GIVEN, CommonFlags, Text, Whole
from vflow.errors import ConfigError

if TYPE_CHECKING:
    from vflow.pipelines.batch.engine import Options, Task
    from vflow.pipelines.batch.inputs import Item
    from vflow.pipelines.batch.tasks import SamplingTask


@dataclass(frozen=True, kw_only=True)
class DrawFlags(ABC):
    """Flags of ``vflow predict``, ``vflow colorize`` and ``vflow digits``."""

    unit: ClassVar[str]
    """Name of what the progress bar counts."""
    folder_per_item: ClassVar[bool] = False
    """True where even an array of a single item lies in a folder of its own."""

    checkpoint: Text = None
    """A directory, a shipped name or a hub id."""
    output: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder for what is drawn, manifest.jsonl and run.json."""
    num_samples: Whole = None
    """Samples per item: futures of a clip, colourings of a photo, digits of a class (8)."""
    temperature: Annotated[Text, tyro.conf.arg(metavar="F")] = None
    """Scale of the noise (1); one number, or one per level, fine to coarse: 0.7,0.8,1."""
    settings: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Settings to repeat (settings.json of the app, run.json of a run); flags on the command line win."""
    on_existing: Literal["skip", "overwrite", "error"] = "skip"
    """Outputs that are there: skip what matches input, settings and checksum; redo all; or refuse."""
    json: bool = False
    """Print the manifest's entries instead of paths."""
    common: CommonFlags = NONE_GIVEN

    @abstractmethod
    def open(self) -> tuple[Sequence[Item], SamplingTask[Any]]:
        """Items to draw for, and the task that draws."""

    def run(self) -> int:
        """Returns 0, or 1 when some items failed."""
        options = self.options()
        items, task = self.open()
        single_array = task.record.format == "npz" and len(items) == 1
        options = replace(options, flat=single_array and not self.folder_per_item)
        with _progress_bar(self.unit) as progress:
            return self.work(items, replace(task, progress=progress), options)

    def options(self) -> Options:
        """The engine's options.

        Raises:
            ConfigError: no output, or a flag out of range.
        """
        from vflow.pipelines.batch.engine import Options

        if self.output is None:
            raise ConfigError("--output: give a folder for what is drawn")
        return Options(self.output, on_existing=self.on_existing)

    def work(self, items: Sequence[Item], task: Task, options: Options) -> int:
        """Run ``task`` over ``items``; returns the exit code, 1 if some failed."""
        from vflow.pipelines.batch import engine

        summary = engine.run(items, task, options, report=self._report)
        count = len(summary.done) + len(summary.failed)
        if count > 1:
            done = f"{len(summary.done)} done ({len(summary.skipped)} of them before)"
            print(f"{count} items: {done}, {len(summary.failed)} failed", file=sys.stderr)
        return 1 if summary.failed else 0

    def _report(self, entry: dict[str, Any]) -> None:
        """Print the path of an item's outputs, or its entry; errors go to stderr."""
        if entry["status"] == "failed":
            print(f"error: {entry['error']}", file=sys.stderr)
        if self.json:
            print(json.dumps(entry), flush=True)
        elif entry["status"] == "done":
            assert self.output is not None
            only = list(entry["outputs"]) if len(entry["outputs"]) == 1 else [entry["item"]]
            print(self.output / only[0], flush=True)


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
