"""``vflow predict``: futures of clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vflow.commands.common import Inputs, Number, Whole, note, progress_bar, report_summary
from vflow.commands.draw import DrawFlags
from vflow.commands.settings import given_flags, resolve

if TYPE_CHECKING:
    from vflow.pipelines.batch.records import PredictRecord


Format = Literal["mp4", "webm", "gif", "png", "npz"]


@dataclass(frozen=True, kw_only=True)
class Predict(DrawFlags):
    """Draw many futures of a clip."""

    input: Inputs = ()
    """A video, a folder of frames, an npz, or pictures in the order of time."""
    num_frames: Whole = None
    """Frames per future (10)."""
    format: Annotated[Format | None, tyro.conf.arg(constructor=Format, help_behavior_hint="")] = None
    """mp4 (the default), webm, gif: enlarged previews; png, npz: native pixels."""
    fps: Number = None
    """Frames per second of previews; the model's when not given."""

    def run(self) -> int:
        """Returns 0, or 1 when some clips failed."""
        from vflow.pipelines.batch import inputs as items
        from vflow.pipelines.batch.tasks import PredictTask

        self.folder()
        found = items.clips(self.input)
        resolved, model = self._resolve()
        with progress_bar("frame") as progress:
            task = PredictTask(model, resolved, note, progress)
            summary = self.work(found, task, flat=resolved.format == "npz" and len(found) == 1)
        return report_summary(summary, len(found))

    def _resolve(self) -> tuple[PredictRecord, Any]:
        """All settings, and the model."""
        from vflow.pipelines.batch.records import PredictRecord
        from vflow.pipelines.video.preprocess import video_config

        flags = given_flags(self, ("checkpoint", "num_frames", "num_samples", "format", "fps"))
        resolved, model = resolve(
            PredictRecord,
            flags,
            self.settings,
            lambda model: {"format": "mp4", "fps": video_config(model).fps},
        )
        resolved.settings().levels(len(model.latent_shapes))
        return resolved, model
