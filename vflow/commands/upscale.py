"""``vflow upscale``: enlarged photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import tyro

from vflow.commands.common import note
from vflow.commands.draw import DrawFlags, resolve
from vflow.flags import Inputs

if TYPE_CHECKING:
    from vflow.pipelines.batch.inputs import Item
    from vflow.pipelines.batch.tasks import UpscaleTask

Scale = Literal[2, 4]


@dataclass(frozen=True, kw_only=True)
class Upscale(DrawFlags):
    """Draw many enlargements of photos; their block means are the photo's own pixels."""

    input: Inputs = ()
    """Photos, or folders of them."""
    scale: Annotated[Scale | None, tyro.conf.arg(constructor=Scale, help_behavior_hint="")] = None
    """2 or 4 times the width and height (4)."""

    unit: ClassVar[str] = "image"
    families: ClassVar[tuple[str, ...]] = ("super_resolution",)
    usual: ClassVar[str | None] = "enlarge"

    def open(self) -> tuple[list[Item], UpscaleTask]:
        from vflow.pipelines.batch.inputs import existing, pictures

        items = existing(pictures(self.input))  # before torch is imported
        from vflow.pipelines.batch.records import UpscaleRecord
        from vflow.pipelines.batch.tasks import UpscaleTask
        from vflow.pipelines.upscale import super_resolution_config

        record, model = resolve(self, UpscaleRecord, super_resolution_config)
        return items, UpscaleTask(model, record, note)
