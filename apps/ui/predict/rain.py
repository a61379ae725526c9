"""From rain radar to members of a forecast, their files, and answers about areas of it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vflow.data import media
from vflow.data.rain import (
    UNKNOWN_COLOR,
    RainSequence,
    color_rain,
    least_level,
    read_npz,
    to_levels,
    to_rate,
)
from vflow.errors import InputError, VflowError
from vflow.metrics.ensemble import crps
from vflow.pipelines.nowcast import (
    CHUNK,
    Area,
    Ensemble,
    check_given,
    first_reached,
    given_frames,
    iterate_members,
    nowcast_config,
)

from ..shared import checks
from ..shared.context import AppContext
from ..shared.html import reduced
from .job import PredictionFiles, Request, save_settings

FAMILY = "nowcast"
THRESHOLD = 1.0
"""mm/h, of the map of chances and of questions about areas."""
MAX_PIXELS = 1_000_000
"""Of a frame: what a person waits for."""
MAX_DRAWN = 2**28
"""Pixels of all frames of all members."""
PREVIEW_SIDE = 512
CHANCE_COLORS = ((0, (248, 248, 246)), (0.5, (164, 132, 205)), (1, (66, 20, 110)))
"""Anchors of the ramp of chances, from pale to deep violet; no colour of rain is among them."""


@dataclass
class RainJob:
    """A request under way.

    Attributes:
        given: uint8 (n, H, W), the frames that the model looks at. valid: bool (H, W), where radars see.
        truth: frames that really followed, uint8 (T', H, W); T' is 0 where nothing is known of them.
        members: so far, uint8 (N', T, H, W).
    """

    request: Request
    model: Any
    given: np.ndarray
    valid: np.ndarray
    truth: np.ndarray
    members: np.ndarray
    notes: tuple[str, ...] = ()
    nonfinite: int = 0

    @classmethod
    def begin(cls, app: AppContext, request: Request) -> RainJob:
        """Load the model and read the radar.

        Raises:
            CheckpointError, InputError: with the message to show.
        """
        model = app.models.load(request.checkpoint, FAMILY)
        checks.check_levels(request.settings.temperature, model, request.checkpoint)
        source = request.source
        if isinstance(source, RainSequence):
            sequence, name = source, "frames"
        else:
            sequence, name = read_radar(source), Path(str(source[0])).name
        check_given(sequence.frames, nowcast_config(model), name)
        sequence.check_minutes(nowcast_config(model).minutes, name)
        count, needed = len(sequence.frames), nowcast_config(model).context
        given, truth = given_frames(sequence.frames, needed, request.start)
        notes = () if count == needed else (f"used {needed} of {count} frames",)
        ahead = request.settings.num_frames
        drawn = request.settings.num_samples * ahead * given[0].size
        if drawn > MAX_DRAWN:
            raise InputError(
                f"{drawn / 1e6:,.0f} megapixels in all; the page draws at most {MAX_DRAWN / 1e6:,.0f}: ask"
                " for fewer members or frames, or crop the radar"
            )
        members = np.empty((0, ahead, *given.shape[1:]), np.uint8)
        return cls(request, model, given, sequence.valid, truth[:ahead], members, notes)

    @property
    def done(self) -> int:
        """Members drawn so far."""
        return len(self.members)

    @property
    def total(self) -> int:
        """Members to draw."""
        return self.request.settings.num_samples

    @property
    def steps_left(self) -> int:
        """Steps that ``advance`` still takes."""
        return -(-(self.total - self.done) // CHUNK)

    @property
    def work(self) -> int:
        """Cost of a step, as ``step_work``."""
        return step_work(self.request.settings.num_frames, self.given[0].size)

    def advance(self, should_stop: Callable[[], bool]) -> Iterator[None]:
        """Draw some members at a time; ``members`` grows before each step is yielded."""
        settings = self.request.settings
        parts = iterate_members(self.model, self.given, settings, valid=self.valid, should_stop=should_stop)
        for part in parts:
            self.members = np.concatenate([self.members, part.frames])
            self.nonfinite += part.counts.nonfinite
            yield

    def save(self, app: AppContext) -> RainResult:
        """Write members, previews, and the settings that make them again."""
        folder = app.runs.new_folder()
        num_frames = self.request.settings.num_frames
        save_settings(app, folder, self.request, self.given, self.done, num_frames)
        minutes = nowcast_config(self.model).minutes
        return write(folder, str(self.request.checkpoint), self, minutes)


def step_work(num_frames: int, pixels: int) -> int:
    """Cost of a step: frames ahead of a chunk, in pixels, by the thousand."""
    return max(1, CHUNK * num_frames * pixels // 1000)


def expected_work(num_samples: int, num_frames: int, paths: Sequence[str]) -> int | None:
    """Cost of all steps for the radar among ``paths``; None where it cannot be read."""
    try:
        pixels = _pixels(*paths)
    except VflowError:
        return None
    return -(-num_samples // CHUNK) * step_work(num_frames, pixels)


@lru_cache(maxsize=8)
def _pixels(*paths: str) -> int:
    return int(read_radar(paths).valid.size)


def read_radar(paths: Sequence[str] | np.ndarray) -> RainSequence:
    """The one npz of radar frames among ``paths``.

    Raises:
        InputError: other files, or frames that are too large.
    """
    path = Path(str(paths[-1])) if len(paths) else Path("rain radar")
    if len(paths) != 1 or path.suffix.lower() != ".npz":
        raise InputError(
            f"{path.name}: give one npz with frames, uint8 (T, H, W), of grey levels"
            " round(255·ln(1+R)/ln 101) for R mm/h; images do not say how much rain they mean"
        )
    sequence = read_npz(path)
    height, width = sequence.valid.shape
    if height * width > MAX_PIXELS:
        raise InputError(
            f"{path.name}: {width}×{height} pixels, and the page takes {MAX_PIXELS:,}; crop it, or use"
            " 'vflow predict', which takes any size"
        )
    return sequence


@dataclass(frozen=True)
class RainResult(PredictionFiles):
    """Files of one forecast.

    Attributes:
        known: number of frames that really followed. minutes: between frames. size: (H, W).
        score: CRPS of the members and mean absolute error of the newest frame held still, mm/h, over the
            frames that really followed; None without any.
    """

    known: int
    minutes: float
    size: tuple[int, int]
    score: tuple[float, float] | None = None

    unit = "member"

    @property
    def chance(self) -> Path:
        return self.folder / "chance.mp4"

    def future(self, index: int) -> RainSequence:
        """Given frames and those of one member.

        Raises:
            InputError: the files were removed, or there is no such member.
        """
        frames, saved = self.continuation(index)
        return RainSequence.of(frames, saved["valid"])


def write(folder: Path, checkpoint: str, job: RainJob, minutes: float) -> RainResult:
    """Write members, preview videos and the archive of previews."""
    (folder / "previews").mkdir()
    given, members, truth, valid = job.given, job.members, job.truth, job.valid
    fps = job.request.preview_fps
    result = RainResult(
        folder,
        checkpoint,
        len(given),
        members.shape[1],
        fps,
        len(truth),
        minutes,
        (valid.shape[0], valid.shape[1]),
        score(given, members, truth, valid),
    )
    arrays = {"frames": members[..., None], "context": given[..., None], "valid": valid}
    if len(truth):
        arrays["truth"] = truth[..., None]
    media.write_npz(result.native, **arrays)
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
    with zipfile.ZipFile(result.archive, "w", zipfile.ZIP_STORED) as archive:
        for path in [*result.futures, result.mean, result.chance]:
            archive.write(path, path.name)
    return result


def _small(frames: np.ndarray) -> np.ndarray:
    """Frames uint8 (T, H, W), made smaller where they are larger than previews."""
    return reduced(frames.astype(np.uint8)[..., None], PREVIEW_SIDE)[..., 0]


def mean_rain(members: np.ndarray) -> np.ndarray:
    """Grey levels of the mean rain rate over members: uint8 (N, T, H, W) → (T, H, W)."""
    return np.stack([to_levels(to_rate(at_lead).mean(0)) for at_lead in members.swapaxes(0, 1)])


def color_chance(shares: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """RGB uint8 (…, H, W, 3) of chances 0 … 255, uint8 (…, H, W); grey where ``valid`` (H, W) is False."""
    at, steps = [share for share, _ in CHANCE_COLORS], np.linspace(0, 1, 256)
    anchors = np.array([color for _, color in CHANCE_COLORS])
    table = np.stack([np.interp(steps, at, channel) for channel in anchors.T], -1)
    colored: np.ndarray = np.rint(table).astype(np.uint8)[shares]
    if valid is not None:
        colored[..., ~valid, :] = UNKNOWN_COLOR
    return colored


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
    """Answer for an area, in pixels.

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
