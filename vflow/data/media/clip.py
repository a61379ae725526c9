"""Decoded clips: frames gathered within limits, and fitted to a size and a rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from vflow.data.media.limits import Budget

OTHER_SIZES = "frames of other sizes fitted to the first"
# Models work far below this; it keeps a minute of camera video within memory.
SHORT_SIDE = 512
MAX_RATE = 1000.0  # beyond this a header is not believed


class Loss(NamedTuple):
    """Conversion from which a source cannot be had back, and what a person can do before it."""

    text: str
    remedy: str


@dataclass(frozen=True)
class Clip:
    """Decoded frames.

    Attributes:
        frames: uint8 (T, H, W, 3), sRGB, or of the colours of ``profile``.
        fps: frames per second, or None where the source has no clock (stills, arrays).
        source: name of the file or folder, for messages.
        notes: remarks on conversions, for people ("rotated as its EXIF tag says", …).
        grey: the source has one channel, which the frames repeat.
        losses: conversions from which the source cannot be had back, each with its remedy.
        profile: ICC profile of the colours of a picture that was read without conversion to sRGB; else b"".
    """

    frames: np.ndarray
    fps: float | None
    source: str
    notes: tuple[str, ...] = ()
    grey: bool = False
    losses: tuple[Loss, ...] = ()
    profile: bytes = b""


class FrameStream(NamedTuple):
    """A clip whose frames, uint8 (H, W, 3), come one by one, each as often as it is stored.

    Attributes:
        frames: can be gone through once.
        fps: frames per second, the mean where they vary; None where there is no clock.
        notes: remarks on conversions, for people.
        times: where the frame rate varies, seconds from the first frame to each that has come so far.
        grey: the source has one channel, which the frames repeat.
        length: number of frames, as far as the container tells without decoding.
        losses: as in ``Clip``, of those that have come so far; of a video its decoded frames are what counts.
    """

    frames: Iterator[np.ndarray]
    fps: float | None
    notes: tuple[str, ...] = ()
    times: Sequence[float] | None = None
    grey: bool = False
    length: int = 0
    losses: Sequence[Loss] = ()


def measure_rate(times: np.ndarray, rate: float | None) -> tuple[float | None, bool]:
    """Mean rate of frames that are shown from ``times`` (T,) on, in seconds, and True if it is constant.

    ``rate``, the header's, is kept where it is within 2% of that, and where timestamps tell nothing, since
    there are too few or they jump back.
    """
    steps = np.diff(times)
    step = float(np.median(steps)) if len(steps) else 0.0
    if step <= 0 or steps.min() < 0:
        return rate, True
    measured = len(steps) / float(times[-1] - times[0])
    if not (rate and abs(rate / measured - 1) < 0.02):
        rate = measured if measured <= MAX_RATE else None
    # 5 ms: GIF counts in hundredths of a second, Matroska in milliseconds, so regular clocks jitter.
    return rate, bool(np.all(np.abs(steps - step) <= 0.25 * step + 0.005))


def ticks(times: np.ndarray, limit: int) -> np.ndarray:
    """Index of the frame at each tick of a regular clock, up to one more than ``limit`` of them.

    A tick is the median of the steps between ``times`` (T,). The last frame is there once, however long it is
    shown: few containers tell, and in those that do, such as GIF, it is a rest before the next round.
    """
    step = float(np.median(np.diff(times)))
    count = min(int((times[-1] - times[0]) / step + 1.5), limit + 1)
    clock = times[0] + step * np.arange(count)
    return np.clip(np.searchsorted(times, clock + 0.25 * step, side="right") - 1, 0, len(times) - 1)


def resize(frames: np.ndarray, height: int, width: int, channels: int) -> np.ndarray:
    """Centre-crop to the aspect of ``height`` × ``width``, scale, and convert to ``channels``.

    Area averaging when shrinking, linear interpolation when enlarging; grey is Rec. 601 luma. Frames that
    fit already come back unchanged.

    Args:
        frames: uint8 (T, H, W, C), C 1 or 3.
        channels: 1 or 3.

    Returns:
        uint8 (T, height, width, channels).
    """
    cropped = _crop(frames, height, width)
    if cropped.shape[1:3] != (height, width):
        shrinks = height * width < cropped.shape[1] * cropped.shape[2]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        scaled = [cv2.resize(frame, (width, height), interpolation=method) for frame in cropped]
        cropped = np.stack(scaled).reshape(len(frames), height, width, frames.shape[-1])
    if channels == cropped.shape[-1]:
        return np.ascontiguousarray(cropped)
    if channels == 3:
        return np.repeat(cropped, 3, axis=-1)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None] for frame in np.ascontiguousarray(cropped)]
    return np.stack(grey)


def _crop(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """The largest centred part of ``frames`` with the aspect of ``height`` × ``width``."""
    old_height, old_width = frames.shape[1:3]
    if old_width * height > old_height * width:
        keep = max(1, round(old_height * width / height))
        left = (old_width - keep) // 2
        return frames[:, :, left : left + keep]
    keep = max(1, min(old_height, round(old_width * height / width)))
    top = (old_height - keep) // 2
    return frames[:, top : top + keep]


def retime(count: int, fps: float | None, target: float | None) -> np.ndarray:
    """Indices (int64) of the frames that play ``count`` frames of ``fps`` at ``target`` frames per second.

    Nearest frame, aligned to the last one, since that is where a prediction goes on. All of them when a rate
    is unknown or the two agree within 2%.
    """
    if fps is None or target is None or abs(target / fps - 1) < 0.02 or count < 2:
        return np.arange(count)
    kept = int(np.floor((count - 1) * target / fps + 1e-6)) + 1
    back = np.rint(np.arange(kept) * fps / target).astype(np.int64)
    return np.maximum(count - 1 - back, 0)[::-1]


def fit(clip: Clip, *, height: int, width: int, channels: int, fps: float | None) -> np.ndarray:
    """Fit a clip to the rate (``retime``) and size (``resize``) that a model was trained on.

    Returns:
        uint8 (T', height, width, channels); T' = T unless both frame rates are known and differ.
    """
    keep = retime(len(clip.frames), clip.fps, fps)
    if len(keep) > len(clip.frames):  # repeated only when they are small
        return resize(clip.frames, height, width, channels)[keep]
    return resize(clip.frames[keep], height, width, channels)


class Collector:
    """Decoded frames, taken one by one and made into a ``Clip``.

    Args:
        source: name for messages.
        budget: that decoding is charged to; its limits are checked at every ``add``.
        size: (height, width) that each frame is fitted to; else frames keep their size.
        shrink: reduce frames whose shorter side exceeds 512 px (when ``size`` is None).
        max_frames: take no more than these.
        convert: False keeps the numbers of a picture whose colour profile is not sRGB, and the profile.
    """

    def __init__(
        self,
        source: str,
        budget: Budget,
        *,
        size: tuple[int, int] | None = None,
        shrink: bool = False,
        max_frames: int | None = None,
        convert: bool = True,
    ) -> None:
        self.source, self.budget, self.limits, self.size = source, budget, budget.limits, size
        self.shrink, self.max_frames, self.convert = shrink, max_frames, convert
        self.profile = b""
        self.frames: list[np.ndarray] = []
        self.times: list[float] = []
        self.notes: list[str] = []
        self.losses: list[Loss] = []
        self.grey = True
        self.memory = 0
        self.first: tuple[int, int] | None = None  # size of the first frame, where it decides

    def note(self, text: str) -> None:
        """Remember a remark once."""
        if text not in self.notes:
            self.notes.append(text)

    def lose(self, text: str, remedy: str, *, note: bool = True) -> None:
        """Remember a conversion that cannot be undone, and remark on it."""
        if note:
            self.note(text)
        if (loss := Loss(text, remedy)) not in self.losses:
            self.losses.append(loss)

    def add(self, frame: np.ndarray, time: float | None, *, grey: bool = False) -> bool:
        """Take a frame, uint8 (H, W, 3), shown from ``time`` seconds on; False when no more are wanted.

        ``grey`` says that its file has one channel.
        """
        self.grey &= grey
        self.limits.check_frames(self.source, len(self.frames) + 1)
        if time is not None:
            self.times.append(time)
            self.limits.check_seconds(self.source, time - self.times[0])
        frame = self._sized(frame)
        self.memory += frame.nbytes
        self.limits.check_memory(self.source, self.memory)
        self.budget.take_memory(self.memory)
        self.frames.append(frame)
        return self.max_frames is None or len(self.frames) < self.max_frames

    def _sized(self, frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        if self.size is None:
            scale = min(1.0, SHORT_SIDE / min(height, width)) if self.shrink else 1.0
            self.size = round(height * scale), round(width * scale)
            if scale < 1:
                self.note(f"reduced from {width}×{height} to {self.size[1]}×{self.size[0]}")
            self.first = height, width
        if self.first not in (None, (height, width)):
            self.lose(OTHER_SIZES, "give frames of one size")
        return resize(frame[None], self.size[0], self.size[1], 3)[0]

    def clip(self, rate: float | None) -> Clip:
        """All frames as a ``Clip``; ``rate`` is the header's, which timestamps in order overrule."""
        frames, times = self.frames, np.asarray(self.times)
        if len(times) == len(frames):
            if np.any(np.diff(times) < 0):  # clips joined byte by byte, each with a clock of its own
                self.note("timestamps that jump back ignored")
            rate, constant = measure_rate(times, rate)
            if not constant:
                self.note("variable frame rate made constant")
                rate = 1 / float(np.median(np.diff(times)))
                frames = [frames[i] for i in ticks(times, self.limits.frames)]
                self.limits.check_frames(self.source, len(frames))
                self.limits.check_memory(self.source, len(frames) * frames[0].nbytes)
        if rate is not None and not 0 < rate <= MAX_RATE:
            rate = None
        notes, losses = tuple(self.notes), tuple(self.losses)
        return Clip(np.stack(frames), rate, self.source, notes, self.grey, losses, self.profile)

    def stream(self) -> FrameStream:
        """All frames as a ``FrameStream``, each once."""
        times = np.asarray(self.times)
        rate, constant = measure_rate(times, None)
        shown = None if constant else list(times - times[0])
        return FrameStream(
            iter(self.frames),
            rate,
            tuple(self.notes),
            shown,
            self.grey,
            len(self.frames),
            tuple(self.losses),
        )
