"""``vflow digits``: handwritten digits by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vflow.commands.common import Text, note, progress_bar, report_summary
from vflow.commands.draw import DrawFlags
from vflow.commands.settings import given_flags, resolve

if TYPE_CHECKING:
    from vflow.pipelines.batch.records import DigitsRecord

Format = Literal["png", "npz"]


@dataclass(frozen=True, kw_only=True)
class Digits(DrawFlags):
    """Draw handwritten digits by class."""

    label: Annotated[Text, tyro.conf.arg(metavar="0..9|all")] = None
    """The class to draw; all when not given."""
    format: Annotated[Format | None, tyro.conf.arg(constructor=Format, help_behavior_hint="")] = None
    """png (the default): DIR/CLASS/s000.png, 28×28; npz: DIR/digits.npz with images and labels."""

    def run(self) -> int:
        """Returns 0, or 1 when some classes failed."""
        from vflow.pipelines.batch.tasks import DigitsTask

        self.folder()
        resolved, model = self._resolve()
        with progress_bar("digit") as progress:
            task = DigitsTask(model, resolved, note, progress)
            items = task.items()
            summary = self.work(items, task, flat=resolved.format == "npz")
        return report_summary(summary, len(items))

    def _resolve(self) -> tuple[DigitsRecord, Any]:
        """All settings, and the model."""
        from vflow.pipelines.batch.records import DigitsRecord
        from vflow.pipelines.digits.digits import digits_config, label_classes

        def defaults(model: Any) -> dict[str, Any]:
            digits_config(model)  # another kind of model is refused before its settings are looked at
            return {}

        flags = given_flags(self, ("checkpoint", "label", "num_samples", "format"))
        resolved, model = resolve(DigitsRecord, flags, self.settings, defaults)
        label_classes(resolved.label, digits_config(model).classes)
        resolved.settings().levels(len(model.latent_shapes))
        return resolved, model
