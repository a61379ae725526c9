"""``vflow predict``: futures of clips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vflow.commands.common import (
    NONE_GIVEN,
    CommonFlags,
    Inputs,
    Number,
    Text,
    Whole,
    conclude,
    note,
    progress_bar,
    reporter,
)
from vflow.commands.settings import given, resolve
from vflow.errors import ConfigError

if TYPE_CHECKING:
    from vflow.pipelines.record import Record


Format = Literal["mp4", "webm", "gif", "png", "npz"]


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Draw many futures of a clip."""

    checkpoint: Text = None
    """A directory, a shipped name or a hub id."""
    input: Inputs = ()
    """A video, a folder of frames, an npz, or pictures in the order of time."""
    output: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder for the futures, manifest.jsonl and run.json."""
    num_frames: Whole = None
    """Frames per future (10)."""
    num_samples: Whole = None
    """Futures per clip (8)."""
    temperature: Annotated[Text, tyro.conf.arg(metavar="F")] = None
    """Scale of the noise (1); one number, or one per level, fine to coarse: 0.7,0.8,1."""
    format: Annotated[Format | None, tyro.conf.arg(constructor=Format, help_behavior_hint="")] = None
    """mp4 (the default), webm, gif: enlarged previews; png, npz: native pixels."""
    fps: Number = None
    """Frames per second of previews; the model's when not given."""
    settings: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Settings to repeat (settings.json of the app, run.json of a run); flags given beside it win."""
    on_existing: Literal["skip", "overwrite", "error"] = "skip"
    """Outputs that are there: skip what matches input, settings and checksum; redo all; or refuse."""
    json: bool = False
    """Print the manifest's entries instead of paths."""
    common: CommonFlags = NONE_GIVEN

    def run(self) -> int:
        """Returns 0, or 1 when some items failed."""
        from vflow.pipelines import engine, items
        from vflow.pipelines.futures import FuturesTask

        if self.output is None:
            raise ConfigError("--output: give a folder for the futures")
        found = items.clips(self.input)
        resolved, model = self._resolve()
        flat = resolved.format == "npz" and len(found) == 1
        options = engine.Options(self.output, flat=flat, on_existing=self.on_existing)
        with progress_bar("frame") as progress:
            task = FuturesTask(model, resolved, note, progress)
            summary = engine.run(found, task, options, report=reporter(self.output, self.json))
        return conclude(summary, len(found))

    def _resolve(self) -> tuple[Record, Any]:
        """All settings, and the model."""
        from vflow.pipelines.fitting import video_config
        from vflow.pipelines.record import Record

        flags = given(self, ("checkpoint", "num_frames", "num_samples", "format", "fps"))
        resolved, model = resolve(
            Record, flags, self.settings, lambda model: {"format": "mp4", "fps": video_config(model).fps}
        )
        resolved.settings().levels(len(model.latent_shapes))
        return resolved, model
