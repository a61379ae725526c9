"""Settings of futures of video, and of members of a rain forecast."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vflow.config.ranges import MAX_FPS, MAX_FRAMES, MIN_FPS
from vflow.config.settings import SEED, Samples, Seed, Settings, Shown, Temperature, WholeNumber

AUGMENTED_LAST = "the augmented dimensions, if the model has any"
Frames = Annotated[WholeNumber, Field(ge=1, le=MAX_FRAMES)]
MAX_SCORED = 500
"""Frames of the longest clip whose surprise is looked at: in longer ones there are too many pairs of them."""
QUANTILE = 0.99
Ahead = Annotated[Frames, Shown("Frames", most=60)]


class PredictSettings(Settings):
    """Futures of a clip, and their files."""

    num_samples: Annotated[Samples, Shown("Futures", most=32)] = 8
    """Samples per clip (8; members of rain 20)"""
    num_frames: Ahead = 10
    """Frames per future (10; of rain 6)"""
    temperature: Annotated[Temperature, Shown("Temperature", levels=AUGMENTED_LAST)] = 1.0
    """Scale of the noise (as the checkpoint suggests): one number, or one per level, fine to coarse. Below 1,
    rare modes of shapes, grasp and any also become rarer, as do displacements of shapes-guided."""
    seed: Annotated[Seed, SEED] = 0
    """Names the noise."""
    context_at: Annotated[Literal["start", "end"] | None, Shown()] = None
    """Frames of a clip that the model sees: those at its end (the default), or at its start."""
    start: Annotated[int | None, Field(ge=0, strict=True), Shown("Start", most=10**6, form=False)] = None
    """First frame that the model sees, counted from 0 at its rate, in place of --context-at."""
    format: Annotated[Literal["mp4", "webm", "gif", "png", "npz"], Shown(served="npz")] = "mp4"
    """mp4, webm, gif: enlarged previews; png, npz: native pixels."""
    fps: Annotated[float | None, Field(ge=MIN_FPS, le=MAX_FPS), Shown()] = None
    """Frames per second of previews; the model's when not given."""
    context_sha: Annotated[str | None, Shown(flag=False)] = None
    """Hash of the frames that a settings file was made with, as the model saw them."""
    actions_sha: Annotated[str | None, Shown(flag=False)] = None
    """SHA-256 of the file of actions, or of those of a folder, one after the other."""

    @property
    def begins(self) -> int | None:
        """Number of the first frame that is given; None: the last frames are."""
        return 0 if self.start is None and self.context_at == "start" else self.start


class ScoreSettings(Settings):
    """Surprisal of a clip."""

    seed: Annotated[Seed, SEED] = 0
    """Names the noise."""
    num_frames: Annotated[int | None, Field(ge=1, le=MAX_SCORED), Shown(served=MAX_SCORED)] = None
    """Frames looked at, from the first one."""
    quantile: Annotated[float, Field(ge=0.5, lt=1)] = QUANTILE
    """Frames beyond this share of validation frames are flagged."""
    actions_sha: Annotated[str | None, Shown(flag=False)] = None
    """SHA-256 of the file of actions, or of those of a folder, one after the other."""


class NowcastSettings(PredictSettings):
    """Members of a rain forecast, and their files."""

    num_samples: Annotated[Samples, Shown("Futures (members)", most=32)] = 20
    num_frames: Ahead = 6
