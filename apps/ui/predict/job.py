"""From files or a chosen future to many futures and their files: the path of the tab and of the endpoint."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vflow.data import media
from vflow.errors import InputError
from vflow.pipelines.batch.records import PredictRecord
from vflow.pipelines.common import CHUNK
from vflow.pipelines.video.export import heat
from vflow.pipelines.video.predict import PredictSettings, Prepared, iterate, prepare
from vflow.randomness import content_hash

from ..shared import checks
from ..shared.context import AppContext

FAMILY = "videoflow"
MAX_FUTURES = 32
MAX_FRAMES = 60
MIN_DIVERSITY = 8.0  # grey levels: the ramp of the diversity map never ends below this


@dataclass(frozen=True)
class Request:
    """A checked request. ``source``: paths in order, or frames uint8 (n, H, W, C)."""

    checkpoint: str | None
    source: Sequence[str] | np.ndarray
    settings: PredictSettings
    preview_fps: float

    @classmethod
    def checked(
        cls,
        checkpoint: str | None,
        source: Sequence[str] | np.ndarray,
        *,
        num_samples: float,
        num_frames: float,
        temperature: float,
        level_temperatures: str,
        seed: float,
        preview_fps: float,
    ) -> Request:
        """Check values as they come from a form or an endpoint.

        Raises:
            InputError: a value is missing or out of range; the message names it and the range.
        """
        settings = PredictSettings(
            num_frames=checks.whole_number("frames", num_frames, 1, MAX_FRAMES),
            num_samples=checks.whole_number("futures", num_samples, 1, MAX_FUTURES),
            temperature=checks.temperature(temperature, level_temperatures),
            seed=checks.seed_number(seed),
        )
        fps = checks.number_within("preview_fps", preview_fps, 1, 60)
        if not len(source):
            raise InputError("no frames given; add images or a video, or choose an example")
        return cls(checkpoint, source, settings, fps)

    @property
    def work(self) -> int:
        """Samples computed per frame, padding included: the cost of a frame."""
        return -(-self.settings.num_samples // CHUNK) * CHUNK


@dataclass
class Job:
    """A request under way: the model's input, and the frames so far, uint8 (N, t, H, W, C)."""

    request: Request
    model: Any
    prepared: Prepared
    futures: np.ndarray
    redrawn: int = 0

    @classmethod
    def begin(cls, app: AppContext, request: Request) -> Job:
        """Load the model and fit the input to it.

        Raises:
            CheckpointError, InputError: with the message to show.
        """
        model = app.models.load(request.checkpoint, FAMILY)
        checks.check_levels(request.settings.temperature, model, request.checkpoint)
        source = request.source
        prepared = prepare(model, source if isinstance(source, np.ndarray) else media.read_frames(source))
        no_frames = np.repeat(prepared.context[None, :0], request.settings.num_samples, axis=0)
        return cls(request, model, prepared, no_frames)

    @property
    def done(self) -> int:
        """Frames predicted so far."""
        return self.futures.shape[1]

    def advance(self, should_stop: Callable[[], bool]) -> Iterator[None]:
        """Predict frame by frame; ``futures`` grows before each step is yielded."""
        context, settings = self.prepared.context, self.request.settings
        for step in iterate(self.model, context, settings, should_stop=should_stop):
            self.futures, self.redrawn = step.frames, step.counts.redrawn
            yield

    def save(self, app: AppContext) -> Result:
        """Write native frames, previews, and the settings that make them again."""
        settings, context = self.request.settings, self.prepared.context
        record = PredictRecord(
            **app.models.record(str(self.request.checkpoint)),
            num_frames=self.done,
            num_samples=settings.num_samples,
            temperature=settings.temperature,
            seed=settings.seed,
            context_sha=content_hash(context),
            format="npz",
            fps=self.request.preview_fps,
        )
        folder = app.runs.new_folder()
        (folder / "settings.json").write_text(record.to_json(), encoding="utf-8")
        return write(folder, str(self.request.checkpoint), context, self.futures, self.request.preview_fps)


@dataclass(frozen=True)
class Result:
    """Files of one prediction. Small and copyable: arrays stay on disk.

    Attributes:
        given, frames: numbers of given and of predicted frames. fps: of the previews.
        diversity_top: grey levels at the bright end of the diversity map.
    """

    folder: Path
    checkpoint: str
    given: int
    frames: int
    fps: float
    diversity_top: float

    @property
    def futures(self) -> list[Path]:
        return sorted((self.folder / "previews").glob("future_*.mp4"))

    @property
    def mean(self) -> Path:
        return self.folder / "mean.mp4"

    @property
    def diversity(self) -> Path:
        return self.folder / "diversity.mp4"

    @property
    def native(self) -> Path:
        return self.folder / "futures.npz"

    @property
    def archive(self) -> Path:
        return self.folder / "previews.zip"

    @property
    def settings(self) -> Path:
        return self.folder / "settings.json"

    def future(self, index: int) -> np.ndarray:
        """Given and predicted frames of one future: uint8 (n + T, H, W, C).

        Raises:
            InputError: the files were removed, or there is no such future.
        """
        try:
            with np.load(self.native) as saved:
                context, futures = saved["context"], saved["frames"]
        except FileNotFoundError as error:
            raise InputError("these futures have been cleared from the server; run Predict again") from error
        if not 0 <= index < len(futures):
            raise InputError(f"future {index + 1}: there are {len(futures)} futures to continue from")
        return np.concatenate([context, futures[index]])


def write(folder: Path, checkpoint: str, context: np.ndarray, futures: np.ndarray, fps: float) -> Result:
    """Write native frames, preview videos at ``fps`` and the archive of previews.

    Args:
        checkpoint: name of the model.
        context: uint8 (n, H, W, C), as the model saw it.
        futures: uint8 (N, T, H, W, C).
    """
    (folder / "previews").mkdir()
    spread = diversity(futures)
    top = max(MIN_DIVERSITY, float(spread.max()))
    result = Result(folder, checkpoint, len(context), futures.shape[1], fps, top)
    media.write_npz(result.native, frames=futures, context=context)
    for index, future in enumerate(futures):
        path = folder / "previews" / f"future_{index + 1:02d}.mp4"
        media.write_video(path, np.concatenate([context, future]), fps)
    media.write_video(result.mean, np.concatenate([context, mean_frames(futures)]), fps)
    none = np.zeros((len(context), *spread.shape[1:]), np.float32)
    media.write_video(result.diversity, heat(np.concatenate([none, spread]), top), fps)
    with zipfile.ZipFile(result.archive, "w", zipfile.ZIP_STORED) as archive:
        for path in [*result.futures, result.mean, result.diversity]:
            archive.write(path, path.name)
        for index, frame in enumerate(context):  # reproduces the run elsewhere
            archive.writestr(f"given/{index:03d}.png", media.encode_png(frame))
    return result


def mean_frames(futures: np.ndarray) -> np.ndarray:
    """Mean over futures: uint8 (N, T, H, W, C) → uint8 (T, H, W, C)."""
    return np.round(futures.mean(axis=0, dtype=np.float32)).astype(np.uint8)


def diversity(futures: np.ndarray) -> np.ndarray:
    """Standard deviation over futures, root mean square over channels, in grey levels.

    uint8 (N, T, H, W, C) → float32 (T, H, W).
    """
    return np.sqrt(futures.var(axis=0, dtype=np.float32).mean(axis=-1))
