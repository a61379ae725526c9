"""Frames gathered as they are decoded: limits held, sizes unified, irregular clocks made regular."""

from __future__ import annotations

import numpy as np

from vflow.data.media.limits import Clip, Limits, resize

# Models work far below this; it keeps a minute of camera video within memory.
SHORT_SIDE = 512
MAX_RATE = 1000.0  # beyond this a header is not believed


class Collector:
    """Takes decoded frames one by one and makes a ``Clip`` of them.

    Args:
        source: name for messages.
        limits: held at every ``add``.
        size: (height, width) that each frame is fitted to; else frames keep their size.
        shrink: reduce frames whose shorter side exceeds 512 px (when ``size`` is None).
        max_frames: take no more than these.
    """

    def __init__(
        self,
        source: str,
        limits: Limits,
        *,
        size: tuple[int, int] | None = None,
        shrink: bool = False,
        max_frames: int | None = None,
    ) -> None:
        self.source, self.limits, self.size = source, limits, size
        self.shrink, self.max_frames = shrink, max_frames
        self.frames: list[np.ndarray] = []
        self.times: list[float] = []
        self.notes: list[str] = []
        self.memory = 0
        self.first: tuple[int, int] | None = None  # size of the first frame, where it decides

    def note(self, text: str) -> None:
        """Remember a remark once."""
        if text not in self.notes:
            self.notes.append(text)

    def add(self, frame: np.ndarray, time: float | None) -> bool:
        """Take a frame, uint8 (H, W, 3), shown from ``time`` seconds on; False when no more are wanted."""
        self.limits.check_frames(self.source, len(self.frames) + 1)
        if time is not None:
            self.times.append(time)
            self.limits.check_seconds(self.source, time - self.times[0])
        frame = self._sized(frame)
        self.memory += frame.nbytes
        self.limits.check_memory(self.source, self.memory)
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
            self.note("frames of other sizes fitted to the first")
        return resize(frame[None], self.size[0], self.size[1], 3)[0]

    def clip(self, rate: float | None) -> Clip:
        """All frames as a ``Clip``; ``rate`` is what the header says, and timestamps in order overrule it."""
        frames = self.frames
        times = np.asarray(self.times)
        if len(times) == len(frames) > 1:
            steps = np.diff(times)
            step = float(np.median(steps))
            if np.any(steps < 0):  # clips joined byte by byte, each with a clock of its own
                self.note("timestamps that jump back ignored")
            elif step > 0:
                grid = self._grid(times, step)
                if grid is None:
                    measured = (len(times) - 1) / (times[-1] - times[0])
                    rate = rate if rate and abs(rate / measured - 1) < 0.02 else float(measured)
                else:
                    rate, frames = 1 / step, [frames[i] for i in grid]
                    self.note("variable frame rate made constant")
        if rate is not None and not 0 < rate <= MAX_RATE:
            rate = None
        return Clip(np.stack(frames), rate, self.source, tuple(self.notes))

    def _grid(self, times: np.ndarray, step: float) -> np.ndarray | None:
        """Which frame shows at each tick of a regular clock; None when the timestamps are regular already."""
        # 5 ms: GIF counts in hundredths of a second, Matroska in milliseconds, so regular clocks jitter.
        if np.all(np.abs(np.diff(times) - step) <= 0.25 * step + 0.005):
            return None
        ticks = int((times[-1] - times[0]) / step + 1.5)
        self.limits.check_frames(self.source, ticks)
        self.limits.check_memory(self.source, ticks * self.frames[0].nbytes)
        clock = times[0] + step * np.arange(ticks)
        return np.clip(np.searchsorted(times, clock + 0.25 * step, side="right") - 1, 0, len(times) - 1)
