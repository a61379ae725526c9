"""Shared parts of commands that draw samples: their flags, and the run over items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from vflow.commands.common import NONE_GIVEN, CommonFlags, Text, Whole, reporter
from vflow.errors import ConfigError

if TYPE_CHECKING:
    from vflow.pipelines.batch.engine import Summary, Task
    from vflow.pipelines.batch.inputs import Item


@dataclass(frozen=True, kw_only=True)
class DrawFlags:
    """Flags of ``vflow predict``, ``vflow colorize`` and ``vflow digits``."""

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

    def folder(self) -> Path:
        """Folder of the outputs.

        Raises:
            ConfigError: not given.
        """
        if self.output is None:
            raise ConfigError("--output: give a folder for what is drawn")
        return self.output

    def work(self, items: Sequence[Item], task: Task, *, flat: bool = False) -> Summary:
        """Run ``task`` over ``items``."""
        from vflow.pipelines.batch import engine

        options = engine.Options(self.folder(), flat=flat, on_existing=self.on_existing)
        return engine.run(items, task, options, report=reporter(self.folder(), self.json))
