"""Flags of ``vflow predict`` that no settings have: actions, and the choice of a checkpoint for each clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from vflow import registry
from vflow.commands.common import chosen_checkpoints, note
from vflow.commands.draw import TaskFlags
from vflow.flags import File

if TYPE_CHECKING:
    from vflow.pipelines.batch.inputs import Item
    from vflow.pipelines.batch.tasks import RunnerTask


@dataclass(frozen=True, kw_only=True)
class PredictFlags(TaskFlags):
    """Flags of futures beside their settings."""

    purpose: ClassVar[Literal["futures", "bits"]] = "futures"
    """What a checkpoint is chosen for."""

    actions: File = None
    """Numbers that come with frames (a robot's commands), for a model that takes some: a CSV or npz with a
    row for each frame of the clip and then each to come, or a folder with such a file of each clip's name."""

    def task(self) -> RunnerTask:
        from vflow.data.actions import actions_sha

        task = super().task()
        sha = None if self.actions is None else actions_sha(self.actions)
        if task.record.settings().actions_sha not in (None, sha):
            note("not the actions that the settings were made with; results will differ")
        record, runner = task.record.model_copy(update={"actions_sha": sha}), cast(Any, task.runner)
        return replace(task, record=record, runner=replace(runner, actions=self.actions))

    def choose(self, items: Sequence[Item]) -> dict[str, list[Item]]:
        return chosen_checkpoints(items, self.purpose, registry.served(self.family))
