"""From files to the surprisal of a clip and its files: the path of the tab."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vflow.data import media
from vflow.errors import InputError, VflowError, counted
from vflow.pipelines.common import versions
from vflow.pipelines.video import export
from vflow.pipelines.video.score import check_finite
from vflow.pipelines.video.stats import ClipStatistics, load_clip_statistics
from vflow.pipelines.video.surprisal import FittedClip, Surprisal, finalize, iterate, prepare

from ..shared import checks
from ..shared.context import AppContext, settings_text
from ..shared.fit import length_for
from ..shared.models import ModelStore
from ..shared.turns import work_time

FAMILY = "videoflow"


def first_checkpoint(models: ModelStore) -> str | None:
    """The checkpoint selected at first, if any: ``push``, whose likelihoods say most about a clip's order."""
    return "push" if "push" in models.names(FAMILY) else models.default(FAMILY)


MAX_FRAMES = 60
SEGMENT = 4  # frames between two checks for Stop


@dataclass(frozen=True)
class Request:
    """A checked request; of longer clips, the first ``max_frames`` are scored."""

    checkpoint: str | None
    paths: tuple[str, ...]
    quantile: float
    seed: int
    max_frames: int = MAX_FRAMES

    @classmethod
    def checked(cls, checkpoint: str | None, paths: Sequence[str], percentile: float, seed: float) -> Request:
        """Check values as they come from the form.

        Raises:
            InputError: a value is missing or out of range; the message names it and the range.
        """
        if not paths:
            raise InputError("no frames given; add images or a video, or choose an example")
        quantile = checks.number_within("percentile", percentile, 50, 100) / 100
        return cls(checkpoint, tuple(paths), min(quantile, 0.9999), checks.seed_number(seed))


def expected_seconds(app: AppContext, name: str | None, paths: Sequence[str] | None) -> float | None:
    """Time that a clip will take; None where nothing is known, or there is none that can be read."""
    config = app.video_config(name)
    if config is None or not paths:
        return None
    try:
        frames = length_for(app, name, paths)
    except VflowError:
        return None
    work = min(frames, MAX_FRAMES) - config.min_context
    return app.jobs.expected(clock_name(name), work) if work > 0 else None


def clock_name(checkpoint: str | None) -> str:
    """Name under which the time of a frame is known."""
    return f"{checkpoint} surprise"


@dataclass
class Job:
    """A clip under way: maps of its first frames so far, each float32 (t, H, W), and the seconds taken."""

    request: Request
    model: Any
    clip: FittedClip
    statistics: ClipStatistics | None
    maps: list[np.ndarray] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def begin(cls, app: AppContext, request: Request) -> Job:
        """Load the model and the statistics of its validation clips, and fit the clip to it.

        Raises:
            CheckpointError, InputError: with the message to show.
        """
        model = app.models.load(request.checkpoint, FAMILY)
        clip = prepare(model, media.read_frames(request.paths), request.max_frames)
        return cls(request, model, clip, load_clip_statistics(app.models.folder(request.checkpoint), model))

    @property
    def total(self) -> int:
        return len(self.clip.frames) - self.model.config.min_context

    @property
    def done(self) -> int:
        return sum(map(len, self.maps))

    def advance(self, should_stop: Callable[[], bool]) -> Iterator[None]:
        """Score some frames at a time; ``maps`` grows before each step is yielded."""
        began = work_time()
        segments = iterate(self.model, self.clip, self.request.seed, SEGMENT)
        while not should_stop() and (maps := next(segments, None)) is not None:
            check_finite(self.request.checkpoint, "this clip", maps)
            self.maps.append(maps)
            self.seconds = work_time() - began
            yield

    def save(self, app: AppContext) -> Result:
        """Look for frames out of order, and write arrays, a sheet, a film and the settings."""
        request = self.request
        surprisal = finalize(
            self.model, self.clip, self.maps, self.statistics, request.quantile, request.seed
        )
        result = Result(app.runs.new_folder(), surprisal, app.preview_fps(str(request.checkpoint)))
        export.write(result.folder, "surprise", surprisal, result.fps)
        result.settings.write_text(self._record(app, surprisal), encoding="utf-8")
        return result

    def _record(self, app: AppContext, surprisal: Surprisal) -> str:
        """Figures, everything they depend on, and the command that makes them again."""
        model = app.models.record(str(self.request.checkpoint))
        names = [Path(path).name for path in self.request.paths]
        words = ["vflow", "score", "--checkpoint", model["checkpoint"], "--input", *names]
        words += ["--num-frames", str(self.request.max_frames), "--maps-dir", "maps"]
        words += ["--quantile", f"{self.request.quantile:g}"]
        words += ["--seed", str(self.request.seed)]
        record = {
            **model,
            "files": names,
            **surprisal.to_json(),
            "command": shlex.join(words),
            "threads": torch.get_num_threads(),
            "versions": versions(),
        }
        return json.dumps(record, indent=2) + "\n"

    def summary(self) -> str:
        """One line on the frames scored."""
        frames = counted(self.done, "frame")
        if self.done < self.total:
            frames = f"Stopped after {self.done} of {counted(self.total, 'frame')}:"
        made = settings_text(self.request.checkpoint, seed=self.request.seed)
        return f"{frames} scored in {self.seconds:.1f} s · {made}"


@dataclass(frozen=True)
class Result:
    """Surprisal of one clip and its files; ``fps`` of the film."""

    folder: Path
    surprisal: Surprisal
    fps: float

    @property
    def native(self) -> Path:
        return self.folder / "surprise.npz"

    @property
    def sheet(self) -> Path:
        return self.folder / "surprise.png"

    @property
    def film(self) -> Path:
        return self.folder / "surprise.mp4"

    @property
    def settings(self) -> Path:
        return self.folder / "settings.json"
