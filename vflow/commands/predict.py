"""``vflow predict``: futures of clips."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from vflow import registry
from vflow.catalog import AUTO
from vflow.commands.common import chosen_checkpoints, note, parse_temperature
from vflow.commands.draw import RunFlags, resolve
from vflow.errors import ConfigError
from vflow.flags import File, Inputs, Number, Text, Whole
from vflow.remote import as_url

if TYPE_CHECKING:
    from vflow.config import NowcastConfig, VideoConfig
    from vflow.pipelines.batch.inputs import Item
    from vflow.pipelines.batch.tasks import PredictTask

Format = Literal["mp4", "webm", "gif", "png", "npz"]
Place = Literal["start", "end"]


@dataclass(frozen=True, kw_only=True)
class Predict(RunFlags):
    """Draw many futures of a clip."""

    input: Inputs = ()
    """A video, a folder of frames, an npz, images in the order of time, or a folder of several clips."""
    num_samples: Whole = None
    """Samples per clip (8; members of rain 20)."""
    temperature: Annotated[Text, tyro.conf.arg(metavar="F")] = None
    """Scale of the noise (as the checkpoint suggests): one number, or one per level, fine to coarse. Below 1,
    rare modes of shapes, grasp and push-wavelet also become rarer, as do displacements of shapes-guided."""
    num_frames: Whole = None
    """Frames per future (10; of rain 6)."""
    actions: File = None
    """Numbers that come with frames (a robot's commands), for a model that takes some: a CSV or npz with a
    row for each frame of the clip and then each to come, or a folder with such a file of each clip's name."""
    context_at: Annotated[Place | None, tyro.conf.arg(constructor=Place, help_behavior_hint="")] = None
    """Frames of a clip that the model sees: those at its end (the default), or at its start."""
    start: Whole = None
    """First frame that the model sees, counted from 0 at its rate, in place of --context-at."""
    format: Annotated[Format | None, tyro.conf.arg(constructor=Format, help_behavior_hint="")] = None
    """mp4 (the default), webm, gif: enlarged previews; png, npz: native pixels."""
    fps: Number = None
    """Frames per second of previews; the model's when not given."""

    unit: ClassVar[str] = "frame"
    usual: ClassVar[str] = AUTO
    families: ClassVar[tuple[str, ...]] = ("videoflow", "nowcast")

    def check_settings(self) -> None:
        from vflow.config.ranges import MAX_FPS, MAX_FRAMES, MAX_SAMPLES, MIN_FPS, check_range

        if self.num_samples is not None:
            check_range("num_samples", self.num_samples, 1, MAX_SAMPLES)
        if self.temperature is not None:
            parse_temperature(self.temperature)
        if self.start is not None and self.start < 0:
            raise ConfigError(f"start must be 0 or more, not {self.start}")
        if self.num_frames is not None:
            check_range("num_frames", self.num_frames, 1, MAX_FRAMES)
        if self.fps is not None:
            check_range("fps", self.fps, MIN_FPS, MAX_FPS)

    def find(self) -> list[Item]:
        """Clips to predict."""
        from vflow.pipelines.batch.inputs import clips, existing

        return existing(clips(self.input))

    def open(self) -> tuple[list[Item], PredictTask]:
        items = self.find()  # before torch is imported
        return items, self.task()

    def task(self) -> PredictTask:
        """Task that draws with the checkpoint of the flags or the settings file."""
        from vflow.data.actions import actions_sha
        from vflow.pipelines.batch.records import PredictRecord
        from vflow.pipelines.video.preprocess import prediction_config

        record, model = resolve(self, PredictRecord, prediction_config, _defaults)
        made = registry.resolve(registry.families()[model.config.family].task)
        sha = None if self.actions is None else actions_sha(self.actions)
        if record.actions_sha not in (None, sha):
            note("not the actions that the settings were made with; futures will differ")
        record = record.model_copy(update={"actions_sha": sha})
        task: PredictTask = replace(made(model, record, note), actions=self.actions)
        return task

    def run(self) -> int:
        if self.checkpoint != AUTO and (self.checkpoint or self.settings):
            return super().run()
        self.check()
        items, failed = self.find(), 0
        chosen = chosen_checkpoints(items, "futures", self.families)
        if len(chosen) > 1 and self.output and as_url(self.output):
            raise ConfigError(f"--checkpoint: {self.output} takes results of one model; name it")
        for name, own in chosen.items():
            command = replace(self, checkpoint=name)
            failed = max(failed, command.draw(own, command.task(), len(items) > 1))
        return failed


def _defaults(config: VideoConfig | NowcastConfig) -> dict[str, Any]:
    """Settings that a model suggests: the form of previews, and how many members and frames of rain."""
    from vflow.pipelines.nowcast import FRAMES, MEMBERS

    size = {"num_samples": MEMBERS, "num_frames": FRAMES} if config.family == "nowcast" else {}
    return {"format": "mp4", "fps": config.fps, **size}
