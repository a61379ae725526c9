"""Members of a rain forecast on the page and on disk, and answers about areas of it."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from vflow.data import media
from vflow.data.rain import color_rain, least_level, read_npz, to_levels, to_rate
from vflow.errors import InputError, VflowError, counted
from vflow.metrics.ensemble import crps
from vflow.pipelines.batch.inputs import Item
from vflow.pipelines.nowcast import CHUNK, Area, Ensemble, first_reached

from ..shared import checks
from ..shared.context import AppContext
from ..shared.events import QUICK, NewestPayload, Updates
from ..shared.faces import Job
from ..shared.html import reduced
from . import rain_html
from .job import PREVIEWS, PredictFace, PredictionFiles
from .rain_html import THRESHOLD, color_chance
from .rain_map import read_corners

if TYPE_CHECKING:
    from ..shared.task_tab import TaskForm, TaskView

MAX_PIXELS = 1_000_000
"""Of a frame: what a person waits for."""
MAX_DRAWN = 2**28
"""Pixels of all frames of all members."""
PREVIEW_SIDE = 512


def step_work(num_frames: int, pixels: int) -> int:
    """Cost of a step: frames ahead of a chunk, in pixels, by the thousand."""
    return max(1, CHUNK * num_frames * pixels // 1000)


def expected_work(num_samples: int, num_frames: int, paths: Sequence[str]) -> int | None:
    """Cost of all steps for the radar among ``paths``; None where it cannot be read."""
    try:
        pixels = _pixels(*map(Path, paths))
    except VflowError:
        return None
    return -(-num_samples // CHUNK) * step_work(num_frames, pixels)


@lru_cache(maxsize=8)
def _pixels(*paths: Path) -> int:
    return int(read_npz(radar_file(paths)).valid.size)


def radar_file(paths: Sequence[Path]) -> Path:
    """The one npz of radar frames that ``paths`` are.

    Raises:
        InputError: they are others.
    """
    path = paths[-1] if paths else Path("rain radar")
    if len(paths) != 1 or path.suffix.lower() != ".npz":
        raise InputError(
            f"{path.name}: give one npz with frames, uint8 (T, H, W), of grey levels"
            " round(255·ln(1+R)/ln 101) for R mm/h; images do not say how much rain they mean"
        )
    return path


@dataclass(frozen=True)
class RainResult(PredictionFiles):
    """Files of one forecast.

    Attributes:
        known: number of frames that really followed. minutes: between frames. size: (H, W).
        score: CRPS of the members and mean absolute error of the newest frame held still, mm/h, over the
            frames that really followed; None without any.
        corners: places of the picture's corners, as in ``read_corners``; None where they are not known.
    """

    known: int
    minutes: float
    size: tuple[int, int]
    score: tuple[float, float] | None = None
    corners: np.ndarray | None = None

    unit = "member"

    @property
    def chance(self) -> Path:
        return self.folder / "chance.mp4"

    def compared(self) -> str:
        """Errors of the members and of no change; empty where what really happened is unknown."""
        if self.score is None:
            return ""
        ours, still = self.score
        return (
            f"Off by {ours:.2f} mm/h from what really happened (CRPS over {counted(self.known, 'frame')});"
            f" repeating the newest frame is off by {still:.2f} mm/h."
        )


def write_previews(folder: Path, job: Job, members: np.ndarray, truth: np.ndarray) -> RainResult:
    """Write preview videos and their archive."""
    (folder / "previews").mkdir()
    given, valid, fps = job.given.context, job.given.valid, job.settings.fps
    size, minutes, judged = valid.shape, job.model.config.minutes, score(given, members, truth, valid)
    ahead = members.shape[1]
    corners, name = read_corners(job.paths[0]), str(job.checkpoint)
    result = RainResult(folder, name, len(given), ahead, fps, len(truth), minutes, size, judged, corners)
    small_valid = _small(valid[None].astype(np.uint8) * 255)[0] > 127

    def film(path: Path, ahead: np.ndarray) -> None:
        frames = color_rain(_small(np.concatenate([given, ahead])), small_valid)
        media.write_video(path, frames, fps)

    for index, member in enumerate(members):
        film(result.preview(index), member)
    film(result.mean, mean_rain(members))
    if len(truth):
        film(result.truth, truth)
    observed = (given >= least_level(THRESHOLD)).astype(np.float32)
    shares = np.concatenate([observed, Ensemble(members, np.ones_like(valid)).probability(THRESHOLD)])
    media.write_video(result.chance, color_chance(_small(np.rint(255 * shares)), small_valid), fps)
    with zipfile.ZipFile(folder / PREVIEWS, "w", zipfile.ZIP_STORED) as archive:
        for path in [*result.futures, result.mean, result.chance]:
            archive.write(path, path.name)
    return result


def _small(frames: np.ndarray) -> np.ndarray:
    """Frames uint8 (T, H, W), made smaller where they are larger than previews."""
    return reduced(frames.astype(np.uint8)[..., None], PREVIEW_SIDE)[..., 0]


def mean_rain(members: np.ndarray) -> np.ndarray:
    """Grey levels of the mean rain rate over members: uint8 (N, T, H, W) → (T, H, W)."""
    return np.stack([to_levels(to_rate(at_lead).mean(0)) for at_lead in members.swapaxes(0, 1)])


def score(
    given: np.ndarray, members: np.ndarray, truth: np.ndarray, valid: np.ndarray
) -> tuple[float, float] | None:
    """Mean CRPS of members, and mean absolute error of the newest given frame, mm/h, beside the truth."""
    if not len(truth) or not valid.any():
        return None
    rates, real, newest = to_rate(members), to_rate(truth), to_rate(given[-1])
    scores = [crps(rates[:, lead], frame)[valid].mean() for lead, frame in enumerate(real)]
    return float(np.mean(scores)), float(np.abs(newest - real)[:, valid].mean())


@dataclass(frozen=True)
class Answer:
    """Chances that rain of ``THRESHOLD`` mm/h or more is anywhere in an area.

    Attributes:
        seen: radars see some of the area. now: it rains there in the newest given frame.
        first: per member, index of the first frame ahead with rain there, −1 without any; int64 (N,).
        chances: per frame ahead, share of members with rain there at that time, float64 (T,).
        known: number of frames that really followed.
        truth: index of the first of them with rain there, −1 without any; None: none are known.
    """

    area: Area
    seen: bool
    now: bool
    first: np.ndarray
    chances: np.ndarray
    known: int
    truth: int | None

    @property
    def reached(self) -> np.ndarray:
        """Per frame ahead, share of members that rain has reached by then, float64 (T,)."""
        by_then = (self.first[:, None] >= 0) & (self.first[:, None] <= np.arange(len(self.chances)))
        share: np.ndarray = by_then.mean(0)
        return share


def ask(result: RainResult, left: Any, top: Any, width: Any, height: Any) -> Answer:
    """Answer for an area, in pixels, which are kilometres.

    Raises:
        InputError: it is not of whole pixels within the picture, or the files were removed.
    """
    rows, columns = result.size
    row = checks.whole_number("top of the area", top, 0, rows - 1)
    column = checks.whole_number("left of the area", left, 0, columns - 1)
    area = Area(
        row,
        column,
        checks.whole_number("height of the area", height, 1, rows - row),
        checks.whole_number("width of the area", width, 1, columns - column),
    )
    saved = result.arrays()
    frames = saved["frames"][..., 0]
    rain = frames[(..., *area.slices)] >= least_level(THRESHOLD)
    known = first_reached(saved["truth"][..., 0], area, THRESHOLD) if "truth" in saved else None
    return Answer(
        area,
        bool(saved["valid"][area.slices].any()),
        bool(first_reached(saved["context"][-1:, ..., 0], area, THRESHOLD) >= 0),
        first_reached(frames, area, THRESHOLD),
        rain.any((-2, -1)).mean(0),
        result.known,
        None if known is None else int(known),
    )


class NowcastFace(PredictFace):
    """Members that come some at a time, beside a map of chances that answers for areas."""

    sample = one = "member"
    shortened, at_once = "num_samples", CHUNK

    def read(self, model: Any, item: Item, settings: Any) -> Any:
        read_corners(radar_file(item.paths))  # before the forecast, if they cannot be read
        return super().read(model, item, settings)

    def check(self, job: Job) -> None:
        height, width = job.given.valid.shape
        if height * width > MAX_PIXELS:
            raise InputError(
                f"{job.paths[0].name}: {width}×{height} pixels, and the page takes {MAX_PIXELS:,}; crop it,"
                " or use 'vflow predict', which takes any size"
            )
        drawn = job.settings.num_samples * job.settings.num_frames * height * width
        if drawn > MAX_DRAWN:
            raise InputError(
                f"{drawn / 1e6:,.0f} megapixels in all; the page draws at most {MAX_DRAWN / 1e6:,.0f}: ask"
                " for fewer members or frames, or crop the radar"
            )

    def work(self, job: Job) -> int:
        return step_work(job.settings.num_frames, job.given.valid.size)

    def futures(self, job: Job) -> np.ndarray:
        """Members so far, uint8 (N', T, H, W)."""
        return np.concatenate([part.frames for part in job.results])

    def arrays(self, job: Job) -> dict[str, np.ndarray]:
        frames = {name: array[..., None] for name, array in super().arrays(job).items()}
        return frames | {"valid": job.given.valid}

    def finish(self, job: Job, folder: Path) -> RainResult:
        return write_previews(folder, job, self.futures(job), self.truth(job))

    def remarks(self, job: Job, result: RainResult) -> list[str]:
        found, seen = super().remarks(job, result), job.given.valid
        if not seen.all():
            found.append(f"Radars see {seen.mean():.0%} of the area; nothing is predicted elsewhere.")
        if nonfinite := sum(part.counts.nonfinite for part in job.results):
            found.append(f"{counted(nonfinite, 'value')} not finite, taken as dry.")
        return found

    def live(self, job: Job) -> str:
        members = [*self.futures(job)] if job.results else []
        return rain_html.live(job.given.context[-1], members, job.total, job.given.valid)

    def shown(self, job: Job, result: RainResult) -> str:
        members, truth = self.futures(job), [*job.given.context, *self.truth(job)][-1]
        mean = mean_rain(members[:, -1:])[0]
        return rain_html.player(result, members[:, -1], mean, truth, job.given.valid)

    def beside(self, app: AppContext, form: TaskForm, view: TaskView) -> None:
        def answer(values: Updates, event: gr.EventData) -> Any:
            newest: NewestPayload = values[asked]
            if not newest.take(event):
                return gr.skip()
            found = answered(values[view.result], event)
            return found if newest.time == event.time else gr.skip()

        def answered(result: Any, event: gr.EventData) -> str:
            if not isinstance(result, RainResult):
                return ""
            try:
                found = ask(result, event.left, event.top, event.width, event.height)
            except VflowError as error:
                return rain_html.failed(app.error_message(error))
            return rain_html.answer(found, result.minutes)

        asked = gr.State(NewestPayload())
        view.results.input(answer, {view.result, asked}, view.above, trigger_mode="multiple", **QUICK)
