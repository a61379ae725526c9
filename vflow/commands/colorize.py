"""``vflow colorize``: colourings of photographs and films."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vflow.commands.common import Inputs, Number, note, progress_bar, report_summary
from vflow.commands.draw import DrawFlags
from vflow.commands.settings import given_flags, resolve

if TYPE_CHECKING:
    from vflow.pipelines.batch.records import ColorRecord

Format = Literal["png", "mp4", "webm", "gif"]


@dataclass(frozen=True, kw_only=True)
class Colorize(DrawFlags):
    """Draw many colourings of photographs, each with the lightness and size of its photo."""

    input: Inputs = ()
    """Photos, videos, or folders of them."""
    strength: Number = None
    """0..1 (1): 0 leaves the photo as it is, 1 gives the sampled colours alone."""
    hint: Annotated[tuple[str, ...], tyro.conf.arg(metavar="X,Y,#RRGGBB…", help_behavior_hint="")] = ()
    """Points whose colour is known, as fractions 0..1 of width and height: 0.25,0.5,#c03020."""
    format: Annotated[Format | None, tyro.conf.arg(constructor=Format, help_behavior_hint="")] = None
    """png for photos and films as folders; mp4, webm, gif: previews of films, without sound (png, mp4)."""

    def run(self) -> int:
        """Returns 0, or 1 when some photos failed."""
        from vflow.pipelines.batch import inputs as items
        from vflow.pipelines.batch.tasks import ColorizeTask

        self.folder()
        found = items.pictures(self.input)
        resolved, model = self._resolve()
        with progress_bar("picture") as progress:
            summary = self.work(found, ColorizeTask(model, resolved, note, progress))
        return report_summary(summary, len(found))

    def _resolve(self) -> tuple[ColorRecord, Any]:
        """All settings, and the model."""
        from vflow.pipelines.batch.records import ColorRecord
        from vflow.pipelines.color.photo import color_config

        def defaults(model: Any) -> dict[str, Any]:
            color_config(model)  # another kind of model is refused before its settings are looked at
            return {}

        flags = given_flags(self, ("checkpoint", "num_samples", "strength", "format"))
        flags |= {"hints": self.hint} if self.hint else {}
        resolved, model = resolve(ColorRecord, flags, self.settings, defaults)
        resolved.settings().levels(len(model.latent_shapes))
        return resolved, model
