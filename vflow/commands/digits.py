"""``vflow digits``: handwritten digits by class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vflow.commands.common import (
    NONE_GIVEN,
    CommonFlags,
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
    from vflow.pipelines.digits_task import DigitsRecord

Format = Literal["png", "npz"]


@dataclass(frozen=True, kw_only=True)
class Digits:
    """Draw handwritten digits by class."""

    checkpoint: Text = None
    """A directory, a shipped name or a hub id."""
    label: Annotated[Text, tyro.conf.arg(metavar="0..9|all")] = None
    """The class to draw; all when not given."""
    output: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder for the digits, manifest.jsonl and run.json."""
    num_samples: Whole = None
    """Digits per class (8)."""
    temperature: Annotated[Text, tyro.conf.arg(metavar="F")] = None
    """Scale of the noise (1); one number, or one per level, fine to coarse: 0.7,0.8."""
    format: Annotated[Format | None, tyro.conf.arg(constructor=Format, help_behavior_hint="")] = None
    """png (the default): DIR/CLASS/s000.png, 28×28; npz: DIR/digits.npz with images and labels."""
    settings: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Settings to repeat (settings.json of the app, run.json of a run); flags given beside it win."""
    on_existing: Literal["skip", "overwrite", "error"] = "skip"
    """Outputs that are there: skip what matches settings and checksum; redo all; or refuse."""
    json: bool = False
    """Print the manifest's entries instead of paths."""
    common: CommonFlags = NONE_GIVEN

    def run(self) -> int:
        """Returns 0, or 1 when some classes failed."""
        from vflow.pipelines import engine
        from vflow.pipelines.digits_task import DigitsTask

        if self.output is None:
            raise ConfigError("--output: give a folder for the digits")
        resolved, model = self._resolve()
        options = engine.Options(self.output, flat=resolved.format == "npz", on_existing=self.on_existing)
        with progress_bar("digit") as progress:
            task = DigitsTask(model, resolved, note, progress)
            items = task.items()
            summary = engine.run(items, task, options, report=reporter(self.output, self.json))
        return conclude(summary, len(items))

    def _resolve(self) -> tuple[DigitsRecord, Any]:
        """All settings, and the model."""
        from vflow.pipelines.digits import chosen, digits_config
        from vflow.pipelines.digits_task import DigitsRecord

        def defaults(model: Any) -> dict[str, Any]:
            digits_config(model)  # another kind of model is refused before its settings are looked at
            return {}

        flags = given(self, ("checkpoint", "label", "num_samples", "format"))
        resolved, model = resolve(DigitsRecord, flags, self.settings, defaults)
        chosen(resolved.label, digits_config(model).classes)
        resolved.settings().levels(len(model.latent_shapes))
        return resolved, model
