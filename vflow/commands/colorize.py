"""``vflow colorize``: colourings of photos and videos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import tyro

from vflow.commands.common import note
from vflow.commands.draw import DrawFlags, resolve
from vflow.flags import Inputs, Number

if TYPE_CHECKING:
    from vflow.pipelines.batch.inputs import Item
    from vflow.pipelines.batch.tasks import ColorizeTask

Format = Literal["png", "mp4", "webm", "gif"]


@dataclass(frozen=True, kw_only=True)
class Colorize(DrawFlags):
    """Draw many colourings of photos, each with the lightness and size of its photo."""

    input: Inputs = ()
    """Photos, videos, or folders of them."""
    strength: Number = None
    """0..1 (1): 0 leaves the photo as it is, 1 gives the sampled colours alone."""
    hints: Annotated[
        tuple[str, ...], tyro.conf.arg(name="hint", metavar="X,Y,#RRGGBB[,REACH]…", help_behavior_hint="")
    ] = ()
    """Colour hints: points whose colour you know, as fractions 0..1 of width and height: 0.25,0.5,#c03020.
    A hint colours the thing that it lies on; with a reach under 1 less of it, up to 2 more."""
    format: Annotated[Format | None, tyro.conf.arg(constructor=Format, help_behavior_hint="")] = None
    """png (of a video a folder of frames); videos also as mp4, webm (with sound), gif (png; videos mp4)."""

    unit: ClassVar[str] = "image"
    families: ClassVar[tuple[str, ...]] = ("colorizer",)
    usual: ClassVar[str | None] = "colorizer"

    def find(self) -> list[Item]:
        """Photos and videos to colour."""
        from vflow.pipelines.batch.inputs import existing, pictures

        return existing(pictures(self.input))

    def open(self) -> tuple[list[Item], ColorizeTask]:
        items = self.find()  # before torch is imported
        from vflow.pipelines.batch.records import ColorRecord
        from vflow.pipelines.batch.tasks import ColorizeTask
        from vflow.pipelines.color.photo import color_config

        record, model = resolve(self, ColorRecord, color_config)
        return items, ColorizeTask(model, record, note)
