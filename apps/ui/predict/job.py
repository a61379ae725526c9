"""Futures on the page and on disk: previews, what really happened, and going on from a future."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import gradio as gr
import numpy as np

from vflow.data import media
from vflow.errors import InputError, VflowError, counted
from vflow.metrics.video import best_of
from vflow.pipelines.common import CHUNK
from vflow.pipelines.video.export import heat
from vflow.pipelines.video.predict import iterate
from vflow.pipelines.video.preprocess import video_config
from vflow.tasks.video.settings import PredictSettings

from ..shared import checks, examples
from ..shared.context import AppContext, to_gradio_error
from ..shared.events import FOLLOW_LINK, ON_CLICK, QUICK, html_block
from ..shared.faces import SETTINGS, Face, Job
from ..shared.html import ExampleTile, download_link, example_strip
from ..shared.storage import still_there
from . import html

if TYPE_CHECKING:
    from ..shared.task_tab import TaskForm, TaskView

FAMILY = "videoflow"
UNKNOWN = 128  # grey level of frames whose real outcome is unknown
PREVIEWS = "previews.zip"
MIN_DIVERSITY = 8.0  # grey levels: the ramp of the diversity map never ends below this


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

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of ``futures.npz``.

        Raises:
            InputError: the files were removed.
        """
        gone = f"these {self.unit}s have been cleared from the server; run Predict again"
        with still_there(gone), np.load(self.native) as saved:
            return dict(saved)

    def future(self, index: int) -> dict[str, np.ndarray]:
        """``frames`` of one future, given and predicted, uint8 (n + T, H, W, C), and ``valid`` if there.

        Raises:
            InputError: the files were removed, or there is no such future.
        """
        saved = self.arrays()
        futures = saved["frames"]
        if not 0 <= index < len(futures):
            there = counted(len(futures), self.unit)
            raise InputError(f"{self.unit} {index + 1}: {there} to continue from")
        frames = np.concatenate([saved["context"], futures[index]])
        return {"frames": frames} | {name: saved[name] for name in ("valid",) if name in saved}

    def continuation(self, index: int) -> Path:
        """File of one future, which a prediction can go on from; raises as ``future``."""
        path = self.folder / f"{self.unit}_{index + 1:02d}.npz"
        media.write_npz(path, **self.future(index))
        return path


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

    def compared(self) -> str:
        """The future closest to what really happened; empty where that is unknown."""
        if self.comparison is None:
            return ""
        frames, closest, psnr = self.comparison.frames, self.comparison.closest, self.comparison.psnr
        return (
            f"Closest to what really happened: future {closest + 1}, PSNR {psnr:.1f} dB over"
            f" {counted(frames, 'frame')}."
        )


def write_previews(
    folder: Path, checkpoint: str, context: np.ndarray, futures: np.ndarray, fps: float, truth: np.ndarray
) -> Result:
    """Write preview videos at ``fps`` and their archive.

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
    if comparison:
        unknown = np.full((futures.shape[1] - len(truth), *truth.shape[1:]), UNKNOWN, np.uint8)
        media.write_video(result.truth, np.concatenate([context, truth, unknown]), fps)
    for index, future in enumerate(futures):
        media.write_video(result.preview(index), np.concatenate([context, future]), fps)
    media.write_video(result.mean, np.concatenate([context, mean_frames(futures)]), fps)
    none = np.zeros((len(context), *spread.shape[1:]), np.float32)
    media.write_video(result.diversity, heat(np.concatenate([none, spread]), top), fps)
    with zipfile.ZipFile(folder / PREVIEWS, "w", zipfile.ZIP_STORED) as archive:
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


class PredictFace(Face):
    """Futures that fill with frames, then play together, each of which a person can go on from."""

    noun, verb, added, one = "frames", "Predict", "images or a video", "future"
    downloads = ("Frames (npz)", "Previews (zip)", "Settings (json)")
    outputs = ("futures.npz", PREVIEWS, SETTINGS)
    fits, shortened = True, "num_frames"
    details = (
        "The checkpoint auto is the one that suits what the frames show; settings.json names it. Without"
        " numbers: 8 futures of 10 frames, or of a rain forecast 20 members of 6 frames. They go on from the"
        " last frames given, or from frame start on. A model of rain takes one npz of radar frames, uint8"
        " (T, H, W), grey levels round(255·ln(1+R)/ln 101) for R mm/h, and optionally valid, bool (H, W):"
        " where radars see. Settings have remarks: how the frames fit the model, and what was done to them."
    )

    def work(self, job: Job) -> int:
        return expected_work(job.settings.num_samples, 1)

    def futures(self, job: Job) -> np.ndarray:
        """Frames so far, uint8 (N, t, H, W, C)."""
        frames: np.ndarray = job.results[-1].frames
        return frames

    def truth(self, job: Job) -> np.ndarray:
        """Frames that really followed, uint8 (T', H, W, C), T' from 0 to t."""
        truth: np.ndarray = job.given.rest[: self.futures(job).shape[1]]
        return truth

    def drawn(self, job: Job) -> str:
        count, frames = self.futures(job).shape[:2]
        size = f"{counted(count, self.one)} × {counted(frames, 'frame')}"
        if job.done < job.total:
            return f"Stopped after {self.unit} {job.done} of {job.total}: {size}"
        return size

    def remarks(self, job: Job, result: Any) -> list[str]:
        ends = "The clip ends with the given frames, so there is nothing to compare with."
        compared = result.compared() or (ends if job.settings.begins is not None else "")
        return [compared] if compared else []

    def write(self, job: Job, folder: Path) -> None:
        media.write_npz(folder / self.outputs[0], **self.arrays(job))

    def arrays(self, job: Job) -> dict[str, np.ndarray]:
        """Native frames: drawn ones, given ones, and where they are known those that really followed."""
        arrays, truth = {"frames": self.futures(job), "context": job.given.context}, self.truth(job)
        return arrays | ({"truth": truth} if len(truth) else {})

    def finish(self, job: Job, folder: Path) -> Any:
        fps, futures = job.settings.fps, self.futures(job)
        return write_previews(folder, str(job.checkpoint), job.given.context, futures, fps, self.truth(job))

    def empty(self, text: str = "") -> str:
        return html.empty()

    def live(self, job: Job) -> str:
        if not job.results:
            return html.live([(job.given.context[-1], html.WAITING)] * job.settings.num_samples)
        state = f"frame {job.done} of {job.total}"
        return html.live([(future[-1], state) for future in self.futures(job)])

    def shown(self, job: Job, result: Any) -> str:
        futures, truth = self.futures(job), self.truth(job)
        real = truth[-1] if len(truth) == result.frames else np.full_like(futures[0, 0], UNKNOWN)
        return html.player(result, futures[:, -1], mean_frames(futures[:, -1:])[0], real)

    def examples(self, app: AppContext) -> gr.HTML:
        clips = examples.clips_for(app.models.names(*self.families))
        tiles = [ExampleTile(clip.title, [clip.last_frame()]) for clip in clips]
        films = sum(not clip.is_rain for clip in clips)  # which come first
        strip = example_strip("Or predict from an example", "Predict from example", "vf-try", tiles[:films])
        rain = example_strip("Or forecast rain", "Forecast from example", "vf-rain-try", tiles[films:], films)
        return html_block(strip + rain, js_on_load=ON_CLICK)

    def above(self) -> gr.HTML:
        """The answer about an area of a rain forecast."""
        return html_block("", "vf-area-answer")

    def beside(self, app: AppContext, form: TaskForm, view: TaskView) -> None:
        saved = html_block("", "vf-predict-saved", js_on_load=FOLLOW_LINK)
        view.results.submit(_gif, view.result, saved, **QUICK)


def _gif(result: Result | None, event: gr.EventData) -> str:
    """Link to a future as a GIF, which is made now."""
    if not isinstance(result, Result):
        return ""
    try:
        index = checks.whole_number("future", event.index, 0, 10**6)
        path = result.folder / f"future_{index + 1:02d}.gif"
        media.write_video(path, result.future(index)["frames"], result.fps)
    except VflowError as error:
        raise to_gradio_error(str(error)) from None
    return download_link(path)
