"""``vflow colorize``: colourings of photographs and films."""

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
    from vflow.pipelines.color_task import ColorRecord

Format = Literal["png", "mp4", "webm", "gif"]


@dataclass(frozen=True, kw_only=True)
class Colorize:
    """Draw many colourings of photographs, each with the lightness and size of its photo."""

    checkpoint: Text = None
    """A directory, a shipped name or a hub id."""
    input: Inputs = ()
    """Photos, videos, or folders of them."""
    output: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder for a folder per photo (DIR/NAME/s000.png, …), manifest.jsonl and run.json."""
    num_samples: Whole = None
    """Colourings per photo (8)."""
    temperature: Annotated[Text, tyro.conf.arg(metavar="F")] = None
    """Scale of the noise (1); one number, or one per level, fine to coarse."""
    strength: Number = None
    """0..1 (1): 0 leaves the photo as it is, 1 gives the sampled colours alone."""
    hint: Annotated[tuple[str, ...], tyro.conf.arg(metavar="X,Y,#RRGGBB…", help_behavior_hint="")] = ()
    """Points whose colour is known, as fractions 0..1 of width and height: 0.25,0.5,#c03020."""
    format: Annotated[Format | None, tyro.conf.arg(constructor=Format, help_behavior_hint="")] = None
    """png for photos and films as folders; mp4, webm, gif: previews of films, without sound (png, mp4)."""
    settings: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Settings to repeat (settings.json of the app, run.json of a run); flags given beside it win."""
    on_existing: Literal["skip", "overwrite", "error"] = "skip"
    """Outputs that are there: skip what matches input, settings and checksum; redo all; or refuse."""
    json: bool = False
    """Print the manifest's entries instead of paths."""
    common: CommonFlags = NONE_GIVEN

    def run(self) -> int:
        """Returns 0, or 1 when some photos failed."""
        from vflow.pipelines import engine, items
        from vflow.pipelines.color_task import ColorTask

        if self.output is None:
            raise ConfigError("--output: give a folder for the pictures")
        found = items.pictures(self.input)
        resolved, model = self._resolve()
        options = engine.Options(self.output, on_existing=self.on_existing)
        with progress_bar("picture") as progress:
            task = ColorTask(model, resolved, note, progress)
            summary = engine.run(found, task, options, report=reporter(self.output, self.json))
        return conclude(summary, len(found))

    def _resolve(self) -> tuple[ColorRecord, Any]:
        """All settings, and the model."""
        from vflow.pipelines.color.photo import color_config
        from vflow.pipelines.color_task import ColorRecord

        def defaults(model: Any) -> dict[str, Any]:
            color_config(model)  # another kind of model is refused before its settings are looked at
            return {}

        flags = given(self, ("checkpoint", "num_samples", "strength", "format"))
        flags |= {"hints": self.hint} if self.hint else {}
        resolved, model = resolve(ColorRecord, flags, self.settings, defaults)
        resolved.settings().levels(len(model.latent_shapes))
        return resolved, model
