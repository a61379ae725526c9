"""From files or a chosen future to many futures and their files: the path of the tab and of the endpoint."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vflow.data import media
from vflow.data.rain import RainSequence
from vflow.errors import InputError, counted
from vflow.metrics.video import best_of
from vflow.pipelines.batch.records import record_class
from vflow.pipelines.common import CHUNK
from vflow.pipelines.video.export import heat
from vflow.pipelines.video.predict import Prepared, iterate, prepare
from vflow.pipelines.video.preprocess import as_clip, video_config
from vflow.randomness import content_hash
from vflow.tasks.video.settings import PredictSettings

from ..shared import checks
from ..shared.context import AppContext

FAMILY = "videoflow"
MAX_FUTURES = 32
MAX_FRAMES = 60
FUTURES, FRAMES = 8, 10  # of a form and of the endpoint, unless they say otherwise
Source = Sequence[str] | np.ndarray | RainSequence
UNKNOWN = 128  # grey level of frames whose real outcome is unknown
MIN_DIVERSITY = 8.0  # grey levels: the ramp of the diversity map never ends below this


@dataclass(frozen=True)
class Request:
    """A checked request.

    Attributes:
        source: paths in order, frames uint8 (n, H, W, C), or radar frames.
        start: predict from this frame on, counted from 0, and compare with what follows; None: from the last.
    """

    checkpoint: str | None
    source: Source
    settings: PredictSettings
    preview_fps: float
    start: int | None = None

    @classmethod
    def checked(
        cls,
        checkpoint: str | None,
        source: Source,
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
        if isinstance(source, Sequence) and not source:
            raise InputError("no frames given; add images or a video, or choose an example")
        return cls(checkpoint, source, settings, fps)


@dataclass
class Job:
    """A request under way.

    Attributes:
        prepared: the model's input.
        truth: frames that really followed, uint8 (T', H, W, C); T' is 0 where nothing is known of them.
        futures: frames so far, uint8 (N, t, H, W, C).
    """

    request: Request
    model: Any
    prepared: Prepared
    truth: np.ndarray
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
        clip = as_clip(media.read_frames(source) if isinstance(source, Sequence) else source)
        prepared = prepare(model, clip, start=request.start)
        no_frames = np.repeat(prepared.context[None, :0], request.settings.num_samples, axis=0)
        return cls(request, model, prepared, prepared.rest[: request.settings.num_frames], no_frames)

    @property
    def done(self) -> int:
        """Frames predicted so far."""
        return self.futures.shape[1]

    @property
    def total(self) -> int:
        """Frames to predict."""
        return self.request.settings.num_frames

    @property
    def steps_left(self) -> int:
        """Steps that ``advance`` still takes."""
        return self.total - self.done

    @property
    def work(self) -> int:
        """Cost of a step: samples computed, padding included."""
        return expected_work(self.request.settings.num_samples, 1)

    def advance(self, should_stop: Callable[[], bool]) -> Iterator[None]:
        """Predict frame by frame; ``futures`` grows before each step is yielded."""
        context, settings = self.prepared.context, self.request.settings
        for step in iterate(self.model, context, settings, should_stop=should_stop):
            self.futures, self.redrawn = step.frames, self.redrawn + step.counts.redrawn
            yield

    def save(self, app: AppContext) -> Result:
        """Write native frames, previews, and the settings that make them again."""
        request, context = self.request, self.prepared.context
        folder = app.runs.new_folder()
        save_settings(app, folder, request, context, request.settings.num_samples, self.done)
        name, fps = str(request.checkpoint), request.preview_fps
        return write(folder, name, context, self.futures, fps, self.truth[: self.done])


def warm_up(app: AppContext, name: str) -> None:
    """Predict a frame of a model: the first job is as quick as later ones, and the time it takes is known."""
    model = app.models.load(name, FAMILY)
    config = video_config(model)
    shape = (config.context, config.glow.height, config.glow.width, config.glow.channels)
    context, settings = np.zeros(shape, np.uint8), PredictSettings(num_frames=2, num_samples=CHUNK)
    clock = app.jobs.clock(name, CHUNK)
    for _ in iterate(model, context, settings):
        clock.frame_done()


def expected_work(num_samples: int, num_frames: int) -> int:
    """Cost of all frames, in samples computed, padding included."""
    return -(-num_samples // CHUNK) * CHUNK * num_frames


@dataclass(frozen=True)
class Comparison:
    """Futures beside what really happened.

    Attributes:
        frames: number of frames compared. closest: index of the future with the highest mean PSNR.
        psnr: of that future, mean over frames, in dB, at most 99.
    """

    frames: int
    closest: int
    psnr: float

    @classmethod
    def of(cls, futures: np.ndarray, truth: np.ndarray) -> Comparison | None:
        """Compare uint8 (N, T, H, W, C) with (T', H, W, C), T' ≤ T; None where T' is 0."""
        if not len(truth):
            return None
        closest, scores = best_of(futures[:, : len(truth)], truth)
        return cls(len(truth), closest, float(np.minimum(scores, 99).mean()))


@dataclass(frozen=True)
class PredictionFiles:
    """Files of one prediction. Small and copyable: arrays stay on disk.

    Attributes:
        given, frames: numbers of given and of predicted frames. fps: of the previews.
    """

    unit: ClassVar[str] = "future"
    """What a sample is called."""

    folder: Path
    checkpoint: str
    given: int
    frames: int
    fps: float

    @property
    def futures(self) -> list[Path]:
        return sorted((self.folder / "previews").glob("future_*.mp4"))

    def preview(self, index: int) -> Path:
        return self.folder / "previews" / f"future_{index + 1:02d}.mp4"

    @property
    def mean(self) -> Path:
        return self.folder / "mean.mp4"

    @property
    def truth(self) -> Path:
        return self.folder / "truth.mp4"

    @property
    def native(self) -> Path:
        return self.folder / "futures.npz"

    @property
    def archive(self) -> Path:
        return self.folder / "previews.zip"

    @property
    def settings(self) -> Path:
        return self.folder / "settings.json"

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of ``futures.npz``.

        Raises:
            InputError: the files were removed.
        """
        try:
            with np.load(self.native) as saved:
                return dict(saved)
        except FileNotFoundError as error:
            raise InputError(
                f"these {self.unit}s have been cleared from the server; run Predict again"
            ) from error

    def continuation(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Given and predicted frames of one future, uint8 (n + T, H, W, C), and all arrays.

        Raises:
            InputError: the files were removed, or there is no such future.
        """
        saved = self.arrays()
        futures = saved["frames"]
        if not 0 <= index < len(futures):
            there = counted(len(futures), self.unit)
            raise InputError(f"{self.unit} {index + 1}: {there} to continue from")
        return np.concatenate([saved["context"], futures[index]]), saved


@dataclass(frozen=True)
class Result(PredictionFiles):
    """Files of one prediction of frames.

    Attributes:
        diversity_top: grey levels at the bright end of the diversity map.
        comparison: with what really happened, where that is known.
    """

    diversity_top: float
    comparison: Comparison | None = None

    @property
    def diversity(self) -> Path:
        return self.folder / "diversity.mp4"

    def future(self, index: int) -> np.ndarray:
        """Given and predicted frames of one future: uint8 (n + T, H, W, C).

        Raises:
            InputError: the files were removed, or there is no such future.
        """
        return self.continuation(index)[0]


def save_settings(
    app: AppContext, folder: Path, request: Request, context: np.ndarray, num_samples: int, num_frames: int
) -> None:
    """Write the settings that make as many futures and frames from ``context`` again."""
    values = request.settings.model_dump() | {
        "num_frames": num_frames,
        "context_at": "start" if request.start == 0 else None,
        "start": request.start or None,
        "num_samples": num_samples,
        "context_sha": content_hash(context),
        "format": "npz",
        "fps": request.preview_fps,
    }
    record = record_class(PredictSettings)(**app.models.record(str(request.checkpoint)), **values)
    if isinstance(request.source, Sequence):
        record = record.with_command("predict", [Path(path).name for path in request.source])
    (folder / "settings.json").write_text(record.to_json(), encoding="utf-8")


def write(
    folder: Path, checkpoint: str, context: np.ndarray, futures: np.ndarray, fps: float, truth: np.ndarray
) -> Result:
    """Write native frames, preview videos at ``fps`` and the archive of previews.

    Args:
        checkpoint: name of the model.
        context: uint8 (n, H, W, C), as the model saw it.
        futures: uint8 (N, T, H, W, C).
        truth: frames that really followed, uint8 (T', H, W, C), T' from 0 to T.
    """
    (folder / "previews").mkdir()
    spread = diversity(futures)
    top = max(MIN_DIVERSITY, float(spread.max()))
    comparison = Comparison.of(futures, truth)
    result = Result(folder, checkpoint, len(context), futures.shape[1], fps, top, comparison)
    if comparison is None:
        media.write_npz(result.native, frames=futures, context=context)
    else:
        media.write_npz(result.native, frames=futures, context=context, truth=truth)
        unknown = np.full((futures.shape[1] - len(truth), *truth.shape[1:]), UNKNOWN, np.uint8)
        media.write_video(result.truth, np.concatenate([context, truth, unknown]), fps)
    for index, future in enumerate(futures):
        media.write_video(result.preview(index), np.concatenate([context, future]), fps)
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
