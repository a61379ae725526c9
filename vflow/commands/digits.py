"""``vflow digits``: handwritten digits by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import tyro

from vflow.commands.common import note
from vflow.commands.draw import DrawFlags, resolve
from vflow.flags import Text

if TYPE_CHECKING:
    from vflow.pipelines.batch.inputs import Item
    from vflow.pipelines.batch.tasks import DigitsTask

Format = Literal["png", "npz"]


@dataclass(frozen=True, kw_only=True)
class Digits(DrawFlags):
    """Draw handwritten digits by class."""

    label: Annotated[Text, tyro.conf.arg(metavar="0..9|all")] = None
    """The class to draw; all when not given."""
    format: Annotated[Format | None, tyro.conf.arg(constructor=Format, help_behavior_hint="")] = None
    """png (the default): DIR/CLASS/s000.png, 28×28; npz: DIR/digits.npz with images and labels."""

    unit: ClassVar[str] = "digit"
    families: ClassVar[tuple[str, ...]] = ("digits",)
    usual: ClassVar[str | None] = "digits"

    def open(self) -> tuple[list[Item], DigitsTask]:
        from vflow.pipelines.batch.records import DigitsRecord
        from vflow.pipelines.batch.tasks import DigitsTask
        from vflow.pipelines.digits.digits import digits_config

        record, model = resolve(self, DigitsRecord, digits_config)
        task = DigitsTask(model, record, note)
        return task.items(), task
