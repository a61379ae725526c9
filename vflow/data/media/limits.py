"""Limits on what one input may cost."""

from __future__ import annotations

from dataclasses import dataclass

from vflow.errors import InputError


@dataclass(frozen=True)
class Limits:
    """What one input may cost; held while decoding, from headers where they tell and by counting where not.

    ``pixels`` per picture or video frame, ``frames`` and ``seconds`` per clip, ``file_bytes`` on disk,
    ``memory_bytes`` of decoded frames (of an array that is converted: of it and the frames together).
    """

    pixels: int = 64_000_000
    frames: int = 3_000
    seconds: float = 300.0
    file_bytes: int = 512 * 2**20
    memory_bytes: int = 2**30

    def check_pixels(self, source: str, width: int, height: int) -> None:
        """Refuse a picture too large to decode (``width`` × ``height`` from its header)."""
        if width * height > self.pixels:
            raise InputError(too_many_pixels(source, width * height, self))

    def check_frames(self, source: str, count: int) -> None:
        """Refuse clips of more than ``frames`` frames."""
        if count > self.frames:
            raise InputError(f"{source}: more than {self.frames:,} frames, the limit; trim it")

    def check_seconds(self, source: str, seconds: float, remedy: str = "trim it") -> None:
        """Refuse clips longer than ``seconds``."""
        if seconds > self.seconds:
            raise InputError(f"{source}: longer than {self.seconds:g} seconds, the limit; {remedy}")

    def check_memory(self, source: str, decoded_bytes: int) -> None:
        """Refuse what decodes to more than ``memory_bytes``."""
        if decoded_bytes > self.memory_bytes:
            most = f"{self.memory_bytes / 2**20:,.0f} MiB"
            raise InputError(f"{source}: decodes to more than {most}, the limit; trim or shrink it")


DEFAULT_LIMITS = Limits()
TRAINING_LIMITS = Limits(frames=200_000, seconds=6 * 3600, file_bytes=64 * 2**30, memory_bytes=2 * 2**30)
"""Looser ones for training data, which are the user's own."""


def too_many_pixels(source: str, pixels: int, limits: Limits) -> str:
    """The message for a picture of more than ``limits.pixels``."""
    return (
        f"{source}: {pixels / 1e6:,.0f} megapixels; the limit is {limits.pixels / 1e6:,.0f}; "
        "reduce the picture and try again"
    )
