"""Flags of ``vflow predict`` that no settings have: actions, and the choice of a checkpoint for each clip."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from vflow import registry
from vflow.catalog import AUTO
from vflow.commands.common import chosen_checkpoints, note
from vflow.commands.draw import TaskFlags
from vflow.errors import ConfigError
from vflow.flags import File
from vflow.remote import as_url

if TYPE_CHECKING:
    from vflow.pipelines.batch.tasks import RunnerTask


@dataclass(frozen=True, kw_only=True)
class PredictFlags(TaskFlags):
    """Flags of futures beside their settings."""

    actions: File = None
    """Numbers that come with frames (a robot's commands), for a model that takes some: a CSV or npz with a
    row for each frame of the clip and then each to come, or a folder with such a file of each clip's name."""

    def task(self) -> RunnerTask:
        from vflow.data.actions import actions_sha

        task = super().task()
        sha = None if self.actions is None else actions_sha(self.actions)
        if task.record.settings().actions_sha not in (None, sha):
            note("not the actions that the settings were made with; futures will differ")
        record, runner = task.record.model_copy(update={"actions_sha": sha}), cast(Any, task.runner)
        return replace(task, record=record, runner=replace(runner, actions=self.actions))

    def run(self) -> int:
        if self.checkpoint != AUTO and (self.checkpoint or self.settings):
            return super().run()
        self.check()
        items, failed = self.find(), 0
        chosen = chosen_checkpoints(items, "futures", registry.served(self.family))
        if len(chosen) > 1 and self.output and as_url(self.output):
            raise ConfigError(f"--checkpoint: {self.output} takes results of one model; name it")
        for name, own in chosen.items():
            command = replace(self, checkpoint=name)
            failed = max(failed, command.draw(own, command.task(), len(items) > 1))
        return failed
