"""Limits on what one input may cost, and the budget that is spent while it is decoded."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

from vflow.errors import InputError


@dataclass(frozen=True)
class Limits:
    """Limits of one input, checked against headers where they tell and by counting where they do not.

    Attributes:
        pixels: of a picture or video frame.
        side: of a picture or video frame, in pixels.
        frames: of a clip.
        seconds: of a clip, as it plays.
        file_bytes: on disk.
        memory_bytes: of decoded frames (of an array that is converted: of it and the frames together).
        decoded_pixels: of all frames in sum, at the size they are stored.
        decoding_seconds: of processor time.
        parts: of a container: boxes, packets, blocks, members of an archive.
    """

    pixels: int = 64_000_000
    side: int = 65_535
    frames: int = 3_000
    seconds: float = 300.0
    file_bytes: int = 512 * 2**20
    memory_bytes: int = 2**30
    decoded_pixels: int = 2**33
    decoding_seconds: float = 30.0
    parts: int = 100_000

    def check_size(self, source: str, width: int, height: int) -> None:
        """Refuse frames too large to decode."""
        remedy = "reduce the image and try again"
        if width * height > self.pixels:
            megapixels = f"{width * height / 1e6:,.0f} megapixels; the limit is {self.pixels / 1e6:,.0f}"
            raise InputError(f"{source}: {megapixels}; {remedy}")
        if max(width, height) > self.side:
            raise InputError(
                f"{source}: {width}×{height}; the limit is {self.side:,} pixels a side; {remedy}"
            )

    def check_frames(self, source: str, count: int) -> None:
        """Refuse clips of more than ``frames`` frames."""
        if count > self.frames:
            raise InputError(f"{source}: more than {self.frames:,} frames, the limit; trim it")

    def check_seconds(self, source: str, seconds: float, remedy: str = "trim it") -> None:
        """Refuse clips longer than ``seconds``."""
        if seconds > self.seconds:
            raise InputError(f"{source}: longer than {self.seconds:g} seconds, the limit; {remedy}")

    def check_memory(self, source: str, decoded_bytes: int) -> None:
        """Refuse inputs that decode to more than ``memory_bytes``."""
        if decoded_bytes > self.memory_bytes:
            most = f"{self.memory_bytes / 2**20:,.0f} MiB"
            raise InputError(f"{source}: decodes to more than {most}, the limit; trim or shrink it")

    def check_decoded_pixels(self, source: str, pixels: int) -> None:
        """Refuse inputs of more than ``decoded_pixels`` in sum."""
        if pixels > self.decoded_pixels:
            most = f"{self.decoded_pixels / 1e6:,.0f} megapixels"
            raise InputError(
                f"{source}: its frames have more than {most} together, the limit; trim or shrink it"
            )

    def check_parts(self, source: str, count: int) -> None:
        """Refuse containers of more than ``parts`` parts."""
        if count > self.parts:
            raise InputError(f"{source}: made of more than {self.parts:,} parts, the limit; export it again")


DEFAULT_LIMITS = Limits()
TRAINING_LIMITS = Limits(
    frames=200_000,
    seconds=6 * 3600,
    file_bytes=64 * 2**30,
    memory_bytes=2 * 2**30,
    decoded_pixels=2**60,
    decoding_seconds=math.inf,
    parts=10**8,
)
"""Wider limits, for training data, which are the user's own."""


LARGE = 256 * 2**20
"""Bytes of memory: in a process at most one input at a time takes more while it is decoded."""
BYTES_PER_PIXEL = 16
"""Memory that decoding a frame takes at most, all its copies together."""
_LARGE_INPUT = threading.Lock()


class Budget:
    """Running total of what decoding one input costs; it may consist of several files.

    Inside its ``with`` block, an input that gets large waits until no other one is.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.pixels = self.parts = 0
        self.seconds = 0.0
        self._open = self._holds_lock = False

    def __enter__(self) -> Budget:
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        if self._holds_lock:
            self._holds_lock = False
            _LARGE_INPUT.release()

    def take_memory(self, total: int) -> None:
        """Wait for other large inputs, if ``total`` bytes of memory make this one large."""
        if self._open and not self._holds_lock and total > LARGE:
            self._holds_lock = _LARGE_INPUT.acquire()

    def add_frame(self, source: str, width: int, height: int) -> None:
        """Count a frame of this size, before it is decoded or becomes an array."""
        self.limits.check_size(source, width, height)
        self.take_memory(BYTES_PER_PIXEL * width * height)
        self.pixels += width * height
        self.limits.check_decoded_pixels(source, self.pixels)

    def add_part(self, source: str) -> None:
        """Count a part of a container."""
        self.parts += 1
        self.limits.check_parts(source, self.parts)

    @contextmanager
    def timed(self, source: str) -> Iterator[None]:
        """Context whose processor time, of this thread, counts as decoding."""
        start = time.thread_time()
        yield
        self.seconds += time.thread_time() - start
        if self.seconds > self.limits.decoding_seconds:
            most = f"{self.limits.decoding_seconds:g} seconds"
            raise InputError(f"{source}: takes more than {most} to decode, the limit; trim or shrink it")
