"""Asking a run to end: SIGINT, SIGTERM, and a launcher that died."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Self

LAUNCHER_MARKS = ("TORCHELASTIC_RUN_ID", "ACCELERATE_MIXED_PRECISION")


class Stop:
    """A wish to stop, set by a signal or by the death of the launcher; the loop polls it.

    Launchers may send a signal twice (the terminal to the group, then the launcher to its workers), so
    further signals change nothing: the step is finished and committed. Handlers are put back on exit.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self._launcher = os.getppid() if any(mark in os.environ for mark in LAUNCHER_MARKS) else None
        self._previous: dict[int, signal.Handlers] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._on_signal)  # type: ignore[assignment]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.reason is None:
            self.reason = signal.Signals(number).name
            print(f"\n{self.reason}: finishing this step and saving", file=sys.stderr)

    def wished(self) -> bool:
        """Whether this process should stop after the present step."""
        if self.reason is None and self._launcher is not None and os.getppid() != self._launcher:
            self.reason = "launcher died"
        return self.reason is not None
