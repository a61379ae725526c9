"""Actions of a clip at inference: rows for its frames and for those to come."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vflow.config import VideoConfig
from vflow.data import media
from vflow.data.actions import Actions, actions_beside, read_actions, resampled
from vflow.errors import ConfigError, InputError, counted
from vflow.pipelines.common import as_array
from vflow.pipelines.video.preprocess import video_config

if TYPE_CHECKING:
    from torch import nn

NO_ACTIONS = "actions: this model takes none; train one that does: vflow train --recipe grasp-actions"
Plan = Any
"""``vflow.data.actions.Actions``, or rows (T, A), numpy or torch: of a clip's frames and those after it."""


def as_actions(config: VideoConfig, plan: Plan) -> Actions:
    """``plan`` as actions that the model takes.

    Raises:
        ConfigError: it takes none. InputError: it takes others.
    """
    if config.actions is None:
        raise ConfigError(NO_ACTIONS)
    if isinstance(plan, Actions):
        return plan
    return Actions.of(as_array(plan, "actions"), config.actions.size)


def actions_of(model: nn.Module, path: Path, clip: str) -> Actions:
    """Actions from a file, or from that of the name of a clip in a folder.

    Raises:
        ConfigError: the model takes none. InputError: no such file, or not what the model takes.
    """
    wanted = video_config(model).actions
    if wanted is None:
        raise ConfigError(NO_ACTIONS)
    read = actions_beside if path.is_dir() else read_actions
    return read(path / Path(clip).name if path.is_dir() else path, wanted.size, wanted.names)


def plan_rows(
    config: VideoConfig, clip: media.Clip, plan: Plan | None, ahead: int = 0, known: int | None = None
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Rows of a clip's frames at the model's rate and of ``ahead`` frames after them, and remarks.

    The last row goes on where the plan ends before.

    Args:
        known: frames of the clip that are given, from its first; None: all.

    Returns:
        float32 (T' + ahead, A), or None without a plan.

    Raises:
        InputError: the model takes no such plan, or it has no row beyond the frames that are given.
    """
    if plan is None:
        return None, ()
    actions = as_actions(config, plan)
    rows = resampled(actions, clip, config.fps, ahead)
    if not ahead and not np.isfinite(rows).all():
        raise InputError(f"{actions.source}: its times end before {clip.source} does; add rows")
    given = len(rows) - ahead if known is None else known
    rows = rows[: given + ahead]
    ends = int(np.isfinite(rows).all(1).sum())
    if ahead and ends <= given:
        raise InputError(
            f"{actions.source}: {counted(len(actions.values), 'row')}, none for frames after the "
            f"{given} given; add rows for those to come, one a frame"
        )
    notes = []
    if ends < len(rows):
        rows[ends:] = rows[ends - 1]
        notes.append(
            f"{actions.source} ends {counted(len(rows) - ends, 'frame')} early; its last row goes on"
        )
    if (
        len(media.retime(len(clip.frames), clip.fps, config.fps)) != len(clip.frames)
        or actions.times is not None
    ):
        notes.append(f"{actions.source}: interpolated to {config.fps:g} rows per second")
    return rows, tuple(notes)
